//! Why hosts fail: the catalogue, and what recognizes its entries in the words of a backend.

mod catalogue;
mod classify;
#[cfg(test)]
mod real;
mod words;

/// What a failure of a host means: code and remedy are part of the contract with users, as those of a
/// [`WaitReason`](crate::WaitReason).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureCause {
    /// Nothing that is understood; the backend's words say what they say.
    #[default]
    Unknown,
    /// What the user asks for contradicts itself, or this BMC cannot do it.
    Unsupported,
    /// Another node of the backend has the boot MAC address.
    MacConflict,
    /// The BMC address cannot be understood.
    BmcAddressInvalid,
    /// The BMC does not answer.
    BmcUnreachable,
    /// The BMC refuses the credentials.
    BmcAuthFailed,
    /// The certificate of the BMC is not trusted.
    BmcTlsUntrusted,
    /// The BMC does not know what the address names.
    BmcResourceNotFound,
    /// The BMC refused an IPMI call or did not answer: Ironic does not tell these apart.
    IpmiFailed,
    /// The BMC answers with an error of its own.
    BmcError,
    /// The BMC wants a licence for this.
    LicenseMissing,
    /// Ironic runs without the driver or interface.
    DriverNotEnabled,
    /// Ironic has no ramdisk for the host.
    RamdiskMissing,
    /// The BMC cannot boot in the mode that was asked for.
    BootModeUnsupported,
    /// The BMC cannot attach virtual media.
    MediaAttachFailed,
    /// The inspection ramdisk never reported.
    InspectionTimeout,
    /// The ramdisk never called back.
    NoAgent,
    /// The ramdisk called, and does not answer any more.
    AgentSilent,
    /// The inspection failed otherwise.
    InspectionFailed,
    /// No disk fits the root device hints.
    RootDeviceNotFound,
    /// The image cannot be read from where it is.
    ImageFetchFailed,
    /// The registry or server of the image wants credentials.
    ImageAuthFailed,
    /// The image is not what its checksum says.
    ChecksumMismatch,
    /// The image does not fit.
    ImageTooLarge,
    /// The image is no image that can be deployed.
    ImageInvalid,
    /// The disk could not be written.
    ImageWriteFailed,
    /// The image was written and cannot be made to boot.
    BootloaderFailed,
    /// The config drive cannot be made.
    ConfigDriveInvalid,
    /// The deployment failed otherwise.
    DeploymentFailed,
    /// A disk holds what must not be erased.
    ProtectedDevice,
    /// Cleaning failed otherwise.
    CleaningFailed,
    /// RAID volumes cannot be made as asked for.
    RaidFailed,
    /// A firmware update or a firmware setting was not taken.
    FirmwareFailed,
    /// Servicing failed otherwise.
    ServicingFailed,
    /// Ironic cannot take over the running host.
    AdoptionFailed,
    /// The instance cannot be removed.
    UndeployFailed,
    /// Ironic lost control of the power.
    PowerControlLost,
    /// The power does not change.
    PowerFailed,
    /// Somebody set the node to maintenance in Ironic.
    NodeInMaintenance,
    /// Ironic restarted in the middle of it.
    BackendRestarted,
    /// Ironic has too much to do, or no room left.
    BackendOverloaded,
    /// It was aborted on request.
    Aborted,
}
