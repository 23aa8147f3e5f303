//! What was let in before must not get in the way of anything that does not touch it.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{annotated, created, host, updated, with};

/// Wrong in many ways, as an older release may have let it in.
fn bad() -> Value {
    let object = with(
        host(),
        &json!({
            "metadata": {"name": "0b7fe8b46f2b4b2c9f5c0c6a1a3b2d4e"},
            "spec": {
                "firmware": {"sriovEnabled": true},
                "bmc": {"address": "ilo4://a"},
                "image": {"url": "file:///a"},
                "rootDeviceHints": {"deviceName": "sda"},
                "disablePowerOff": true,
                "online": false,
                "userData": {"name": "a", "namespace": "other"},
            },
        }),
    );
    with(object, &annotated("reboot.metal3.io", "hard"))
}

#[test]
fn finalizers_labels_and_annotations_of_a_bad_host_can_change() {
    assert!(created(&bad()).len() > 6);
    for patch in [
        json!({"metadata": {"finalizers": ["baremetalhost.metal3.io"]}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"reboot.metal3.io": null}}}),
        annotated("baremetalhost.metal3.io/paused", ""),
        json!({"spec": {"consumerRef": {"name": "x"}}}),
        json!({"spec": {"architecture": "x86_64"}}),
    ] {
        assert_eq!(
            updated(&with(bad(), &patch), &bad()),
            Vec::<String>::new(),
            "{patch}"
        );
    }
}

#[test]
fn what_an_update_breaks_or_changes_for_another_wrong_value_is_refused() {
    for (patch, part) in [
        (json!({"spec": {"image": {"url": "file:///b"}}}), "file:///b"),
        (
            json!({"spec": {"rootDeviceHints": {"deviceName": "sdb"}}}),
            "\"sdb\"",
        ),
        (
            json!({"spec": {"metaData": {"name": "a", "namespace": "other"}}}),
            "spec.metaData",
        ),
        (annotated("reboot.metal3.io", "soft"), "failed to unmarshal"),
        (
            annotated("reboot.metal3.io/client", "hard"),
            "reboot.metal3.io/client",
        ),
    ] {
        let errors = updated(&with(bad(), &patch), &bad());
        assert!(
            !errors.is_empty()
                && errors
                    .iter()
                    .all(|error| error.contains(part) || error.contains("checksum")),
            "{patch}: {errors:?}"
        );
    }
}

#[test]
fn a_bad_host_can_be_corrected_in_parts() {
    let patch = json!({"spec": {"firmware": null, "online": true}});
    assert_eq!(updated(&with(bad(), &patch), &bad()), Vec::<String>::new());
}

#[test]
fn what_is_being_deleted_passes_whatever_changes() {
    let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"bootMACAddress": null, "bmc": {"address": "x://y"}}});
    let old = with(
        host(),
        &json!({"status": {"provisioning": {"state": "provisioned"}}}),
    );
    assert!(!updated(&with(old.clone(), &json!({"spec": deleting["spec"]})), &old).is_empty());
    assert_eq!(updated(&with(old.clone(), &deleting), &old), Vec::<String>::new());
}

#[test]
fn a_spec_that_cannot_be_read_stands_in_the_way_of_itself_only() {
    let odd = with(host(), &json!({"spec": {"online": "yes"}}));
    assert!(
        created(&odd)[0].contains("spec: cannot be read"),
        "{:?}",
        created(&odd)
    );
    let labelled = with(odd.clone(), &json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(updated(&labelled, &odd), Vec::<String>::new());
    assert_eq!(updated(&host(), &odd), Vec::<String>::new());
    assert!(!updated(&with(odd.clone(), &json!({"spec": {"online": "no"}})), &odd).is_empty());
}

fn word() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(7)),
        Just(json!("")),
        Just(json!({})),
        Just(json!([])),
        Just(json!("disabled")),
        Just(json!("fast")),
        Just(json!("ipmi://a")),
        Just(json!("a_b://")),
        Just(json!("http://a/b")),
        Just(json!("/dev/sda")),
        Just(json!("{")),
        Just(json!("{\"mode\":1}")),
        Just(json!("UEFISecureBoot")),
        Just(json!([{"level": "1", "rootVolume": true}])),
        Just(json!([{"name": "a"}, {"name": "A"}])),
    ]
}

/// A host with odd things in the places that rules look at.
fn odd() -> impl Strategy<Value = Value> {
    let places = [
        "/metadata/name",
        "/metadata/annotations/reboot.metal3.io",
        "/metadata/annotations/inspect.metal3.io",
        "/metadata/annotations/baremetalhost.metal3.io~1status",
        "/metadata/annotations/baremetalhost.metal3.io~1detached",
        "/metadata/annotations/inspect.metal3.io~1hardwaredetails",
        "/spec/online",
        "/spec/bmc",
        "/spec/bmc/address",
        "/spec/bootMACAddress",
        "/spec/bootMode",
        "/spec/inspectionMode",
        "/spec/image",
        "/spec/image/url",
        "/spec/image/checksum",
        "/spec/raid",
        "/spec/raid/softwareRAIDVolumes",
        "/spec/rootDeviceHints/deviceName",
        "/spec/networkInterfaces",
        "/spec/firmware",
        "/spec/disablePowerOff",
        "/spec/userData/namespace",
        "/status/provisioning/state",
    ];
    prop::collection::vec((prop::sample::select(places.to_vec()), word()), 0..8).prop_map(|changes| {
        let mut object = host();
        for (place, value) in changes {
            let mut patch = value;
            for part in place.rsplit('/').filter(|part| !part.is_empty()) {
                patch = json!({part.replace("~1", "/"): patch});
            }
            object = with(object, &patch);
        }
        object
    })
}

proptest! {
    #[test]
    fn no_update_that_changes_nothing_is_refused(object in odd()) {
        let labelled = with(object.clone(), &json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["x"]}}));
        prop_assert_eq!(updated(&labelled, &object), Vec::<String>::new());
    }

    #[test]
    fn removing_any_annotation_passes(object in odd()) {
        for name in object["metadata"]["annotations"].as_object().into_iter().flatten().map(|(name, _)| name) {
            // Hardware details cannot do without the annotation that disables inspection.
            if name == "inspect.metal3.io" && !object["metadata"]["annotations"]["inspect.metal3.io/hardwaredetails"].is_null() {
                continue;
            }
            let bare = with(object.clone(), &json!({"metadata": {"annotations": {name: null}}}));
            prop_assert_eq!(updated(&bare, &object), Vec::<String>::new(), "{}", name);
        }
    }

    #[test]
    fn every_error_names_a_field(object in odd()) {
        for error in created(&object) {
            let field = ["spec", "metadata.", "baremetalhosts.metal3.io"].iter().any(|begin| error.starts_with(begin));
            prop_assert!(field && error.contains(": "), "{}", error);
        }
    }
}
