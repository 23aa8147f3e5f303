//! BareMetalHost: one physical server.

use k8s_openapi::api::core::v1::{ObjectReference, SecretReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hardware_data::HardwareDetails;
pub use super::state::{ErrorType, OperationalStatus, ProvisioningState};
use crate::{schema, wire};

pub use super::common::{CustomDeploy, Image, RootDeviceHints};
pub use super::raid::{HardwareRAIDVolume, RAIDConfig, SoftwareRAIDVolume};
/// Desired state of a host.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "BareMetalHost",
    plural = "baremetalhosts",
    doc = "One physical server.",
    namespaced,
    shortname = "bmh",
    shortname = "bmhost",
    status = "BareMetalHostStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.operationalStatus",
        priority = 1,
        description = "Operational status"
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.provisioning.state",
        description = "Provisioning status"
    ),
    printcolumn(
        name = "Consumer",
        type_ = "string",
        json_path = ".spec.consumerRef.name",
        description = "Consumer using this host"
    ),
    printcolumn(
        name = "BMC",
        type_ = "string",
        json_path = ".spec.bmc.address",
        priority = 1,
        description = "Address of management controller"
    ),
    printcolumn(
        name = "Online",
        type_ = "string",
        json_path = ".spec.online",
        description = "Whether the host is meant to be powered on"
    ),
    printcolumn(
        name = "Error",
        type_ = "string",
        json_path = ".status.errorType",
        description = "Type of the most recent error"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct BareMetalHostSpec {
    /// Not used by any controller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// How to reach the management controller; absent or empty for an unmanaged host.
    #[serde(default)]
    #[schemars(transform = schema::no_default)]
    pub bmc: BMCDetails,
    /// RAID volumes; applied while preparing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raid: Option<RAIDConfig>,
    /// No longer supported: use HostFirmwareSettings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareConfig>,
    /// Deprecated source of default root device hints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_profile: Option<String>,
    /// Which disk receives the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_device_hints: Option<RootDeviceHints>,
    /// Boot mode; UEFI unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<BootMode>,
    /// MAC address of the interface that boots from the network.
    #[serde(rename = "bootMACAddress", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::MAC_ANYWHERE))]
    pub boot_mac_address: Option<String>,
    /// Whether the host is to be powered on; also lets a requested image be deployed.
    pub online: bool,
    /// The object that uses this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_reference")]
    pub consumer_ref: Option<ObjectReference>,
    /// What to deploy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Secret with user data for the config drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub user_data: Option<SecretReference>,
    /// Secret with network data for the deploy ramdisk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preprovisioning_network_data_name: Option<String>,
    /// Secret with network data for the config drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub network_data: Option<SecretReference>,
    /// Secret with meta data for the config drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub meta_data: Option<SecretReference>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Something else owns the disk; only power is managed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub externally_provisioned: Option<bool>,
    /// Cleaning between deployments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "metadata"))]
    pub automated_cleaning_mode: Option<AutomatedCleaningMode>,
    /// Custom deploy step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_deploy: Option<CustomDeploy>,
    /// CPU architecture, for example x86_64; filled in by inspection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Never power off; reboot instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_power_off: Option<bool>,
    /// How to inspect; with the agent unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspection_mode: Option<InspectionMode>,
    /// Switch configuration per interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_interfaces: Vec<NetworkInterface>,
}

/// Kept for compatibility.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Effect.
    pub effect: String,
    /// When it was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub time_added: Option<Time>,
}

/// Access to the management controller.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BMCDetails {
    /// URL; its scheme picks the driver.
    pub address: String,
    /// Secret with `username` and `password`, in the host's namespace.
    pub credentials_name: String,
    /// Accept any certificate of the management controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_certificate_verification: Option<bool>,
}

/// Deprecated firmware settings.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FirmwareConfig {
    /// Virtualization.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [true, false]))]
    pub virtualization_enabled: Option<bool>,
    /// Multithreading.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [true, false]))]
    pub simultaneous_multithreading_enabled: Option<bool>,
    /// SR-IOV.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [true, false]))]
    pub sriov_enabled: Option<bool>,
}

/// Switch side of one interface; named by name or MAC address.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInterface {
    /// Interface name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    pub name: Option<String>,
    /// MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::MAC))]
    pub mac_address: Option<String>,
    /// Attachment to apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network_attachment: Option<HostNetworkAttachmentRef>,
    /// Port it is plugged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch_port: Option<SwitchPort>,
}

/// A HostNetworkAttachment.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostNetworkAttachmentRef {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
}

/// A port of a switch.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwitchPort {
    /// MAC address of the switch.
    #[serde(rename = "switchID")]
    #[schemars(regex(pattern = schema::MAC))]
    pub switch_id: String,
    /// Port.
    #[serde(rename = "portID")]
    pub port_id: String,
}

/// Observed state of a host; written by the operator only.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BareMetalHostStatus {
    /// Summary.
    #[serde(deserialize_with = "wire::known_word")]
    pub operational_status: OperationalStatus,
    /// What kind of failure is recorded.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_known_word"
    )]
    #[schemars(transform = schema::no_default)]
    pub error_type: Option<ErrorType>,
    /// When this status was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_updated: Option<Time>,
    /// Profile in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_profile: Option<String>,
    /// Deprecated copy of HardwareData.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<HardwareDetails>,
    /// What is deployed, and how far.
    pub provisioning: ProvisionStatus,
    /// Credentials last proven to work.
    #[serde(default)]
    #[schemars(transform = schema::no_default)]
    pub good_credentials: CredentialsStatus,
    /// Credentials last sent.
    #[serde(default)]
    #[schemars(transform = schema::no_default)]
    pub tried_credentials: CredentialsStatus,
    /// Failure in words; empty when there is none.
    pub error_message: String,
    /// Last observed power.
    pub powered_on: bool,
    /// When the long operations ran.
    #[serde(default)]
    #[schemars(transform = schema::no_default)]
    pub operation_history: OperationHistory,
    /// Failures since the last success; sets the back-off.
    #[schemars(schema_with = "schema::integer", extend("default" = 0))]
    pub error_count: i64,
    /// Failed deployments of the current image.
    #[schemars(schema_with = "schema::integer", extend("default" = 0))]
    pub provisioning_fail_count: i64,
    /// Image of the last deployment attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_image: Option<Image>,
    /// Conditions by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// What is deployed, and how far.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvisionStatus {
    /// Where the host is in its life.
    #[schemars(with = "String")]
    pub state: ProvisioningState,
    /// UUID of the node in Ironic.
    #[serde(rename = "ID")]
    pub id: String,
    /// The image that is deployed; its URL is empty when there is none.
    #[serde(
        default,
        serialize_with = "wire::present",
        deserialize_with = "wire::absent_when_empty"
    )]
    #[schemars(transform = schema::no_default)]
    pub image: Option<Image>,
    /// Hints in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_device_hints: Option<RootDeviceHints>,
    /// Boot mode in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<BootMode>,
    /// RAID volumes in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raid: Option<RAIDConfig>,
    /// Deprecated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareConfig>,
    /// The custom deploy step that ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_deploy: Option<CustomDeploy>,
}

/// A version of a Secret.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsStatus {
    /// The Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub credentials: Option<SecretReference>,
    /// Its resourceVersion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_version: Option<String>,
}

/// When the long operations ran.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationHistory {
    /// Registration.
    #[serde(default)]
    #[schemars(transform = schema::no_default)]
    pub register: OperationMetric,
    /// Inspection.
    #[serde(default)]
    #[schemars(transform = schema::no_default)]
    pub inspect: OperationMetric,
    /// Deployment.
    #[serde(default)]
    #[schemars(transform = schema::no_default)]
    pub provision: OperationMetric,
    /// Removal.
    #[serde(default)]
    #[schemars(transform = schema::no_default)]
    pub deprovision: OperationMetric,
}

/// Start and end of one operation; null while unknown.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationMetric {
    /// Start.
    #[serde(default)]
    #[schemars(schema_with = "schema::time")]
    pub start: Option<Time>,
    /// End.
    #[serde(default)]
    #[schemars(schema_with = "schema::time")]
    pub end: Option<Time>,
}

/// Boot mode of a host.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum BootMode {
    #[default]
    #[serde(rename = "UEFI")]
    Uefi,
    #[serde(rename = "UEFISecureBoot")]
    UefiSecureBoot,
    #[serde(rename = "legacy")]
    Legacy,
}

impl BootMode {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uefi => "UEFI",
            Self::UefiSecureBoot => "UEFISecureBoot",
            Self::Legacy => "legacy",
        }
    }
}

/// How hardware is inspected.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum InspectionMode {
    #[serde(rename = "disabled")]
    Disabled,
    #[default]
    #[serde(rename = "agent")]
    Agent,
    #[serde(rename = "fast")]
    Fast,
}

impl InspectionMode {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Agent => "agent",
            Self::Fast => "fast",
        }
    }
}

/// Cleaning between deployments.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum AutomatedCleaningMode {
    #[default]
    #[serde(rename = "metadata")]
    Metadata,
    #[serde(rename = "disabled")]
    Disabled,
}

impl AutomatedCleaningMode {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Disabled => "disabled",
        }
    }
}
