//! Types that several kinds of the group share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A disk image, or a live ISO.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Location: http, https, ftp, gopher, or oci for an image in a registry.
    pub url: String,
    /// Secret with registry credentials for an oci URL, in the host's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oci_auth_secret_name: Option<String>,
    /// Checksum, or the URL of a file of checksums; not for live ISO and OCI images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Kind of checksum; `auto` or absent lets Ironic detect it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["md5", "sha256", "sha512", "auto"]))]
    pub checksum_type: Option<String>,
    /// Disk format; `live-iso` boots the image without writing it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["raw", "qcow2", "vdi", "vmdk", "live-iso"]))]
    pub format: Option<String>,
}

/// A deploy step of a custom ramdisk, instead of or beside writing an image.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomDeploy {
    /// Name of the step.
    pub method: String,
}

/// What the disk for the image looks like; all given hints must match.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RootDeviceHints {
    /// Path under /dev, or better under /dev/disk/by-path, which stays the same over reboots. It must be equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// SCSI address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hctl: Option<String>,
    /// Model, or a part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Vendor, or a part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// Smallest size in GB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(min = 0))]
    pub min_size_gigabytes: Option<i64>,
    /// World wide name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// World wide name with extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwn_with_extension: Option<String>,
    /// Vendor extension of the world wide name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwn_vendor_extension: Option<String>,
    /// Whether the disk spins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
}
