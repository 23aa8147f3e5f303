use ErrorType as E;
use FailureCause as C;
use metal3_api::metal3::host::ErrorType;

use super::FailureCause;

/// As Ironic 39.0, its agent 13.0 and sushy 5.14 write them, with values filled in.
pub(super) const REAL: &[(ErrorType, &str, FailureCause)] = &[
    (
        E::Registration,
        "Failed to get power state for node 1be2. Error: Redfish connection failed for node 1be2: Unable to connect \
         to https://192.0.2.7/redfish/v1/. Error: HTTPSConnectionPool(host='192.0.2.7', port=443): Max retries \
         exceeded with url: /redfish/v1/ (Caused by ConnectTimeoutError(<HTTPSConnection>, 'Connection to 192.0.2.7 \
         timed out. (connect timeout=60)'))",
        C::BmcUnreachable,
    ),
    (
        E::Registration,
        "Failed to get power state for node 1be2. Error: Redfish connection failed for node 1be2: Unable to connect \
         to https://bmc/redfish/v1/. Error: HTTPSConnectionPool(host='bmc', port=443): Max retries exceeded with \
         url: /redfish/v1/ (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] \
         certificate verify failed: self-signed certificate (_ssl.c:1006)')))",
        C::BmcTlsUntrusted,
    ),
    (
        E::Registration,
        "Failed to get power state for node 1be2. Error: Redfish exception occurred. Error: HTTP GET \
         http://127.0.0.1:8000/redfish/v1/Systems/1 returned code 401. Base.1.0.GeneralError: Unauthorized Extended \
         information: None",
        C::BmcAuthFailed,
    ),
    (
        E::Registration,
        "Failed to get power state for node 1be2. Error: Redfish exception occurred. Error: The Redfish System \
         \"/redfish/v1/Systems/9\" was not found for node 1be2. Error: HTTP GET http://bmc/redfish/v1/Systems/9 \
         returned code 404. unknown error Extended information: none",
        C::BmcResourceNotFound,
    ),
    (
        E::Registration,
        "Failed to get power state for node 1be2. Error: Redfish exception occurred. Error: HTTP GET \
         http://bmc/redfish/v1/Systems/1 returned code 503. unknown error Extended information: none",
        C::BmcError,
    ),
    (
        E::Registration,
        "Failed to get power state for node 1be2. Error: IPMI call failed: power status.",
        C::IpmiFailed,
    ),
    (
        E::Registration,
        "MAC address 52:54:00:00:00:01 conflicts with existing node metal3~other",
        C::MacConflict,
    ),
    (
        E::Registration,
        "A port with MAC address 52:54:00:00:00:01 already exists.",
        C::MacConflict,
    ),
    (
        E::Registration,
        "Could not find the following driver(s) or hardware type(s): ilo5.",
        C::DriverNotEnabled,
    ),
    (
        E::Registration,
        "BMC driver ipmi does not support fast (out-of-band) inspection",
        C::Unsupported,
    ),
    (
        E::Inspection,
        "timeout reached while inspecting the node",
        C::InspectionTimeout,
    ),
    (
        E::Inspection,
        "Failed to inspect hardware. Reason: unable to start inspection: Virtual media mount failed for node 1be2 \
         with image http://192.0.2.1/redfish/boot-1be2.iso. Error: HTTP POST https://bmc/redfish/v1/Managers/1/\
         VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia returned code 500. iLO.2.15.UnableToMount: it cannot",
        C::MediaAttachFailed,
    ),
    (
        E::Inspection,
        "Failed to inspect hardware. Reason: unable to start inspection: Virtual media mount failed for node 1be2 \
         with image http://192.0.2.1/boot.iso. Error: HTTP POST https://bmc/VirtualMedia.InsertMedia returned code \
         403. SMC.1.0.OemLicenseNotPassed: Not licensed to perform this request. The following licenses DCMS were \
         needed Extended information: none",
        C::LicenseMissing,
    ),
    (
        E::Inspection,
        "Failed to inspect hardware. Reason: unable to start inspection: No suitable virtual media device found for \
         node 1be2 to mount image http://192.0.2.1/boot.iso",
        C::MediaAttachFailed,
    ),
    (
        E::Inspection,
        "Failed to inspect hardware. Reason: unable to start inspection: Error validating Redfish virtual media. \
         Some parameters were missing in node's driver_info. Missing are: ['deploy_kernel', 'deploy_ramdisk']",
        C::RamdiskMissing,
    ),
    (
        E::Inspection,
        "Failed to inspect hardware. Reason: unable to start inspection: Setting boot mode to bios failed for node \
         1be2. Error: HTTP PATCH https://bmc/redfish/v1/Systems/1 returned code 400. unknown error",
        C::BootModeUnsupported,
    ),
    (
        E::Inspection,
        "Ramdisk reported error: no network interfaces match the configuration.",
        C::InspectionFailed,
    ),
    (E::Inspection, "Inspection was aborted by request.", C::Aborted),
    (
        E::Inspection,
        "The inspecting state can't be resumed by conductor ironic-0. Moving to fail state.",
        C::BackendRestarted,
    ),
    (
        E::Preparation,
        "Timeout reached while cleaning the node. Please check if the ramdisk responsible for the cleaning is running \
         on the node. Failed on step {'step': 'create_configuration'}.",
        C::NoAgent,
    ),
    (
        E::Preparation,
        "Node 1be2 failed step {'step': 'create_configuration'}: RAID level 7 is not supported by the driver. \
         Supported RAID levels: ['0', '1']",
        C::RaidFailed,
    ),
    (
        E::Preparation,
        "Clean step {'step': 'create_configuration'} failed on node 1be2. Software RAID caused unknown error: No \
         candidates for physical disk {'size': 3} from the list []",
        C::RaidFailed,
    ),
    (
        E::Preparation,
        "Node 1be2 failed step {'step': 'apply_configuration'}: Redfish BIOS apply configuration failed for node \
         1be2. Error: the value is read-only",
        C::FirmwareFailed,
    ),
    (
        E::Preparation,
        "Node 1be2 failed step {'step': 'update'}: Firmware update failed for node 1be2, firmware http://a/b. Error: no",
        C::FirmwareFailed,
    ),
    (
        E::Provisioning,
        "Cleaning failed: Clean step {'step': 'erase_devices_metadata'} failed on node 1be2. Clean step failed: Error \
         erasing block device: /dev/sda",
        C::CleaningFailed,
    ),
    (
        E::Provisioning,
        "Cleaning failed: Clean step {'step': 'erase_devices_metadata'} failed on node 1be2. Protected device located, \
         cleaning aborted.: Protected VMFS located on device /dev/sdb.",
        C::ProtectedDevice,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/checksum/license.qcow2, checksum: abc): Timeout reached while \
         waiting for callback for node 1be2",
        C::NoAgent,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x.qcow2): Deploy step deploy.write_image failed on node 1be2. Error \
         verifying image checksum: Image failed to verify against checksum. location: /tmp/x; image ID: x; image \
         checksum: a; verification checksum: b",
        C::ChecksumMismatch,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x.qcow2): Deploy step deploy.write_image failed on node 1be2. Error \
         downloading image: Download of image x failed: URL: http://a/x.qcow2; time: 0.1 seconds. Error: Received \
         status code 404 from http://a/x.qcow2, expected 200.",
        C::ImageFetchFailed,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x.qcow2): Failed to prepare to deploy: Validation of image href \
         http://a/x.qcow2 failed, reason: Got HTTP code 404 instead of 200 in response to HEAD request.",
        C::ImageFetchFailed,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: oci://a/x): The requested image oci://a/x requires authentication which has \
         not been provided. Unable to proceed.",
        C::ImageAuthFailed,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x): Failed to prepare to deploy: Memory size is too small for \
         requested image, if it is less than (image size + reserved RAM size), will break the IPA deployments.",
        C::ImageTooLarge,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x): Deploy step deploy.write_image failed on node 1be2. Error \
         writing image to device: Writing image to device /dev/sda failed with exit code 1. stdout: . stderr: \
         qemu-img: error while writing: No space left on device",
        C::ImageTooLarge,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x): Deploy step deploy.write_image failed on node 1be2. Error \
         writing image to device: Writing image to device /dev/sda failed with exit code 1. stdout: . stderr: I/O",
        C::ImageWriteFailed,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x): The requested image is not valid for use.",
        C::ImageInvalid,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x): Deploy step deploy.write_image failed on node 1be2. Error \
         finding the disk or partition device to deploy the image onto: No suitable device was found for deployment \
         using these hints {'serial': 'x'}",
        C::RootDeviceNotFound,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x): Deploy step deploy.prepare_instance_boot failed: Failed to \
         install a bootloader when deploying node 1be2: no EFI partition.",
        C::BootloaderFailed,
    ),
    (
        E::Provisioning,
        "Image provisioning failed (url: http://a/x): Failed to connect to the agent running on node 1be2 for invoking \
         command image.install_bootloader. Error: Connection refused",
        C::AgentSilent,
    ),
    (
        E::Provisioning,
        "Failed to prepare the configdrive. Exception: too large",
        C::ConfigDriveInvalid,
    ),
    (
        E::Provisioning,
        "Validation failed: checksum is required for normal images",
        C::Unsupported,
    ),
    (E::Provisioning, "Deprovisioning failed", C::UndeployFailed),
    (E::Provisioning, "something new", C::DeploymentFailed),
    (
        E::Provisioning,
        "The deploy operation can't be performed on node 1be2 because it's in maintenance mode.",
        C::NodeInMaintenance,
    ),
    (
        E::PowerManagement,
        "PowerOn operation failed: Failed to change power state to 'power on': Redfish exception occurred. Error: \
         Setting power state to power on failed for node 1be2. Error: HTTP POST http://bmc/ComputerSystem.Reset \
         returned code 500. unknown error Extended information: none",
        C::PowerFailed,
    ),
    (
        E::PowerManagement,
        "During sync_power_state, max retries exceeded for node 1be2, node state None does not match expected state \
         'power on'. Updating DB state to 'None' Switching node to maintenance mode. Error: Redfish connection \
         failed for node 1be2",
        C::PowerControlLost,
    ),
    (
        E::Servicing,
        "Timeout reached while servicing the node. Please check if the ramdisk responsible for the servicing is \
         running on the node. Failed on step {}.",
        C::NoAgent,
    ),
    (
        E::Servicing,
        "By request, the service operation was aborted",
        C::Aborted,
    ),
    (
        E::ProvisionedRegistration,
        "Host adoption failed: what happened is new",
        C::AdoptionFailed,
    ),
    (
        E::Detach,
        "Requested action cannot be performed due to lack of free conductor workers.",
        C::BackendOverloaded,
    ),
    (E::Detach, "", C::Unknown),
];
