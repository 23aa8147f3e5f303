use super::FailureCause;

/// Words of Ironic, its agent, its Redfish client and our own, in lower case, and what they mean. All words of a row must
/// be there; the first row counts, so that what happened comes before what it happened in. Only phrases that no URL
/// and no name of a user contains: messages quote those.
pub(super) const WORDS: &[(&[&str], FailureCause)] = &[
    // On request, or by what happened to Ironic.
    (&["aborted by request"], FailureCause::Aborted),
    (&["by request, the"], FailureCause::Aborted),
    (&["due to conductor take over"], FailureCause::BackendRestarted),
    (&["can't be resumed by conductor"], FailureCause::BackendRestarted),
    (&["in maintenance mode"], FailureCause::NodeInMaintenance),
    (
        &["lack of free conductor workers"],
        FailureCause::BackendOverloaded,
    ),
    (&["no free conductor workers"], FailureCause::BackendOverloaded),
    (&["concurrent action limit"], FailureCause::BackendOverloaded),
    (
        &["is required to proceed at this time"],
        FailureCause::BackendOverloaded,
    ),
    (
        &["doesn't have enough disk space"],
        FailureCause::BackendOverloaded,
    ),
    (
        &["sync_power_state, max retries exceeded"],
        FailureCause::PowerControlLost,
    ),
    // Access to the BMC: whatever needed it.
    (&["certificate verify failed"], FailureCause::BmcTlsUntrusted),
    (&["certificate_verify_failed"], FailureCause::BmcTlsUntrusted),
    (
        &["unable to connect to", "sslerror"],
        FailureCause::BmcTlsUntrusted,
    ),
    (&["not licensed to perform"], FailureCause::LicenseMissing),
    (&["licensekeyrequired"], FailureCause::LicenseMissing),
    (&["license key is required"], FailureCause::LicenseMissing),
    (&["license", "returned code 403"], FailureCause::LicenseMissing),
    (&["license is not installed"], FailureCause::LicenseMissing),
    (&["returned code 401"], FailureCause::BmcAuthFailed),
    (&["no x-auth-token returned"], FailureCause::BmcAuthFailed),
    (&["unauthorized name"], FailureCause::BmcAuthFailed),
    (&["rakp 2 hmac is invalid"], FailureCause::BmcAuthFailed),
    (
        &["rakp 2 message indicates an error"],
        FailureCause::BmcAuthFailed,
    ),
    (&["insufficient privilege level"], FailureCause::BmcAuthFailed),
    (&["unable to establish ipmi"], FailureCause::BmcUnreachable),
    // Media and boot mode: what the BMC answered stands in the same text.
    (&["virtual media mount failed"], FailureCause::MediaAttachFailed),
    (
        &["no suitable virtual media device"],
        FailureCause::MediaAttachFailed,
    ),
    (
        &["waiting for virtual media to be mounted"],
        FailureCause::MediaAttachFailed,
    ),
    (
        &["virtual media get attempts failed"],
        FailureCause::MediaAttachFailed,
    ),
    (&["requested transport protocol"], FailureCause::MediaAttachFailed),
    (
        &["configuring agent from virtual media failed"],
        FailureCause::MediaAttachFailed,
    ),
    (&["setting boot mode to"], FailureCause::BootModeUnsupported),
    (&["failed to set boot mode"], FailureCause::BootModeUnsupported),
    (&["waiting for boot mode"], FailureCause::BootModeUnsupported),
    (&["unsupported boot mode"], FailureCause::BootModeUnsupported),
    (&["boot mode is not allowed"], FailureCause::BootModeUnsupported),
    (&["secure boot"], FailureCause::BootModeUnsupported),
    (
        &["redfish set boot device failed"],
        FailureCause::BootModeUnsupported,
    ),
    (
        &["failed to change the boot device"],
        FailureCause::BootModeUnsupported,
    ),
    // Settings.
    (&["software raid caused unknown error"], FailureCause::RaidFailed),
    (&["no candidates for physical disk"], FailureCause::RaidFailed),
    (&["raid level", "not supported"], FailureCause::RaidFailed),
    (
        &["physical disks for all logical disks"],
        FailureCause::RaidFailed,
    ),
    (
        &["could not allocate physical disk space"],
        FailureCause::RaidFailed,
    ),
    (&["invalid target_raid_configuration"], FailureCause::RaidFailed),
    (&["while building raid"], FailureCause::RaidFailed),
    (&["firmware update failed"], FailureCause::FirmwareFailed),
    (&["firmware update on node"], FailureCause::FirmwareFailed),
    (&["redfish bios"], FailureCause::FirmwareFailed),
    (&["bios settings are not supported"], FailureCause::FirmwareFailed),
    (&["no supported components"], FailureCause::FirmwareFailed),
    // The image.
    (
        &["requires authentication which has not been provided"],
        FailureCause::ImageAuthFailed,
    ),
    (&["got http code 401"], FailureCause::ImageAuthFailed),
    (&["got http code 403"], FailureCause::ImageAuthFailed),
    (&["not authorized for image"], FailureCause::ImageAuthFailed),
    (
        &["failed to verify against checksum"],
        FailureCause::ChecksumMismatch,
    ),
    (
        &["error verifying image checksum"],
        FailureCause::ChecksumMismatch,
    ),
    (
        &["checksum is invalid or does not match"],
        FailureCause::ChecksumMismatch,
    ),
    (&["too small for requested image"], FailureCause::ImageTooLarge),
    (&["no space left on device"], FailureCause::ImageTooLarge),
    (&["insufficient storage"], FailureCause::ImageTooLarge),
    (&["checksum file"], FailureCause::ImageFetchFailed),
    (&["validation of image href"], FailureCause::ImageFetchFailed),
    (&["failed to download image"], FailureCause::ImageFetchFailed),
    (&["error downloading image"], FailureCause::ImageFetchFailed),
    (&["image download timeout"], FailureCause::ImageFetchFailed),
    (&["download of image"], FailureCause::ImageFetchFailed),
    (&["could not download image"], FailureCause::ImageFetchFailed),
    (
        &["image tag", "could not be found"],
        FailureCause::ImageFetchFailed,
    ),
    (&["rate limit has been exceeded"], FailureCause::ImageFetchFailed),
    (&["is unacceptable"], FailureCause::ImageInvalid),
    (&["image is not valid for use"], FailureCause::ImageInvalid),
    (
        &["lacks the required attributes to identify"],
        FailureCause::ImageInvalid,
    ),
    (&["parsing of the image failed"], FailureCause::ImageInvalid),
    (
        &["no suitable device was found"],
        FailureCause::RootDeviceNotFound,
    ),
    (&["root device hints"], FailureCause::RootDeviceNotFound),
    (
        &["error finding the disk or partition device"],
        FailureCause::RootDeviceNotFound,
    ),
    (
        &["failed to install a bootloader"],
        FailureCause::BootloaderFailed,
    ),
    (&["error writing image to device"], FailureCause::ImageWriteFailed),
    (&["writing image to device"], FailureCause::ImageWriteFailed),
    (&["the configdrive"], FailureCause::ConfigDriveInvalid),
    (&["attach configdrive"], FailureCause::ConfigDriveInvalid),
    (&["config drive"], FailureCause::ConfigDriveInvalid),
    // The ramdisk.
    (
        &["timeout reached while inspecting"],
        FailureCause::InspectionTimeout,
    ),
    (&["timeout reached while"], FailureCause::NoAgent),
    (&["failed to connect to the agent"], FailureCause::AgentSilent),
    (&["connection to agent failed"], FailureCause::AgentSilent),
    (&["timeout executing command"], FailureCause::AgentSilent),
    (
        &["error getting configuration from ironic"],
        FailureCause::AgentSilent,
    ),
    (
        &["parameters were missing in node's driver_info"],
        FailureCause::RamdiskMissing,
    ),
    (&["missing are: [", "deploy_kernel"], FailureCause::RamdiskMissing),
    (&["neither deploy iso"], FailureCause::RamdiskMissing),
    // The BMC, once nothing else is known of what it was asked for.
    (&["unable to connect to"], FailureCause::BmcUnreachable),
    (&["redfish connection failed"], FailureCause::BmcUnreachable),
    (&["ipmi call failed"], FailureCause::IpmiFailed),
    (
        &["redfish exception", "not found"],
        FailureCause::BmcResourceNotFound,
    ),
    (
        &["resource", "/redfish/v1", "not found"],
        FailureCause::BmcResourceNotFound,
    ),
    (&["returned code 404"], FailureCause::BmcResourceNotFound),
    (&["returned code 403"], FailureCause::BmcAuthFailed),
    (&["setting power state to"], FailureCause::PowerFailed),
    (&["failed to set node power state"], FailureCause::PowerFailed),
    (&["failed to change power state"], FailureCause::PowerFailed),
    (&["returned code 5"], FailureCause::BmcError),
    (&["returned code 4"], FailureCause::BmcError),
    (&["redfish exception occurred"], FailureCause::BmcError),
    // Our own words, and Ironic's about the request.
    (&["conflicts with existing node"], FailureCause::MacConflict),
    (
        &["a port with mac address", "already exists"],
        FailureCause::MacConflict,
    ),
    (&["unknown bmc type"], FailureCause::BmcAddressInvalid),
    (&["bmc address"], FailureCause::BmcAddressInvalid),
    (&["invalid redfish address"], FailureCause::BmcAddressInvalid),
    (&["invalid ipmi address"], FailureCause::BmcAddressInvalid),
    (&["driver(s) or hardware type(s)"], FailureCause::DriverNotEnabled),
    (&["interface implementation"], FailureCause::DriverNotEnabled),
    (
        &["could not find the following interface"],
        FailureCause::DriverNotEnabled,
    ),
    (
        &["ensure the interfaces are enabled"],
        FailureCause::DriverNotEnabled,
    ),
    (&["does not support"], FailureCause::Unsupported),
    (&["is not supported"], FailureCause::Unsupported),
    (&["requires a bootmacaddress"], FailureCause::Unsupported),
    (&["checksum is required"], FailureCause::Unsupported),
    (&["must be empty for oci"], FailureCause::Unsupported),
    (&["validation failed: "], FailureCause::Unsupported),
    (&["unexpected arguments"], FailureCause::Unsupported),
    (
        &["is missing these required arguments"],
        FailureCause::Unsupported,
    ),
    // Only that it failed is known.
    (&["protected device located"], FailureCause::ProtectedDevice),
    (&["clean step failed"], FailureCause::CleaningFailed),
    (&["failed to clean node"], FailureCause::CleaningFailed),
    (&["erasing block device"], FailureCause::CleaningFailed),
    (&["cleaning failed"], FailureCause::CleaningFailed),
    (&["deprovisioning failed"], FailureCause::UndeployFailed),
    (&["failed to tear down"], FailureCause::UndeployFailed),
];
