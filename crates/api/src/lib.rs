//! Kubernetes API types of Metal3: the one source of the CRDs, shared by both services.
//!
//! * [`metal3`]: hosts and what belongs to them (`metal3.io/v1alpha1`); begin with [`metal3::host`].
//! * [`infra`]: the Cluster API provider's kinds (`infrastructure.cluster.x-k8s.io`), both versions and their conversion.
//! * [`ipam`]: address pools (`ipam.metal3.io/v1alpha1`).
//! * [`capi`]: thin views of Cluster API's own objects.
//! * [`conditions`], [`names`]: conditions; finalizers, labels and annotations.
//!
//! It must not know how anything is stored or transported: no client, no async.

pub mod capi;
pub mod conditions;
pub mod infra;
pub mod ipam;
pub mod metal3;
pub mod names;
mod schema;
mod wire;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// All CRDs as the derive makes them; `cargo xtask gen crds` gives them the form that Kubernetes expects.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [metal3::crds(), infra::crds(), ipam::crds()].concat()
}
