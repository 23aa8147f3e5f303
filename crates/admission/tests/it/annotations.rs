//! Rules 18 to 22 of hosts: what annotations say.

use metal3_api::metal3::host::{ErrorType, OperationalStatus};
use serde_json::{Value, json};

use crate::{annotated, created, expect, host, spec, with};

#[test]
fn rule_18_a_saved_status_is_taken_back_whatever_the_operator_wrote() {
    const NAME: &str = "baremetalhost.metal3.io/status";
    let words = [
        OperationalStatus::None,
        OperationalStatus::Ok,
        OperationalStatus::Discovered,
        OperationalStatus::Error,
        OperationalStatus::Delayed,
        OperationalStatus::Detached,
        OperationalStatus::Servicing,
    ];
    let mut saved: Vec<Value> = words
        .map(|word| json!({"operationalStatus": word, "errorType": ""}))
        .to_vec();
    let errors = [
        ErrorType::ProvisionedRegistration,
        ErrorType::Registration,
        ErrorType::Inspection,
        ErrorType::Preparation,
        ErrorType::Provisioning,
        ErrorType::PowerManagement,
        ErrorType::Detach,
        ErrorType::Servicing,
    ];
    saved.extend(errors.map(|word| json!({"operationalStatus": "error", "errorType": word})));
    saved.push(json!({"aFieldOfTomorrow": {"x": 1}, "provisioning": {"state": "a state of tomorrow"}}));
    saved.push(json!({}));
    for saved in saved {
        expect(
            "18",
            &created(&with(host(), &annotated(NAME, &saved.to_string()))),
            &[],
        );
    }
    for (saved, parts) in [
        ("", &[][..]),
        (
            "{",
            &[
                "metadata.annotations[baremetalhost.metal3.io/status]: error decoding status annotation",
                "EOF",
            ],
        ),
        ("[]", &["error decoding status annotation"]),
        (
            r#"{"poweredOn": "yes"}"#,
            &["error decoding status annotation", "remove the annotation"],
        ),
        (
            r#"{"operationalStatus": "fine"}"#,
            &["invalid operationalStatus 'fine' in the baremetalhost.metal3.io/status annotation"],
        ),
        (
            r#"{"errorType": "odd error"}"#,
            &["invalid errorType 'odd error' in the"],
        ),
    ] {
        expect(saved, &created(&with(host(), &annotated(NAME, saved))), parts);
    }
}

#[test]
fn rules_19_and_20_requests_are_understood() {
    for (name, value, parts) in [
        ("reboot.metal3.io", "", &[][..]),
        ("reboot.metal3.io", r#"{"mode": "hard", "force": true}"#, &[]),
        ("reboot.metal3.io/client", r#"{"mode": ""}"#, &[]),
        ("reboot.metal3.io", "{}", &[]),
        ("reboot.metal3.io", "null", &[]),
        ("reboot.metal3.iosk", "rubbish", &[]),
        (
            "reboot.metal3.io",
            "hard",
            &[
                "metadata.annotations[reboot.metal3.io]: failed to unmarshal the data",
                "use the empty text",
            ],
        ),
        (
            "reboot.metal3.io/client",
            "\"hard\"",
            &[
                "metadata.annotations[reboot.metal3.io/client]",
                "not a JSON object",
            ],
        ),
        (
            "reboot.metal3.io",
            r#"{"mode": "medium"}"#,
            &["invalid mode in the reboot.metal3.io annotation, allowed are \"hard\", \"soft\" or \"\""],
        ),
        ("reboot.metal3.io", r#"{"mode": 1}"#, &["invalid mode"]),
        (
            "reboot.metal3.io",
            r#"{"force": "yes"}"#,
            &["force is neither true nor false"],
        ),
        ("inspect.metal3.io", "", &[]),
        ("inspect.metal3.io", "disabled", &[]),
        (
            "inspect.metal3.io",
            "true",
            &["invalid value for the inspect.metal3.io annotation"],
        ),
    ] {
        expect(value, &created(&with(host(), &annotated(name, value))), parts);
    }
}

#[test]
fn rule_21_hardware_details_replace_an_inspection_that_is_disabled() {
    const NAME: &str = "inspect.metal3.io/hardwaredetails";
    let disabled = json!({"spec": {"inspectionMode": "disabled"}});
    for (object, details, parts) in [
        (host(), "", &[][..]),
        (
            host(),
            "{}",
            &["when hardware details are provided, inspection must be disabled"],
        ),
        (
            with(host(), &disabled),
            r#"{"ramMebibytes": 4, "cpu": {"arch": "x86_64"}, "nics": [{"name": "eth0"}]}"#,
            &[],
        ),
        (
            with(host(), &annotated("inspect.metal3.io", "disabled")),
            "{}",
            &[],
        ),
        (
            with(host(), &disabled),
            "{",
            &["error decoding the inspect.metal3.io/hardwaredetails annotation"],
        ),
        (with(host(), &disabled), "{} {}", &["error decoding"]),
        (
            with(host(), &disabled),
            r#"{"cpu": {"arhc": "x86_64"}}"#,
            &["unknown field \"cpu.?.arhc\""],
        ),
        (
            with(host(), &disabled),
            r#"{"ramMebibytes": "4"}"#,
            &["error decoding"],
        ),
    ] {
        expect(details, &created(&with(object, &annotated(NAME, details))), parts);
    }
}

#[test]
fn rule_22_annotation_and_mode_agree_and_a_disabled_inspection_is_not_asked_for() {
    for (value, mode, fine) in [
        ("disabled", "disabled", true),
        ("", "agent", true),
        ("", "fast", true),
        ("disabled", "agent", false),
        ("disabled", "fast", false),
        ("", "disabled", false),
    ] {
        let object = with(
            spec(&json!({"inspectionMode": mode})),
            &annotated("inspect.metal3.io", value),
        );
        let parts = [
            "spec.inspectionMode: annotation inspect.metal3.io",
            "have contradicting values",
            "remove the annotation",
        ];
        expect(
            &format!("{value:?} {mode}"),
            &created(&object),
            if fine { &[] } else { &parts },
        );
    }
}

#[test]
fn a_detachment_with_a_typo_in_its_arguments_is_refused() {
    for (value, parts) in [
        ("", &[][..]),
        ("true", &[]),
        ("any text", &[]),
        (r#"{"deleteAction": "delay"}"#, &[]),
        (r#"{"deleteAction": "delete", "force": true}"#, &[]),
        ("{}", &[]),
        (
            r#"{"deleteAction": "delay""#,
            &[
                "metadata.annotations[baremetalhost.metal3.io/detached]: it looks like JSON, which cannot be read",
            ],
        ),
        (
            r#" {"deleteAction": "keep"}"#,
            &["deleteAction has to be \"delay\" or \"delete\", not \"keep\""],
        ),
        (r#"{"deletAction": "delay"}"#, &["\"deletAction\" is not known"]),
        (r#"{"force": "true"}"#, &["force has to be true or false"]),
    ] {
        let object = with(host(), &annotated("baremetalhost.metal3.io/detached", value));
        expect(value, &created(&object), parts);
    }
}
