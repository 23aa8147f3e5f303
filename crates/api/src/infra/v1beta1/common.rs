//! Shapes shared by several kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::infra::schema;
pub use crate::infra::v1beta2::{MachineAddress, V1Beta1Condition};

/// Conditions in the form of v1beta2.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct V1Beta2Status {
    /// Conditions without severity, with the generation they describe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
