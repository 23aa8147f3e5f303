//! CustomResourceDefinitions of the group, with both versions in one.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{v1beta1, v1beta2};

/// Version of the objects that serves each contract of Cluster API.
const CONTRACTS: [(&str, &str); 2] = [
    ("cluster.x-k8s.io/v1beta1", "v1beta1"),
    ("cluster.x-k8s.io/v1beta2", "v1beta2"),
];

/// All kinds of the group: v1beta2 is stored, v1beta1 is served and deprecated.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        merge(v1beta2::Metal3Cluster::crd(), v1beta1::Metal3Cluster::crd()),
        merge(
            v1beta2::Metal3ClusterTemplate::crd(),
            v1beta1::Metal3ClusterTemplate::crd(),
        ),
        merge(v1beta2::Metal3Machine::crd(), v1beta1::Metal3Machine::crd()),
        merge(
            v1beta2::Metal3MachineTemplate::crd(),
            v1beta1::Metal3MachineTemplate::crd(),
        ),
        moved_without_owner(merge(
            v1beta2::Metal3DataTemplate::crd(),
            v1beta1::Metal3DataTemplate::crd(),
        )),
        merge(v1beta2::Metal3DataClaim::crd(), v1beta1::Metal3DataClaim::crd()),
        irregular_plural(merge(v1beta2::Metal3Data::crd(), v1beta1::Metal3Data::crd())),
        merge(
            v1beta2::Metal3Remediation::crd(),
            v1beta1::Metal3Remediation::crd(),
        ),
        merge(
            v1beta2::Metal3RemediationTemplate::crd(),
            v1beta1::Metal3RemediationTemplate::crd(),
        ),
    ]
}

fn merge(hub: CustomResourceDefinition, spoke: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = hub;
    crd.spec
        .versions
        .extend(spoke.spec.versions.into_iter().map(|mut version| {
            version.storage = false;
            version
        }));
    crd.spec.versions.sort_by(|a, b| a.name.cmp(&b.name));
    let labels = crd.metadata.labels.get_or_insert_default();
    labels.extend(CONTRACTS.map(|(contract, version)| (contract.to_owned(), version.to_owned())));
    crd
}

/// clusterctl moves what an owner chain leads to; templates of data have no owner.
fn moved_without_owner(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let labels = crd.metadata.labels.get_or_insert_default();
    labels.insert("clusterctl.cluster.x-k8s.io/move".to_owned(), String::new());
    crd
}

/// clusterctl refuses CRDs whose name it cannot compute from the kind.
fn irregular_plural(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let annotations = crd.metadata.annotations.get_or_insert_default();
    annotations.insert(
        "clusterctl.cluster.x-k8s.io/skip-crd-name-preflight-check".to_owned(),
        String::new(),
    );
    crd
}
