//! BMCEventSubscription: Redfish events of a host sent to a URL.

use k8s_openapi::api::core::v1::SecretReference;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Desired subscription.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "BMCEventSubscription",
    plural = "bmceventsubscriptions",
    doc = "A subscription to the events of a BMC.",
    namespaced,
    shortname = "bes",
    shortname = "bmcevent",
    status = "BMCEventSubscriptionStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(
        name = "Error",
        type_ = "string",
        json_path = ".status.error",
        description = "The most recent error message"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct BMCEventSubscriptionSpec {
    /// BareMetalHost of the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// URL that receives the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Text sent with each event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Secret with HTTP headers for the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub http_headers_ref: Option<SecretReference>,
}

/// Observed subscription.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BMCEventSubscriptionStatus {
    /// Identifier at the BMC.
    #[serde(rename = "subscriptionID", skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<String>,
    /// Why it could not be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
