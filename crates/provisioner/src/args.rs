use jiff::{SignedDuration, Timestamp};
use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::host::{BootMode, Image, InspectionMode, ProvisioningState, RootDeviceHints};
use metal3_api::metal3::preprovisioning_image::ImageFormat;
use metal3_api::metal3::raid::RAIDConfig;
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

/// The ramdisk that inspection, cleaning and deployment run in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ramdisk {
    /// The one of the backend's configuration, the same for all hosts.
    #[default]
    Configured,
    /// One is built for each host; this host's is not usable yet, or its state needs none.
    Missing,
    /// Built for this host: its `PreprovisioningImage`.
    Built(BuiltRamdisk),
}

/// A ramdisk that was built for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltRamdisk {
    /// Where the ISO, or the initial ramdisk, is.
    pub url: String,
    /// Where the kernel of an initial ramdisk is, if not the configured one.
    pub kernel_url: Option<String>,
    /// Kernel parameters besides the configured ones.
    pub extra_kernel_params: Option<String>,
    /// What it is.
    pub format: ImageFormat,
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
    /// Ramdisk to use; a backend that needs one which is missing answers with
    /// [`WaitReason::PreprovisioningImage`](crate::WaitReason::PreprovisioningImage).
    pub ramdisk: Ramdisk,
    /// `status.operationalStatus` is `servicing`: a provisioned host needs the ramdisk, too.
    pub servicing: bool,
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

/// Arguments of [`prepare`](crate::Provisioner::prepare).
#[derive(Clone, Debug, Default)]
pub struct PrepareArgs {
    /// Settings differ from what was applied.
    pub unprepared: bool,
    /// RAID volumes wanted; an absent list is kept as it is, an empty one removed.
    pub target_raid: Option<RAIDConfig>,
    /// RAID volumes as last applied; `None` when that is not known.
    pub actual_raid: Option<RAIDConfig>,
    /// Effective root device hints.
    pub root_device_hints: Option<RootDeviceHints>,
    /// Retry failed cleaning.
    pub on_failure: OnFailure,
}

/// Arguments of [`service`](crate::Provisioner::service).
#[derive(Clone, Debug, Default)]
pub struct ServiceArgs {
    /// Start again what failed, instead of reporting it.
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

/// The login to the registry of an OCI image.
#[derive(Clone, Debug, Default)]
pub enum PullSecret {
    /// The image is pulled without one.
    #[default]
    None,
    /// `user:password`.
    Login(SecretString),
    /// There is to be one, and it cannot be used. A deployment that needs it is not begun, and is answered with
    /// [`WaitReason::PullSecretUnusable`](crate::WaitReason::PullSecretUnusable); one that runs has its login.
    Unusable,
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
    /// Login to the registry of an OCI image.
    pub pull_secret: PullSecret,
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

/// Arguments of [`capacity`](crate::Provisioner::capacity).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapacityArgs {
    /// Since when the host waits for room, if it does: who waits longest is next, also after a restart.
    pub since: Option<Timestamp>,
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
