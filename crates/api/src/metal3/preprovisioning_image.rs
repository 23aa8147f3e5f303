//! PreprovisioningImage: the deploy ramdisk built for a host.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Desired ramdisk.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "PreprovisioningImage",
    plural = "preprovisioningimages",
    doc = "The deploy ramdisk of a host of the same name.",
    namespaced,
    shortname = "ppimg",
    status = "PreprovisioningImageStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether the image is ready"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        description = "The reason for the image readiness status"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PreprovisioningImageSpec {
    /// Secret with network data, in the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_data_name: Option<String>,
    /// CPU architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Formats that the host can boot, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept_formats: Vec<ImageFormat>,
}

/// Built ramdisk.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreprovisioningImageStatus {
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    /// Its kernel, for an initrd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_url: Option<String>,
    /// Its format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<ImageFormat>,
    /// Kernel parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_kernel_params: Option<String>,
    /// Architecture it was built for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Network data it was built with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_data: Option<SecretStatus>,
    /// Conditions by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions_unbounded")]
    pub conditions: Vec<Condition>,
}

/// A version of a Secret.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatus {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// resourceVersion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Format of a deploy ramdisk.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum ImageFormat {
    #[default]
    #[serde(rename = "iso")]
    Iso,
    #[serde(rename = "initrd")]
    Initrd,
}

impl ImageFormat {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iso => "iso",
            Self::Initrd => "initrd",
        }
    }
}
