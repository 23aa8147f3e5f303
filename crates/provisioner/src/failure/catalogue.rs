use super::FailureCause;

/// What the catalogue says of a cause.
struct Entry {
    code: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

impl FailureCause {
    /// All causes, for catalogues and tests.
    pub const ALL: [Self; 42] = [
        Self::BmcAddressInvalid,
        Self::BmcUnreachable,
        Self::BmcAuthFailed,
        Self::BmcTlsUntrusted,
        Self::BmcResourceNotFound,
        Self::IpmiFailed,
        Self::BmcError,
        Self::LicenseMissing,
        Self::MacConflict,
        Self::Unsupported,
        Self::DriverNotEnabled,
        Self::RamdiskMissing,
        Self::BootModeUnsupported,
        Self::MediaAttachFailed,
        Self::InspectionTimeout,
        Self::NoAgent,
        Self::AgentSilent,
        Self::InspectionFailed,
        Self::RootDeviceNotFound,
        Self::ImageFetchFailed,
        Self::ImageAuthFailed,
        Self::ChecksumMismatch,
        Self::ImageTooLarge,
        Self::ImageInvalid,
        Self::ImageWriteFailed,
        Self::BootloaderFailed,
        Self::ConfigDriveInvalid,
        Self::DeploymentFailed,
        Self::ProtectedDevice,
        Self::CleaningFailed,
        Self::RaidFailed,
        Self::FirmwareFailed,
        Self::ServicingFailed,
        Self::AdoptionFailed,
        Self::UndeployFailed,
        Self::PowerControlLost,
        Self::PowerFailed,
        Self::NodeInMaintenance,
        Self::BackendRestarted,
        Self::BackendOverloaded,
        Self::Aborted,
        Self::Unknown,
    ];

    /// The CamelCase code.
    pub const fn code(self) -> &'static str {
        self.entry().code
    }

    /// What it means, as a sentence fragment.
    pub const fn meaning(self) -> &'static str {
        self.entry().meaning
    }

    /// What a user can do.
    pub const fn remedy(self) -> &'static str {
        self.entry().remedy
    }

    #[expect(clippy::too_many_lines, reason = "the catalogue")]
    const fn entry(self) -> Entry {
        match self {
            Self::Unknown => entry(
                "Unknown",
                "the words of the backend are not in this catalogue",
                "look at the node's last_error in Ironic and at the log of its conductor",
            ),
            Self::Unsupported => entry(
                "Unsupported",
                "what is asked for contradicts itself, or this BMC or driver cannot do it",
                "correct the spec of the host; the message names the field",
            ),
            Self::MacConflict => entry(
                "MACConflict",
                "another node of Ironic has this MAC address",
                "correct spec.bootMACAddress, or delete the other node in Ironic if nothing uses it",
            ),
            Self::BmcAddressInvalid => entry(
                "BMCAddressInvalid",
                "the BMC address cannot be understood",
                "correct spec.bmc.address, for example redfish-virtualmedia://192.0.2.7/redfish/v1/Systems/1",
            ),
            Self::BmcUnreachable => entry(
                "BMCUnreachable",
                "the BMC does not answer Ironic",
                "check the address and port of the BMC, its power, and the route and firewall from Ironic to it",
            ),
            Self::BmcAuthFailed => entry(
                "BMCAuthFailed",
                "the BMC refuses user name or password, or the user lacks the privilege",
                "correct username and password in the Secret named by spec.bmc.credentialsName; the BMC may also have \
                 locked the account",
            ),
            Self::BmcTlsUntrusted => entry(
                "BMCTLSUntrusted",
                "Ironic does not trust the certificate of the BMC, or they share no version of TLS",
                "give Ironic the CA of the BMC, or set spec.bmc.disableCertificateVerification",
            ),
            Self::BmcResourceNotFound => entry(
                "BMCResourceNotFound",
                "the BMC has no such system or resource",
                "correct the path of spec.bmc.address; GET /redfish/v1/Systems of the BMC lists what there is",
            ),
            Self::IpmiFailed => entry(
                "IPMIFailed",
                "the BMC refused an IPMI call, or did not answer it",
                "check the address, port 623/UDP, and user name and password; Ironic does not tell these apart",
            ),
            Self::BmcError => entry(
                "BMCError",
                "the BMC answered with an error of its own",
                "restart the BMC and update its firmware; the message has its words",
            ),
            Self::LicenseMissing => entry(
                "LicenseMissing",
                "the BMC wants a licence for what is asked of it",
                "install the licence of the vendor (often for virtual media), or use a driver that needs none",
            ),
            Self::DriverNotEnabled => entry(
                "DriverNotEnabled",
                "this Ironic runs without the hardware type or the interface",
                "enable it in the configuration of Ironic, or use another scheme in spec.bmc.address",
            ),
            Self::RamdiskMissing => entry(
                "RamdiskMissing",
                "Ironic has no kernel and ramdisk, or ISO, to boot the host with",
                "set DEPLOY_KERNEL_URL and DEPLOY_RAMDISK_URL, or DEPLOY_ISO_URL, or have one built for each host",
            ),
            Self::BootModeUnsupported => entry(
                "BootModeUnsupported",
                "the BMC cannot set the boot mode, the boot device or secure boot",
                "choose another spec.bootMode, set it in the BIOS by hand, or update the firmware of the BMC",
            ),
            Self::MediaAttachFailed => entry(
                "MediaAttachFailed",
                "the BMC could not attach the virtual media",
                "check that the BMC reaches the URL of the message, that its firmware supports virtual media, and that \
                 nobody else has media attached",
            ),
            Self::InspectionTimeout => entry(
                "InspectionTimeout",
                "the inspection ramdisk did not report in time",
                "look at the host's console: did the ramdisk boot, get an address and reach Ironic?",
            ),
            Self::NoAgent => entry(
                "NoAgent",
                "the ramdisk did not call back in time",
                "look at the host's console: did it boot the ramdisk, get an address and reach Ironic?",
            ),
            Self::AgentSilent => entry(
                "AgentSilent",
                "the ramdisk called once and does not answer any more",
                "look at the host's console, and at the route and firewall from Ironic to the host (port 9999)",
            ),
            Self::InspectionFailed => entry(
                "InspectionFailed",
                "the inspection failed",
                "look at the message and the log of the ramdisk; inspectionMode disabled skips it",
            ),
            Self::RootDeviceNotFound => entry(
                "RootDeviceNotFound",
                "no disk of the host fits the root device hints",
                "compare spec.rootDeviceHints with the disks in the HardwareData of the host",
            ),
            Self::ImageFetchFailed => entry(
                "ImageFetchFailed",
                "the image or its checksum cannot be read from its URL",
                "check spec.image.url and checksum, and that Ironic and the ramdisk reach that server",
            ),
            Self::ImageAuthFailed => entry(
                "ImageAuthFailed",
                "the server of the image wants other credentials",
                "correct the pull secret of the image, or its URL",
            ),
            Self::ChecksumMismatch => entry(
                "ChecksumMismatch",
                "the image is not what its checksum says",
                "correct spec.image.checksum and checksumType, or the image on the server",
            ),
            Self::ImageTooLarge => entry(
                "ImageTooLarge",
                "the image does not fit on the disk, the partition or in the memory",
                "use a smaller image or a larger root disk; raw images need no room in memory",
            ),
            Self::ImageInvalid => entry(
                "ImageInvalid",
                "the image is of a format that is not known or not allowed",
                "correct spec.image.format, or convert the image to qcow2 or raw",
            ),
            Self::ImageWriteFailed => entry(
                "ImageWriteFailed",
                "the image could not be written to the disk",
                "check the disk of the host for faults; the message has the words of the ramdisk",
            ),
            Self::BootloaderFailed => entry(
                "BootloaderFailed",
                "the image was written and could not be made to boot",
                "check that the image boots in spec.bootMode (UEFI needs an EFI partition)",
            ),
            Self::ConfigDriveInvalid => entry(
                "ConfigDriveInvalid",
                "the config drive could not be made",
                "check the Secrets that userData, metaData and networkData refer to",
            ),
            Self::DeploymentFailed => entry(
                "DeploymentFailed",
                "the deployment failed",
                "look at the host's console, at the log of the ramdisk and at that of Ironic's conductor",
            ),
            Self::ProtectedDevice => entry(
                "ProtectedDevice",
                "a disk holds what must not be erased, such as a shared file system",
                "detach the shared disk, or set spec.automatedCleaningMode to disabled",
            ),
            Self::CleaningFailed => entry(
                "CleaningFailed",
                "cleaning failed",
                "check the disk that the message names; spec.automatedCleaningMode disabled skips automated cleaning",
            ),
            Self::RaidFailed => entry(
                "RAIDFailed",
                "the RAID volumes cannot be made as asked for",
                "compare spec.raid with the disks and controllers of the host",
            ),
            Self::FirmwareFailed => entry(
                "FirmwareFailed",
                "the BMC did not take a firmware update or a firmware setting",
                "check HostFirmwareSettings and HostFirmwareComponents against what the BMC offers",
            ),
            Self::ServicingFailed => entry(
                "ServicingFailed",
                "servicing of the provisioned host failed",
                "look at the node's service step in Ironic; removing what was asked for aborts it",
            ),
            Self::AdoptionFailed => entry(
                "AdoptionFailed",
                "Ironic cannot take over the running host",
                "look at the message; the image of the host must still be readable by Ironic",
            ),
            Self::UndeployFailed => entry(
                "UndeployFailed",
                "the instance cannot be removed from the host",
                "look at the node in Ironic; the removal is tried again by itself",
            ),
            Self::PowerControlLost => entry(
                "PowerControlLost",
                "Ironic lost control of the power and put the node into maintenance",
                "check that the BMC answers and takes the credentials; Ironic recovers by itself",
            ),
            Self::PowerFailed => entry(
                "PowerFailed",
                "the power did not change as it was told to",
                "check the power of the host at its BMC; a hard reboot can be asked for with reboot.metal3.io",
            ),
            Self::NodeInMaintenance => entry(
                "NodeInMaintenance",
                "the node is in maintenance in Ironic",
                "unset maintenance of the node in Ironic once its reason is gone",
            ),
            Self::BackendRestarted => entry(
                "BackendRestarted",
                "Ironic restarted in the middle of it",
                "nothing; it is tried again by itself",
            ),
            Self::BackendOverloaded => entry(
                "BackendOverloaded",
                "Ironic has too much to do, or no memory or disk left",
                "lower PROVISIONING_LIMIT, or give Ironic more workers, memory or disk",
            ),
            Self::Aborted => entry(
                "Aborted",
                "it was aborted on request",
                "nothing, unless nobody asked for that; it is tried again by itself",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_cause_has_its_own_code_a_meaning_and_a_remedy() {
        let codes: HashSet<_> = FailureCause::ALL.map(FailureCause::code).into();
        assert_eq!(codes.len(), FailureCause::ALL.len());
        assert_eq!(
            codes.len(),
            FailureCause::Aborted as usize + 1,
            "one is missing in ALL"
        );
        for cause in FailureCause::ALL {
            let code = cause.code();
            assert!(
                code.starts_with(|first: char| first.is_ascii_uppercase())
                    && code.chars().all(|letter| letter.is_ascii_alphanumeric()),
                "{code} is no reason of an event"
            );
            for text in [cause.meaning(), cause.remedy()] {
                assert!(!text.is_empty() && !text.contains("  "), "{code}: {text}");
                assert!(!text.ends_with('.') && !text.contains('|'), "{code}: {text}");
            }
        }
    }
}
