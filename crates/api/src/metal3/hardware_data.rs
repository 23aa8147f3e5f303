//! HardwareData: what inspection found; one per host, of the host's name.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema, wire};

/// Inspection data.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "HardwareData",
    plural = "hardwaredata",
    doc = "What inspection found on a host of the same name.",
    namespaced,
    shortname = "hd",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct HardwareDataSpec {
    /// The hardware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<HardwareDetails>,
}

/// Hardware of one host.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HardwareDetails {
    /// Who made it.
    #[serde(
        default,
        serialize_with = "wire::present",
        deserialize_with = "wire::absent_when_empty"
    )]
    #[schemars(transform = schema::no_default)]
    pub system_vendor: Option<HardwareSystemVendor>,
    /// Firmware in use.
    #[serde(
        default,
        serialize_with = "wire::present",
        deserialize_with = "wire::absent_when_empty"
    )]
    #[schemars(transform = schema::no_default)]
    pub firmware: Option<Firmware>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub ram_mebibytes: Option<i64>,
    /// Network interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<NIC>,
    /// Disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<Storage>,
    /// Processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CPU>,
    /// Name the machine gave itself during inspection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

impl HardwareDetails {
    /// Reads what a user wrote into an annotation. A field that nobody reads is a typo.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn read_strictly(text: &str) -> Result<Self, String> {
        let mut unknown = Vec::new();
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = serde_ignored::deserialize(&mut reader, |path| unknown.push(path.to_string()));
        let details = read.map_err(|error| error.to_string())?;
        reader.end().map_err(|error| error.to_string())?;
        match unknown.first() {
            None => Ok(details),
            Some(field) => Err(format!("unknown field {field:?}")),
        }
    }
}

/// Maker of the machine.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HardwareSystemVendor {
    /// Manufacturer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_name: Option<String>,
    /// Serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
}

/// Firmware of the machine.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Firmware {
    /// BIOS or UEFI.
    #[serde(
        default,
        serialize_with = "wire::present",
        deserialize_with = "wire::absent_when_empty"
    )]
    #[schemars(transform = schema::no_default)]
    pub bios: Option<BIOS>,
}

/// BIOS or UEFI version.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BIOS {
    /// Release date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// One network interface.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NIC {
    /// Device name, for example eno1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Vendor and device identifiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::MAC_ANYWHERE))]
    pub mac: Option<String>,
    /// IP address; an interface with several has one entry each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Speed in Gbit/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub speed_gbps: Option<i64>,
    /// VLANs seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<VLAN>,
    /// Untagged VLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4094))]
    pub vlan_id: Option<i32>,
    /// Whether the machine boots from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pxe: Option<bool>,
    /// What the switch told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lldp: Option<LLDP>,
    /// PCI address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<String>,
}

/// One VLAN.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VLAN {
    /// VLAN identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4094))]
    pub id: Option<i32>,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What the neighbouring switch announced.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LLDP {
    /// Chassis identifier.
    #[serde(rename = "switchID", skip_serializing_if = "Option::is_none")]
    pub switch_id: Option<String>,
    /// Port identifier.
    #[serde(rename = "portID", skip_serializing_if = "Option::is_none")]
    pub port_id: Option<String>,
    /// Name of the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch_system_name: Option<String>,
}

/// One disk.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Device name, by path where possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Other names of the same disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternate_names: Vec<String>,
    /// Whether it spins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
    /// Kind of disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["HDD", "SSD", "NVME"]))]
    pub type_: Option<String>,
    /// Size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// Vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// World wide name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// Vendor extension of the world wide name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwn_vendor_extension: Option<String>,
    /// World wide name with extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwn_with_extension: Option<String>,
    /// SCSI address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hctl: Option<String>,
}

/// Processors of one host.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CPU {
    /// Architecture, for example x86_64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Clock rate in MHz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_megahertz: Option<f64>,
    /// CPU flags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Logical processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub count: Option<i64>,
}
