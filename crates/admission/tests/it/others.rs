//! The other kinds.

use metal3_admission::{
    Attachment, DataImage, EventSubscription, Findings, FirmwareComponents, HostClaim, Subject, review, users,
};
use serde_json::{Value, json};

use crate::with;

fn object(spec: &Value) -> Value {
    json!({"metadata": {"name": "a", "namespace": "metal3"}, "spec": spec})
}

fn created<S: Subject>(spec: &Value) -> Vec<String> {
    review::<S>(&object(spec), None).errors
}

/// One error alone with this part, or none.
fn expect(what: &Value, errors: &[String], part: &str) {
    assert_eq!(errors.len(), usize::from(!part.is_empty()), "{what}: {errors:?}");
    assert!(
        errors.iter().all(|error| error.contains(part)),
        "{what}: {errors:?}"
    );
}

#[test]
fn a_data_image_has_a_url_that_can_be_fetched() {
    for (url, part) in [
        ("http://a/b.iso", ""),
        (
            "smb://a/b.iso",
            "spec.url: image URL smb://a/b.iso is invalid: invalid scheme in URL, \"smb\" not allowed",
        ),
        ("b.iso", "it has to begin with a scheme"),
    ] {
        let spec = json!({"url": url});
        expect(&spec, &created::<DataImage>(&spec), part);
        // A stored one can still be finalized.
        let stored = object(&spec);
        let finalized = with(
            stored.clone(),
            &json!({"metadata": {"finalizers": ["dataimage.metal3.io"]}}),
        );
        assert_eq!(
            review::<DataImage>(&finalized, Some(&stored)),
            Findings::default()
        );
    }
}

#[test]
fn every_firmware_update_has_a_url_that_can_be_fetched() {
    let spec = json!({"updates": [{"component": "bmc", "url": "https://a/b"}, {"component": "bios", "url": "c:\\d"}]});
    expect(
        &spec,
        &created::<FirmwareComponents>(&spec),
        "spec.updates[1].url: image URL c:\\d is invalid",
    );
    let worse = json!({"updates": [{"component": "bmc", "url": "ftps://a/b"}, {"component": "bios", "url": "c:\\d"}]});
    let errors = review::<FirmwareComponents>(&object(&worse), Some(&object(&spec))).errors;
    expect(&worse, &errors, "spec.updates[0].url");
}

#[test]
fn a_subscription_is_complete_and_of_one_namespace() {
    let good = json!({"hostName": "h", "destination": "https://a/events", "httpHeadersRef": {"name": "s", "namespace": "metal3"}});
    for (patch, part) in [
        (json!({}), ""),
        (json!({"destination": "https://a/"}), ""),
        (json!({"httpHeadersRef": {"namespace": null}}), ""),
        (json!({"hostName": ""}), "spec.hostName: hostName cannot be empty"),
        (
            json!({"destination": null}),
            "spec.destination: destination cannot be empty",
        ),
        (
            json!({"destination": "https://a"}),
            "hostname-only destination must have a trailing slash",
        ),
        (json!({"destination": "a/b"}), "destination is invalid"),
        (
            json!({"httpHeadersRef": {"namespace": "other"}}),
            "spec.httpHeadersRef.namespace",
        ),
    ] {
        let spec = with(good.clone(), &patch);
        expect(&patch, &created::<EventSubscription>(&spec), part);
    }
}

#[test]
fn a_subscription_with_headers_can_be_finalized_and_not_changed() {
    let spec = json!({"hostName": "h", "destination": "https://a/", "httpHeadersRef": {"name": "s"}});
    let stored = object(&spec);
    let finalized = with(
        stored.clone(),
        &json!({"metadata": {"finalizers": ["bmceventsubscription.metal3.io"]}}),
    );
    assert_eq!(
        review::<EventSubscription>(&finalized, Some(&stored)),
        Findings::default()
    );
    let changed = with(stored.clone(), &json!({"spec": {"context": "x"}}));
    let errors = review::<EventSubscription>(&changed, Some(&stored)).errors;
    expect(
        &changed,
        &errors,
        "subscriptions cannot be updated, please recreate it",
    );
}

#[test]
fn a_claim_selects_by_labels_that_can_exist() {
    let expression = |key: &str, operator: &str, values: Value| json!({"poweredOn": true, "hostSelector": {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}});
    let labels =
        |name: &str, value: &str| json!({"poweredOn": true, "hostSelector": {"matchLabels": {name: value}}});
    for (spec, part) in [
        (expression("a", "in", json!(["b", "c"])), ""),
        (expression("a", "=", json!(["b"])), ""),
        (expression("a", "exists", json!([])), ""),
        (expression("a", "!", json!([])), ""),
        (
            expression("a", "in", json!([])),
            "spec.hostSelector.matchExpressions[0]: operator in needs at least one value",
        ),
        (
            expression("a", "!=", json!(["b", "c"])),
            "needs exactly one value",
        ),
        (expression("a", "exists", json!(["b"])), "needs no values"),
        (expression("a", "gt", json!(["1"])), "invalid operation \"gt\""),
        (expression("a", "In", json!(["1"])), "invalid operation \"In\""),
        (expression("-a", "exists", json!([])), "key \"-a\""),
        (expression("a", "in", json!(["b!"])), "value \"b!\""),
        (labels("example.com/a_B", "x.y"), ""),
        (labels("a", ""), ""),
        (
            labels("Example.com/a", "x"),
            "spec.hostSelector.matchLabels[Example.com/a]: what is before the slash",
        ),
        (labels("a/b/c", "x"), "matchLabels[a/b/c]"),
        (labels("a", "x y"), "a value has at most 63"),
        (labels(&"a".repeat(64), "x"), "a name has 1 to 63"),
        (
            json!({"poweredOn": true, "image": {"url": "http://a/b"}}),
            "checksum is required for normal images",
        ),
    ] {
        expect(&spec, &created::<HostClaim>(&spec), part);
    }
    let claim = with(
        object(&json!({"poweredOn": true})),
        &crate::annotated("reboot.metal3.io", "now"),
    );
    expect(
        &claim,
        &review::<HostClaim>(&claim, None).errors,
        "metadata.annotations[reboot.metal3.io]: failed to unmarshal",
    );
}

#[test]
fn an_attachment_has_vlans_that_exist() {
    let spec = |mode: &str, vlans: Value| json!({"mode": mode, "nativeVLAN": 1, "allowedVLANs": vlans});
    for (spec, part) in [
        (spec("access", json!([])), ""),
        (spec("trunk", json!(["1", "4094", "10-20"])), ""),
        (
            spec("access", json!(["2"])),
            "access mode must not have allowedVLANs",
        ),
        (
            spec("trunk", json!(["2", "10-5"])),
            "spec.allowedVLANs[1]: the range \"10-5\" has to go from a lower to a higher",
        ),
        (spec("trunk", json!(["7-7"])), "from a lower to a higher"),
        (spec("trunk", json!(["0"])), "out of range"),
        (spec("hybrid", json!(["5000"])), "out of range"),
        (spec("hybrid", json!(["1-99999999999999"])), "out of range"),
        (spec("trunk", json!(["a"])), "out of range"),
    ] {
        expect(&spec, &created::<Attachment>(&spec), part);
    }
}

#[test]
fn the_users_of_an_attachment_are_found_wherever_they_are() {
    let interface = |namespace: Value| json!({"name": "eth0", "hostNetworkAttachment": {"name": "net", "namespace": namespace}});
    let host = |namespace: &str, interfaces: Value| json!({"metadata": {"name": "h", "namespace": namespace}, "spec": {"networkInterfaces": interfaces}});
    for (host, found) in [
        (host("metal3", json!([interface(Value::Null)])), true),
        (host("metal3", json!([interface(json!(""))])), true),
        (host("other", json!([interface(json!("metal3"))])), true),
        (host("other", json!([interface(Value::Null)])), false),
        (host("metal3", json!([interface(json!("other"))])), false),
        (host("metal3", json!([{"name": "eth0"}])), false),
        (host("metal3", Value::Null), false),
    ] {
        let users = users(&host, "metal3", "net");
        assert_eq!(users.len(), usize::from(found), "{host}");
        if let Some(user) = users.first() {
            assert_eq!(
                *user,
                format!("{}/h[eth0]", host["metadata"]["namespace"].as_str().unwrap())
            );
        }
    }
    assert_eq!(Attachment::in_use("deleted", &[]), Findings::default());
    let findings = Attachment::in_use("deleted", &["a/h[eth0]".to_owned()]);
    assert!(
        findings.errors[0].contains("a/h[eth0]") && findings.errors[0].contains("networkInterfaces"),
        "{findings:?}"
    );
    assert_eq!(findings.warnings.len(), 1);
    assert!(
        Attachment::in_use("changed", &["x".to_owned()])
            .warnings
            .is_empty()
    );
}
