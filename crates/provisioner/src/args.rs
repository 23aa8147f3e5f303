use jiff::SignedDuration;
use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::host::{BootMode, Image, InspectionMode, ProvisioningState, RootDeviceHints};
use secrecy::SecretString;

/// What to do when the backend still shows the failure of an earlier attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Report it: it is not yet in the host's status.
    #[default]
    Report,
    /// Start again: it was reported and its back-off has passed.
    Restart,
}

/// Whether a busy or failed backend state may be interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Force {
    /// Wait for the backend.
    #[default]
    No,
    /// Abort what runs.
    Yes,
}

/// `spec.automatedCleaningMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CleaningMode {
    /// Clean partition tables between deployments (the default).
    #[default]
    Metadata,
    /// Leave disks alone.
    Disabled,
}

/// Arguments of [`register`](crate::Provisioner::register).
#[derive(Clone, Debug, Default)]
pub struct RegisterArgs {
    /// The host's state, which decides how much may be configured.
    pub state: ProvisioningState,
    /// The credentials changed since the backend last got them.
    pub credentials_changed: bool,
    /// Retry a failed verification.
    pub on_failure: OnFailure,
    /// Desired boot mode.
    pub boot_mode: BootMode,
    /// Cleaning between deployments.
    pub cleaning: CleaningMode,
    /// `spec.disablePowerOff`.
    pub disable_power_off: bool,
    /// CPU architecture if known.
    pub architecture: Option<String>,
    /// `spec.inspectionMode`, the legacy annotation applied.
    pub inspection: Option<InspectionMode>,
    /// Deployed image, or the one being deployed.
    pub current_image: Option<Image>,
    /// A custom deploy method is or will be used.
    pub custom_deploy: bool,
    /// Content of the preprovisioning network data secret (YAML or JSON).
    pub preprovisioning_network_data: Option<SecretString>,
    /// Known NICs, for ports that a fresh backend lacks.
    pub hardware: Option<HardwareDetails>,
}

/// Arguments of [`inspect`](crate::Provisioner::inspect).
#[derive(Clone, Debug, Default)]
pub struct InspectArgs {
    /// Boot mode of the ramdisk.
    pub boot_mode: BootMode,
    /// CPU architecture if known.
    pub architecture: Option<String>,
    /// Inspection mode.
    pub mode: Option<InspectionMode>,
    /// Retry a failed inspection.
    pub on_failure: OnFailure,
    /// Ignore results of an earlier inspection.
    pub refresh: bool,
    /// Restart the ramdisk that is waited for.
    pub force_reboot: Force,
}

/// Arguments of [`adopt`](crate::Provisioner::adopt).
#[derive(Clone, Debug, Default)]
pub struct AdoptArgs {
    /// The host's state.
    pub state: ProvisioningState,
    /// Retry a failed adoption.
    pub on_failure: OnFailure,
}

/// Arguments of [`prepare`](crate::Provisioner::prepare). RAID, BIOS and firmware targets are added with their issue.
#[derive(Clone, Debug, Default)]
pub struct PrepareArgs {
    /// Settings differ from what was applied.
    pub unprepared: bool,
    /// Effective root device hints.
    pub root_device_hints: Option<RootDeviceHints>,
    /// Retry failed cleaning.
    pub on_failure: OnFailure,
}

/// What to write to the disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeployImage {
    /// `spec.image`.
    pub image: Option<Image>,
    /// `spec.customDeploy.method`.
    pub custom_deploy_method: Option<String>,
}

/// The content of the config drive, read from secrets of the host's own namespace.
#[derive(Clone, Debug, Default)]
pub struct ConfigDrive {
    /// User data as is.
    pub user_data: Option<SecretString>,
    /// Network data, YAML or JSON.
    pub network_data: Option<SecretString>,
    /// User meta data, YAML or JSON; laid over the defaults (uuid, name, …).
    pub meta_data: Option<SecretString>,
}

/// Arguments of [`provision`](crate::Provisioner::provision).
#[derive(Clone, Debug, Default)]
pub struct ProvisionArgs {
    /// Image or custom deploy.
    pub deploy: DeployImage,
    /// Config drive.
    pub config_drive: ConfigDrive,
    /// Boot mode.
    pub boot_mode: BootMode,
    /// Effective root device hints.
    pub root_device_hints: Option<RootDeviceHints>,
    /// Restart the ramdisk that is waited for.
    pub force_reboot: Force,
}

/// Arguments of [`deprovision`](crate::Provisioner::deprovision).
#[derive(Clone, Debug, Default)]
pub struct DeprovisionArgs {
    /// Retry a failed undeploy or cleaning.
    pub on_failure: OnFailure,
    /// Cleaning mode to apply.
    pub cleaning: CleaningMode,
}

/// Arguments of [`detach`](crate::Provisioner::detach).
#[derive(Clone, Debug, Default)]
pub struct DetachArgs {
    /// Interrupt running work.
    pub force: Force,
}

/// The power state asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerTarget {
    /// Power on.
    On,
    /// Ask the operating system to shut down; hard after `SOFT_POWER_OFF_TIMEOUT`.
    SoftOff,
    /// Cut the power.
    HardOff,
}

/// Arguments of [`set_power`](crate::Provisioner::set_power).
#[derive(Clone, Debug)]
pub struct PowerArgs {
    /// Desired power.
    pub target: PowerTarget,
    /// Try again although the last attempt failed.
    pub on_failure: OnFailure,
    /// Decides whether a waiting cleaning may be aborted.
    pub cleaning: CleaningMode,
}

impl PowerArgs {
    /// How long a soft power off may take before the backend gives up; upstream's value.
    pub const SOFT_POWER_OFF_TIMEOUT: SignedDuration = SignedDuration::from_secs(180);
}
