//! Rules U1 to U3 of hosts: what may change, and when.

use metal3_admission::{Host, review};
use serde_json::{Value, json};

use crate::{created, expect, host, updated, with};

fn status(operational: &str, state: &str) -> Value {
    json!({"status": {"operationalStatus": operational, "provisioning": {"state": state}}})
}

#[test]
fn rule_u1_the_address_changes_only_while_nobody_uses_it() {
    let moved = json!({"spec": {"bmc": {"address": "redfish://other"}}});
    for (operational, state, fine) in [
        ("OK", "available", false),
        ("OK", "provisioned", false),
        ("error", "registering", true),
        ("detached", "provisioned", true),
    ] {
        let old = with(host(), &status(operational, state));
        let parts = [
            "spec.bmc.address: BMC address can not be changed if the BMH is not in the Registering state, or if the BMH is not detached",
        ];
        expect(
            state,
            &updated(&with(old.clone(), &moved), &old),
            if fine { &[] } else { &parts },
        );
    }
    let old = with(
        with(host(), &status("discovered", "unmanaged")),
        &json!({"spec": {"bmc": {"address": ""}}}),
    );
    expect("given", &updated(&with(old.clone(), &moved), &old), &[]);
    let old = with(host(), &status("OK", "provisioned"));
    expect(
        "credentials",
        &updated(
            &with(old.clone(), &json!({"spec": {"bmc": {"credentialsName": "x"}}})),
            &old,
        ),
        &[],
    );
}

#[test]
fn rule_u2_the_boot_mac_stays() {
    let old = with(host(), &status("OK", "available"));
    let parts = [
        "spec.bootMACAddress: bootMACAddress can not be changed once it is set",
        "keep 00:5c:52:31:3a:9c",
    ];
    for (mac, fine) in [
        (json!("00:5C:52:31:3A:9C"), true),
        (json!("00:5c:52:31:3a:9d"), false),
        (json!(""), false),
        (Value::Null, false),
    ] {
        let new = with(old.clone(), &json!({"spec": {"bootMACAddress": mac}}));
        expect(
            &mac.to_string(),
            &updated(&new, &old),
            if fine { &[] } else { &parts },
        );
    }
    let without = with(old.clone(), &json!({"spec": {"bootMACAddress": null}}));
    expect("given", &updated(&old, &without), &[]);
}

#[test]
fn rule_u3_only_an_available_host_becomes_externally_provisioned() {
    let taken = json!({"spec": {"externallyProvisioned": true}});
    for (state, fine) in [
        ("available", true),
        ("ready", true),
        ("provisioned", false),
        ("inspecting", false),
    ] {
        let old = with(host(), &status("OK", state));
        let text = format!(
            "externallyProvisioned can only be enabled when in Available state, currently in \"{state}\""
        );
        let parts = [text.as_str()];
        expect(
            state,
            &updated(&with(old.clone(), &taken), &old),
            if fine { &[] } else { &parts },
        );
        expect(
            "kept",
            &updated(&with(old.clone(), &taken), &with(old, &taken)),
            &[],
        );
    }
    expect("created", &created(&with(host(), &taken)), &[]);
}

#[test]
fn who_lets_go_of_an_external_host_is_warned_that_it_will_be_cleaned() {
    let old = with(
        with(host(), &status("OK", "externally provisioned")),
        &json!({"spec": {"externallyProvisioned": true}}),
    );
    let free = with(old.clone(), &json!({"spec": {"externallyProvisioned": false}}));
    let findings = review::<Host>(&free, Some(&old));
    assert_eq!(findings.errors, Vec::<String>::new());
    assert!(
        findings.warnings[0].contains("deprovisioned") && findings.warnings[0].contains("cleaned"),
        "{findings:?}"
    );
    let kept = with(
        free.clone(),
        &json!({"spec": {"image": {"url": "http://a/i", "checksum": "x"}}}),
    );
    for (new, old) in [(&kept, &old), (&free, &free), (&old, &free)] {
        assert_eq!(review::<Host>(new, Some(old)).warnings, Vec::<String>::new());
    }
}
