//! Conversion maps each field to its counterpart, and keeps what the other version cannot show.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path};

use metal3_api::{
    infra::{
        self,
        conversion::{ConversionError, convert},
        v1beta1, v1beta2,
    },
    names::{ANNOTATION_CONVERSION_DATA, ANNOTATION_V1BETA1_DATA},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const OLD: &str = "infrastructure.cluster.x-k8s.io/v1beta1";
const NEW: &str = "infrastructure.cluster.x-k8s.io/v1beta2";

/// The same object in both versions, for every kind.
fn samples() -> Vec<(Value, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let pairs = files.iter().map(|file| {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap();
        let [old, new] = <[Value; 2]>::try_from(documents).unwrap();
        assert_eq!(
            (&old["apiVersion"], &new["apiVersion"]),
            (&json!(OLD), &json!(NEW)),
            "{file:?}"
        );
        (old, new)
    });
    pairs.collect()
}

fn object(api_version: &str, kind: &str, spec: Value) -> Value {
    let mut object =
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "ns"}});
    object["spec"] = spec;
    object
}

fn old(kind: &str, spec: Value) -> Value {
    object(OLD, kind, spec)
}

fn new(kind: &str, spec: Value) -> Value {
    object(NEW, kind, spec)
}

fn up(object: &Value) -> Value {
    convert(object.clone(), NEW).unwrap()
}

fn down(object: &Value) -> Value {
    convert(object.clone(), OLD).unwrap()
}

#[test]
fn every_kind_has_a_sample() {
    let kinds: BTreeSet<String> = infra::crds().into_iter().map(|crd| crd.spec.names.kind).collect();
    let sampled = samples()
        .into_iter()
        .map(|(old, _)| old["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, sampled);
}

#[test]
fn every_field_has_its_counterpart() {
    for (old, new) in samples() {
        assert_eq!(up(&old), new);
        assert_eq!(down(&new), old);
    }
}

/// All paths of `schema`, except below values of any shape.
fn schema_paths(schema: &Value, path: &str, out: &mut BTreeSet<String>) {
    out.insert(path.to_owned());
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        schema_paths(field, &format!("{path}.{name}"), out);
    }
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner.is_object() {
            schema_paths(inner, &format!("{path}[]"), out);
        }
    }
}

fn value_paths(schema: &Value, value: &Value, path: &str, out: &mut BTreeSet<String>) {
    out.insert(path.to_owned());
    for (name, field) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => value_paths(schema, field, &format!("{path}.{name}"), out),
            None => value_paths(&schema["additionalProperties"], field, &format!("{path}[]"), out),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        value_paths(&schema["items"], item, &format!("{path}[]"), out);
    }
}

/// Fields that exist in one version only; the tests below and the properties cover them.
fn in_one_version_only(kind: &str, path: &str) -> bool {
    const PARTS: [&str; 5] = [".apiVersion", ".fieldPath", ".kind", ".resourceVersion", ".uid"];
    const REFERENCES: [&str; 4] = [".dataTemplate", ".renderedData", ".claim", "spec.template"];
    let part_of_reference = PARTS.iter().any(|part| {
        path.strip_suffix(part)
            .is_some_and(|parent| REFERENCES.iter().any(|name| parent.ends_with(name)))
    });
    part_of_reference
        || path.ends_with(".templateReference")
        || (kind == "Metal3Machine" && path == "status.phase")
        || path.starts_with("spec.template.metadata")
}

#[test]
fn the_samples_set_every_field() {
    let crds: Vec<Value> = infra::crds()
        .iter()
        .map(|crd| serde_json::to_value(crd).unwrap())
        .collect();
    for sample in samples().into_iter().flat_map(|(old, new)| [old, new]) {
        let crd = crds
            .iter()
            .find(|crd| crd["spec"]["names"]["kind"] == sample["kind"])
            .unwrap();
        let version = sample["apiVersion"].as_str().unwrap().rsplit('/').next().unwrap();
        let versions = crd["spec"]["versions"].as_array().unwrap();
        let served = versions.iter().find(|served| served["name"] == version).unwrap();
        let schema = &served["schema"]["openAPIV3Schema"]["properties"];
        let (mut wanted, mut found) = (BTreeSet::new(), BTreeSet::new());
        for part in ["spec", "status"]
            .into_iter()
            .filter(|part| schema.get(*part).is_some())
        {
            schema_paths(&schema[part], part, &mut wanted);
            value_paths(&schema[part], &sample[part], part, &mut found);
        }
        let kind = sample["kind"].as_str().unwrap();
        wanted.retain(|path| found.contains(path) || !in_one_version_only(kind, path));
        let missing: Vec<_> = wanted.difference(&found).collect();
        assert!(
            missing.is_empty(),
            "{} {version} lacks {missing:?}",
            sample["kind"]
        );
    }
}

fn round_trips<T: DeserializeOwned + Serialize>(sample: &Value) {
    let read: T = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(&serde_json::to_value(read).unwrap(), sample);
}

#[test]
fn the_types_write_what_they_read() {
    for (old, new) in samples() {
        match old["kind"].as_str().unwrap() {
            "Metal3Cluster" => {
                round_trips::<v1beta1::Metal3Cluster>(&old);
                round_trips::<v1beta2::Metal3Cluster>(&new);
            }
            "Metal3ClusterTemplate" => {
                round_trips::<v1beta1::Metal3ClusterTemplate>(&old);
                round_trips::<v1beta2::Metal3ClusterTemplate>(&new);
            }
            "Metal3Machine" => {
                round_trips::<v1beta1::Metal3Machine>(&old);
                round_trips::<v1beta2::Metal3Machine>(&new);
            }
            "Metal3MachineTemplate" => {
                round_trips::<v1beta1::Metal3MachineTemplate>(&old);
                round_trips::<v1beta2::Metal3MachineTemplate>(&new);
            }
            "Metal3DataTemplate" => {
                round_trips::<v1beta1::Metal3DataTemplate>(&old);
                round_trips::<v1beta2::Metal3DataTemplate>(&new);
            }
            "Metal3DataClaim" => {
                round_trips::<v1beta1::Metal3DataClaim>(&old);
                round_trips::<v1beta2::Metal3DataClaim>(&new);
            }
            "Metal3Data" => {
                round_trips::<v1beta1::Metal3Data>(&old);
                round_trips::<v1beta2::Metal3Data>(&new);
            }
            "Metal3Remediation" => {
                round_trips::<v1beta1::Metal3Remediation>(&old);
                round_trips::<v1beta2::Metal3Remediation>(&new);
            }
            "Metal3RemediationTemplate" => {
                round_trips::<v1beta1::Metal3RemediationTemplate>(&old);
                round_trips::<v1beta2::Metal3RemediationTemplate>(&new);
            }
            kind => panic!("no types for {kind}"),
        }
    }
}

#[test]
fn the_old_cloud_provider_flag_is_inverted_when_it_stands_alone() {
    for kind in ["Metal3Cluster", "Metal3ClusterTemplate"] {
        let wrap = |spec: Value| match kind {
            "Metal3Cluster" => spec,
            _ => json!({"template": {"spec": spec}}),
        };
        for no in [true, false] {
            let stored = up(&old(kind, wrap(json!({"noCloudProvider": no}))));
            assert_eq!(stored["spec"], wrap(json!({"cloudProviderEnabled": !no})));
            assert_eq!(down(&stored)["spec"], wrap(json!({"noCloudProvider": no})));
        }
        let both = up(&old(
            kind,
            wrap(json!({"cloudProviderEnabled": true, "noCloudProvider": true})),
        ));
        assert_eq!(both["spec"], wrap(json!({"cloudProviderEnabled": true})));
    }
}

#[test]
fn switching_the_cloud_provider_in_one_version_shows_in_the_other() {
    let mut stored = up(&old("Metal3Cluster", json!({"noCloudProvider": false})));
    stored["spec"]["cloudProviderEnabled"] = json!(false);
    let seen = down(&stored);
    assert_eq!(
        seen["spec"],
        json!({"cloudProviderEnabled": false, "noCloudProvider": true})
    );
    assert_eq!(up(&seen), stored);
}

#[test]
fn a_dump_full_of_empty_strings_becomes_valid_in_the_new_version() {
    let dump = old(
        "Metal3Machine",
        json!({
            "image": {"url": "", "checksum": "", "checksumType": "", "format": ""},
            "customDeploy": {"method": "install_coreos"},
            "providerID": "",
        }),
    );
    let stored = up(&dump);
    assert_eq!(
        stored["spec"],
        json!({"customDeploy": {"method": "install_coreos"}})
    );

    let dump = old(
        "Metal3DataTemplate",
        json!({"clusterName": "c", "networkData": {
            "links": {"ethernets": [{"type": "phy", "id": "e", "macAddress": {"string": "", "fromHostInterface": "eno1"}}]},
            "networks": {"ipv4": [{"id": "n", "link": "e", "ipAddressFromIPPool": "p", "fromPoolRef": {"kind": "", "name": ""}}]},
        }}),
    );
    let stored = up(&dump);
    let network = &stored["spec"]["networkData"];
    assert_eq!(
        network["links"]["ethernets"][0]["macAddress"],
        json!({"fromHostInterface": "eno1"})
    );
    let ipv4 = json!([{"id": "n", "link": "e", "ipAddressFromIPPool": "p"}]);
    assert_eq!(network["networks"]["ipv4"], ipv4);
    assert_eq!(down(&stored), dump);
}

#[test]
fn an_image_without_url_that_an_older_release_stored_can_be_read() {
    let stored = new(
        "Metal3Machine",
        json!({"image": {"checksum": ""}, "customDeploy": {"method": "m"}}),
    );
    assert_eq!(down(&stored)["spec"]["image"], json!({"checksum": ""}));
    assert_eq!(up(&down(&stored)), stored);
    assert!(serde_json::from_value::<v1beta2::Metal3Machine>(stored).is_ok());
}

#[test]
fn an_edit_through_the_old_version_keeps_what_only_the_new_one_shows() {
    let stored = new(
        "Metal3MachineTemplate",
        json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"failureDomain": "f"}}}),
    );
    let mut seen = down(&stored);
    assert_eq!(
        seen["spec"],
        json!({"template": {"spec": {"failureDomain": "f"}}})
    );
    seen["spec"]["template"]["spec"]["failureDomain"] = json!("g");
    let edited = up(&seen);
    let spec = json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"failureDomain": "g"}}});
    assert_eq!(edited, new("Metal3MachineTemplate", spec));
}

#[test]
fn data_that_the_upstream_release_left_on_an_object_is_used() {
    let mut seen = old(
        "Metal3MachineTemplate",
        json!({"template": {"spec": {"failureDomain": "f"}}}),
    );
    let hub = json!({
        "kind": "Metal3MachineTemplate",
        "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"failureDomain": "f"}}},
    });
    seen["metadata"]["annotations"] = json!({ ANNOTATION_CONVERSION_DATA: hub.to_string() });
    assert_eq!(up(&seen), new("Metal3MachineTemplate", hub["spec"].clone()));
}

#[test]
fn a_reference_keeps_its_uid_until_it_names_another_object() {
    let written = old("Metal3DataClaim", json!({"template": {"name": "a", "uid": "u"}}));
    let mut stored = up(&written);
    assert_eq!(stored["spec"], json!({"template": {"name": "a"}}));
    assert_eq!(down(&stored), written);
    stored["spec"]["template"]["name"] = json!("b");
    assert_eq!(down(&stored)["spec"], json!({"template": {"name": "b"}}));
}

#[test]
fn a_timeout_with_a_fraction_is_cut_and_read_back_as_written() {
    let written = old("Metal3Remediation", json!({"strategy": {"timeout": "1m45.9s"}}));
    let mut stored = up(&written);
    assert_eq!(stored["spec"], json!({"strategy": {"timeoutSeconds": 105}}));
    assert_eq!(down(&stored), written);
    stored["spec"]["strategy"]["timeoutSeconds"] = json!(200);
    assert_eq!(down(&stored)["spec"], json!({"strategy": {"timeout": "3m20s"}}));
}

#[test]
fn an_annotation_that_cannot_be_read_restores_nothing() {
    for junk in ["", "{", "[]", "null", "{\"spec\": 7}"] {
        let mut seen = old("Metal3Machine", json!({"failureDomain": "f"}));
        seen["metadata"]["annotations"] = json!({ ANNOTATION_CONVERSION_DATA: junk });
        assert_eq!(
            up(&seen),
            new("Metal3Machine", json!({"failureDomain": "f"})),
            "{junk}"
        );
        let mut stored = new("Metal3Machine", json!({"failureDomain": "f"}));
        stored["metadata"]["annotations"] = json!({ ANNOTATION_V1BETA1_DATA: junk });
        assert_eq!(down(&stored)["spec"], json!({"failureDomain": "f"}), "{junk}");
    }
}

#[test]
fn an_object_without_spec_stays_without() {
    let mut stored = new("Metal3Machine", json!({}));
    stored.as_object_mut().unwrap().remove("spec");
    let seen = down(&stored);
    assert_eq!(seen.get("spec"), None);
    assert_eq!(up(&seen), stored);
}

#[test]
fn an_object_of_the_desired_version_is_left_alone() {
    let odd = json!({"apiVersion": NEW, "kind": "Metal3Machine", "spec": "odd"});
    assert_eq!(convert(odd.clone(), NEW).unwrap(), odd);
}

#[test]
fn errors_name_the_object_and_what_is_wrong() {
    let message = |object: Value, to: &str| convert(object, to).unwrap_err();
    let error = message(old("Metal3Machine", json!({"image": 7})), NEW);
    assert!(matches!(error, ConversionError::Malformed { part: "spec", .. }));
    let text = "cannot convert Metal3Machine ns/x: its spec does not fit infrastructure.cluster.x-k8s.io/v1beta1; \
                correct the object in that version";
    assert_eq!(error.to_string(), text);

    let error = message(old("Metal3Toaster", json!({})), NEW);
    assert!(
        error
            .to_string()
            .starts_with("cannot convert Metal3Toaster ns/x: "),
        "{error}"
    );
    assert!(matches!(error, ConversionError::UnknownKind { .. }));

    let error = message(
        old("Metal3Machine", json!({})),
        "infrastructure.cluster.x-k8s.io/v1alpha5",
    );
    assert!(matches!(error, ConversionError::UnknownVersion { .. }));

    assert!(matches!(
        message(json!(7), NEW),
        ConversionError::NotAnObject { field: "apiVersion" }
    ));
    assert!(matches!(
        message(json!({"apiVersion": OLD}), NEW),
        ConversionError::NotAnObject { field: "kind" }
    ));
}

/// Otherwise whoever changes a label by the old version would be told that a field is missing.
#[test]
fn what_the_old_version_requires_is_there_although_the_new_one_has_it_not() {
    for (kind, spec, required) in [
        ("Metal3DataTemplate", json!({}), json!({"clusterName": ""})),
        ("Metal3DataClaim", json!({}), json!({"template": {}})),
        (
            "Metal3Data",
            json!({"index": 1}),
            json!({"index": 1, "claim": {}, "template": {}}),
        ),
        (
            "Metal3DataTemplate",
            json!({"clusterName": "c", "networkData": {"networks": {"ipv6": [{"id": "n", "link": "l"}]}}}),
            json!({"clusterName": "c", "networkData": {"networks": {"ipv6": [
                {"id": "n", "link": "l", "ipAddressFromIPPool": ""},
            ]}}}),
        ),
    ] {
        let stored = new(kind, spec);
        let shown = down(&stored);
        assert_eq!(shown, old(kind, required));
        assert_eq!(up(&shown), stored, "and says nothing new");
    }
}
