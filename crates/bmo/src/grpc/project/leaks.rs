//! What of a host travels is what is listed here. Every text of an object says where it stands; those found in the message
//! are compared with the list, so that whatever is added to hosts stays here until somebody lets it go.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt as _;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::*;

/// Never a credential, never the content of a Secret: names of Secrets for the machine, and what consumers act on.
const TOLD: [&str; 38] = [
    "metadata.annotations[baremetalhost.metal3.io/detached]",
    "metadata.annotations[baremetalhost.metal3.io/paused]",
    "metadata.annotations[capi.metal3.io/unhealthy]",
    "metadata.annotations[capm3.metal3.io/unhealthy]",
    "metadata.annotations[clusterctl.cluster.x-k8s.io/block-move]",
    "metadata.annotations[reboot.metal3.io/key]",
    "metadata.annotations[reboot.metal3.io]",
    "metadata.labels[any]",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.consumerRef.apiVersion",
    "spec.consumerRef.kind",
    "spec.consumerRef.name",
    "spec.consumerRef.namespace",
    "spec.consumerRef.uid",
    "spec.customDeploy.method",
    "spec.image.checksum",
    "spec.image.url",
    "spec.metaData.name",
    "spec.metaData.namespace",
    "spec.networkData.name",
    "spec.networkData.namespace",
    "spec.userData.name",
    "spec.userData.namespace",
    "status.conditions.message",
    "status.conditions.reason",
    "status.conditions.type",
    "status.errorMessage",
    "status.hardware.cpu.arch",
    "status.hardware.hostname",
    "status.hardware.nics.ip",
    "status.hardware.nics.mac",
    "status.hardware.nics.name",
    "status.provisioning.customDeploy.method",
    "status.provisioning.image.checksum",
    "status.provisioning.image.url",
    "status.provisioning.state",
];

fn told_list() -> BTreeSet<String> {
    TOLD.iter().map(|&path| path.into()).collect()
}

/// A value for a part of the schema; optional fields as the next of `keep` says.
fn value(schema: &JSONSchemaProps, path: &str, keep: &mut dyn Iterator<Item = bool>) -> Value {
    match schema.type_.as_deref() {
        Some("object") => {
            let required = schema.required.clone().unwrap_or_default();
            let mut fields = Map::new();
            for (name, field) in schema.properties.iter().flatten() {
                if required.contains(name) || keep.next().unwrap_or(true) {
                    fields.insert(name.clone(), value(field, &format!("{path}.{name}"), keep));
                }
            }
            Value::Object(fields)
        }
        Some("array") => match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(item)) => json!([value(item, path, keep)]),
            other => panic!("{path}: {other:?}"),
        },
        Some("string") => match (&schema.enum_, schema.format.as_deref()) {
            (Some(words), _) => words.last().unwrap().0.clone(),
            (None, Some("date-time")) => json!("2026-01-01T00:00:00Z"),
            (None, _) => json!(mark(path)),
        },
        Some("integer" | "number") => json!(7),
        Some("boolean") => json!(true),
        other => panic!("{path}: {other:?}"),
    }
}

/// The text at a place, in the form of no other place.
fn mark(path: &str) -> String {
    format!("<{path}>")
}

/// A host of which every text is known.
fn full(keep: &mut dyn Iterator<Item = bool>) -> BareMetalHost {
    let crd = BareMetalHost::crd();
    let schema = crd.spec.versions[0].schema.clone().unwrap();
    let root = schema.open_api_v3_schema.unwrap().properties.unwrap();
    let mut annotations = Map::new();
    for name in [
        names::ANNOTATION_PAUSED,
        names::ANNOTATION_DETACHED,
        names::ANNOTATION_BLOCK_MOVE,
        names::ANNOTATION_UNHEALTHY,
        names::ANNOTATION_UNHEALTHY_LEGACY,
        names::ANNOTATION_REBOOT,
        "reboot.metal3.io/key",
        names::ANNOTATION_STATUS,
        names::ANNOTATION_INSPECT,
        names::ANNOTATION_HARDWARE_DETAILS,
        names::ANNOTATION_RESERVED_UNTIL,
        "kubectl.kubernetes.io/last-applied-configuration",
        "any",
    ] {
        annotations.insert(name.into(), json!(mark(&format!("metadata.annotations[{name}]"))));
    }
    serde_json::from_value(json!({
        "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
        "metadata": {
            "name": mark("metadata.name"), "namespace": mark("metadata.namespace"), "uid": mark("metadata.uid"),
            "labels": {"any": mark("metadata.labels[any]")},
            "annotations": annotations,
            "finalizers": [mark("metadata.finalizers")],
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Secret", "name": mark("metadata.ownerReferences.name"), "uid": "u",
            }],
        },
        "spec": value(&root["spec"], "spec", keep),
        "status": value(&root["status"], "status", keep),
    }))
    .unwrap()
}

/// The places whose text is in the message.
fn told_of(host: &BareMetalHost) -> BTreeSet<String> {
    let sent = project(host).encode_to_vec();
    let text = String::from_utf8_lossy(&sent);
    let marks = text.split('<').skip(1);
    marks
        .filter_map(|rest| rest.split_once('>'))
        .map(|(path, _)| path.to_owned())
        .collect()
}

#[test]
fn of_a_host_with_everything_exactly_the_list_is_told() {
    let told = told_of(&full(&mut std::iter::repeat(true)));
    assert_eq!(told, told_list());
}

proptest! {
    #[test]
    fn of_any_host_nothing_but_the_list_is_told(keep in prop::collection::vec(any::<bool>(), 300)) {
        let told = told_of(&full(&mut keep.into_iter()));
        let leaked: Vec<_> = told.difference(&told_list()).cloned().collect();
        prop_assert!(leaked.is_empty(), "{leaked:?}");
    }
}
