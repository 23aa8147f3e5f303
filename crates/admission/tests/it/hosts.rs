//! Rules 1 to 25 and U1 to U3 of hosts.

use metal3_admission::{Host, review};
use metal3_api::metal3::host::{ErrorType, OperationalStatus};
use serde_json::{Value, json};

use crate::{annotated, created, host, updated, with};

fn spec(patch: &Value) -> Value {
    with(host(), &json!({"spec": patch}))
}

fn bmc(address: &str) -> Value {
    json!({"bmc": {"address": address}})
}

/// One error alone, with each of these parts; none when there are no parts.
fn expect(what: &str, errors: &[String], parts: &[&str]) {
    assert_eq!(errors.len(), usize::from(!parts.is_empty()), "{what}: {errors:?}");
    for part in parts {
        assert!(
            errors[0].contains(part),
            "{what}: {part:?} is missing in {errors:?}"
        );
    }
}

#[test]
fn a_good_host_passes() {
    assert_eq!(created(&host()), Vec::<String>::new());
    assert_eq!(
        created(&json!({"metadata": {"name": "a", "namespace": "b"}})),
        Vec::<String>::new()
    );
}

#[test]
fn rule_1_the_address_has_to_be_understood() {
    for (address, parts) in [
        ("", &[][..]),
        ("192.168.1.1", &[]),
        (
            "carrier-pigeon://a",
            &[
                "spec.bmc.address: Unknown BMC type 'carrier-pigeon' for address carrier-pigeon://a",
                "known are ipmi",
            ],
        ),
        ("ilo4://a", &["Unknown BMC type 'ilo4'"]),
        ("host:623", &["Unknown BMC type 'host'"]),
        (
            "ipmi://my_host",
            &[
                "failed to parse BMC address information: BMC address hostname/IP : [my_host] is invalid",
                "write it like",
            ],
        ),
        (
            "redfish://host:abc",
            &["failed to parse BMC address information", "invalid port"],
        ),
    ] {
        expect(address, &created(&spec(&bmc(address))), parts);
    }
}

#[test]
fn rule_2_firmware_is_no_longer_supported() {
    for firmware in [json!({}), json!({"sriovEnabled": true})] {
        let object = spec(&json!({"firmware": firmware}));
        expect(
            "firmware",
            &created(&object),
            &["spec.firmware: the Firmware field is no longer supported, use HostFirmwareSettings"],
        );
    }
}

#[test]
fn rule_3_secrets_are_of_the_own_namespace() {
    for field in ["userData", "networkData", "metaData"] {
        for (namespace, foreign) in [("", false), ("metal3", false), ("other", true)] {
            let object = spec(&json!({field: {"name": "s", "namespace": namespace}}));
            let text = format!(
                "baremetalhosts.metal3.io \"host-1\" is forbidden: spec.{field}: cross-namespace Secret references are not allowed"
            );
            let parts = [text.as_str(), "set it to \"metal3\""];
            expect(field, &created(&object), if foreign { &parts } else { &[] });
        }
    }
}

#[test]
fn rules_4_to_9_raid_volumes_fit_together() {
    let hardware =
        |volume: Value| json!({"raid": {"hardwareRAIDVolumes": [with(json!({"level": "1"}), &volume)]}});
    let software = |volumes: Value| json!({"raid": {"softwareRAIDVolumes": volumes}});
    let root = json!({"level": "1", "rootVolume": true});
    let cases: Vec<(&str, Value, &[&str])> = vec![
        (
            "empty",
            json!({"raid": {"hardwareRAIDVolumes": [], "softwareRAIDVolumes": []}}),
            &[],
        ),
        (
            "4",
            json!({"raid": {"hardwareRAIDVolumes": [{"level": "1"}], "softwareRAIDVolumes": [{"level": "1"}]}}),
            &["spec.raid: hardwareRAIDVolumes and softwareRAIDVolumes can not be set at the same time"],
        ),
        (
            "5 fine",
            hardware(json!({"controller": "c", "physicalDisks": ["a", "b"], "numberOfPhysicalDisks": 2})),
            &[],
        ),
        (
            "5 number alone",
            hardware(json!({"numberOfPhysicalDisks": 2})),
            &[],
        ),
        (
            "5 controller",
            hardware(json!({"physicalDisks": ["a", "b"]})),
            &[
                "spec.raid.hardwareRAIDVolumes[0]: 'physicalDisks' specified without 'controller' in hardware RAID volume 0",
            ],
        ),
        (
            "5 number",
            hardware(json!({"controller": "c", "physicalDisks": ["a", "b"], "numberOfPhysicalDisks": 3})),
            &["'numberOfPhysicalDisks' is 3, but hardware RAID volume 0 lists 2"],
        ),
        (
            "6",
            software(json!([&root, &root])),
            &["rootVolume can only be set once"],
        ),
        (
            "7",
            with(
                software(json!([&root])),
                &json!({"rootDeviceHints": {"model": "m"}}),
            ),
            &[
                "spec.rootDeviceHints: rootDeviceHints and a software RAID rootVolume can not be set at the same time",
            ],
        ),
        ("7 fine", software(json!([&root, {"level": "0"}])), &[]),
        (
            "8",
            software(json!([{"level": "0"}, {"level": "0", "rootVolume": true}])),
            &["softwareRAIDVolumes[1] with rootVolume set must use RAID level 1"],
        ),
        (
            "9",
            with(hardware(json!({})), &bmc("ipmi://a")),
            &["spec.raid.hardwareRAIDVolumes: BMC driver ipmi does not support configuring RAID"],
        ),
        (
            "9 software",
            with(software(json!([{"level": "1"}])), &bmc("ipmi://a")),
            &[],
        ),
    ];
    for (what, patch, parts) in cases {
        expect(what, &created(&spec(&patch)), parts);
    }
}

#[test]
fn rules_10_to_12_and_23_the_driver_gets_what_it_needs_and_is_asked_for_what_it_can() {
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("10 redfish", json!({"bootMACAddress": null}), &[]),
        (
            "10 libvirt",
            json!({"bootMACAddress": null, "bmc": {"address": "libvirt://a"}}),
            &["spec.bootMACAddress: BMC driver libvirt requires a BootMACAddress value"],
        ),
        (
            "10 no BMC",
            json!({"bootMACAddress": null, "inspectionMode": "disabled", "bmc": {"address": ""}}),
            &[],
        ),
        ("11 fine", json!({"bootMACAddress": "AA:bb:CC:dd:EE:ff"}), &[]),
        (
            "11 infiniband",
            json!({"bootMACAddress": "00:11:22:33:44:55:66:77"}),
            &[],
        ),
        (
            "11",
            json!({"bootMACAddress": "00:11:22:33:44:5g"}),
            &["spec.bootMACAddress: address 00:11:22:33:44:5g: invalid MAC address"],
        ),
        (
            "11 inside",
            json!({"bootMACAddress": "x00:11:22:33:44:55"}),
            &["invalid MAC address"],
        ),
        (
            "11 no BMC",
            json!({"bootMACAddress": "rubbish", "bmc": {"address": ""}}),
            &[],
        ),
        ("12 fine", json!({"bootMode": "UEFISecureBoot"}), &[]),
        (
            "12",
            json!({"bootMode": "UEFISecureBoot", "bmc": {"address": "ipmi://a"}}),
            &["spec.bootMode: BMC driver ipmi does not support secure boot"],
        ),
        ("23 fine", json!({"inspectionMode": "fast"}), &[]),
        (
            "23",
            json!({"inspectionMode": "fast", "bmc": {"address": "ipmi://a"}}),
            &["spec.inspectionMode: BMC driver ipmi does not support fast (out-of-band) inspection"],
        ),
        (
            "23 unknown",
            json!({"inspectionMode": "slow"}),
            &["spec: cannot be read", "slow", "agent"],
        ),
    ];
    for (what, patch, parts) in cases {
        expect(what, &created(&spec(&patch)), parts);
    }
    // The full scheme is told, and every way to disable inspection counts.
    for patch in [
        json!({"spec": {"inspectionMode": "disabled"}}),
        annotated("inspect.metal3.io", "disabled"),
    ] {
        let bare = json!({"bootMACAddress": null, "bmc": {"address": "redfish+http://a"}});
        let object = with(with(host(), &patch), &json!({"spec": bare}));
        expect(
            "10",
            &created(&object),
            &[
                "BMC driver redfish+http requires a BootMACAddress value",
                "inspection",
            ],
        );
    }
}

#[test]
fn rules_13_and_14_a_name_is_no_uuid() {
    for (name, parts) in [
        ("Host_1.example-com", &[][..]),
        (
            "host/1",
            &[
                "metadata.name: BareMetalHost resource name cannot contain characters other than [A-Za-z0-9._-]",
            ],
        ),
        (
            "0b7fe8b4-6f2b-4b2c-9f5c-0c6a1a3b2d4e",
            &["metadata.name: BareMetalHost resource name cannot be a UUID"],
        ),
        ("0b7fe8b46f2b4b2c9f5c0c6a1a3b2d4e", &["cannot be a UUID"]),
        ("0b7fe8b4-6f2b-4b2c-9f5c-0c6a1a3b2d4", &[]),
        ("0b7fe8b4-6f2b-4b2c-9f5c0-c6a1a3b2d4e", &[]),
        ("gb7fe8b46f2b4b2c9f5c0c6a1a3b2d4e", &[]),
    ] {
        expect(
            name,
            &created(&with(host(), &json!({"metadata": {"name": name}}))),
            parts,
        );
    }
    for name in [
        "urn:uuid:0b7fe8b4-6f2b-4b2c-9f5c-0c6a1a3b2d4e",
        "{0b7fe8b4-6f2b-4b2c-9f5c-0c6a1a3b2d4e}",
    ] {
        let errors = created(&with(host(), &json!({"metadata": {"name": name}})));
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[1].contains("cannot be a UUID"), "{errors:?}");
    }
}

#[test]
fn rule_15_a_root_device_is_below_dev() {
    for (name, parts) in [
        ("", &[][..]),
        ("/dev/sda", &[]),
        ("/dev/disk/by-path/pci-0000:01:00.0", &[]),
        (
            "sda",
            &[
                "spec.rootDeviceHints.deviceName: device name of root device hint must be a /dev/ path",
                "\"sda\"",
            ],
        ),
        ("s== /dev/sda", &["must be a /dev/ path"]),
        (
            "/dev/disk/by-id/wwn-1",
            &["must be path in /dev/ or /dev/disk/by-path/"],
        ),
        ("/dev/disk/by-path/../x", &["must be path in /dev/"]),
    ] {
        expect(
            name,
            &created(&spec(&json!({"rootDeviceHints": {"deviceName": name}}))),
            parts,
        );
    }
}

#[test]
fn rules_16_and_17_an_image_can_be_fetched_and_checked() {
    let sum = "d41d8cd98f00b204e9800998ecf8427e";
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({"url": "http://a/i.qcow2", "checksum": sum}), &[]),
        (
            json!({"url": "HTTPS://a/i.qcow2", "checksum": "https://a/sums", "checksumType": "sha512"}),
            &[],
        ),
        (
            json!({"url": "ftp://a/i", "checksum": sum, "checksumType": "auto"}),
            &[],
        ),
        (json!({"url": "gopher://a/i", "checksum": sum}), &[]),
        (json!({"url": "http://a/i.iso", "format": "live-iso"}), &[]),
        (json!({"url": "oci://registry/a:b"}), &[]),
        (json!({"url": "OCI://registry/a:b"}), &[]),
        (
            json!({"url": "file:///etc/shadow", "checksum": sum}),
            &[
                "spec.image.url: image URL file:///etc/shadow is invalid: invalid scheme in URL, \"file\" not allowed",
                "http, https",
            ],
        ),
        (
            json!({"url": "i.qcow2", "checksum": sum}),
            &["image URL i.qcow2 is invalid: it has to begin with a scheme"],
        ),
        (
            json!({"url": "", "checksum": sum}),
            &["image URL  is invalid: empty url"],
        ),
        (
            json!({"url": "http://a/i.qcow2"}),
            &["spec.image.checksum: checksum is required for normal images"],
        ),
        (
            json!({"url": "http://a/i.qcow2", "checksum": ""}),
            &["checksum is required for normal images"],
        ),
        (
            json!({"url": "http://a/i", "checksum": sum, "checksumType": "crc"}),
            &["spec.image.checksumType: unknown checksumType \"crc\"; use one of md5"],
        ),
        (
            json!({"url": "oci://a/b", "checksum": sum}),
            &["spec.image.checksum must be empty for OCI images"],
        ),
        (
            json!({"url": "oci://a/b", "checksumType": "md5"}),
            &["must be empty for OCI images"],
        ),
    ];
    for (image, parts) in cases {
        expect(
            &image.to_string(),
            &created(&spec(&json!({"image": image}))),
            parts,
        );
    }
    // The step of a custom deployment decides what it needs.
    let custom = json!({"image": {"url": "http://a/i"}, "customDeploy": {"method": "m"}});
    expect("custom", &created(&spec(&custom)), &[]);
}

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
fn rule_24_a_host_that_is_never_powered_off_is_online() {
    for (online, disabled, fine) in [(true, true, true), (false, false, true), (false, true, false)] {
        let object = spec(&json!({"online": online, "disablePowerOff": disabled}));
        let part = ["node can't simultaneously have online set to false and have power off disabled"];
        expect("24", &created(&object), if fine { &[] } else { &part });
    }
}

#[test]
fn rule_25_interfaces_are_named_in_one_way_and_once() {
    let (name, mac) = (
        json!({"name": "eth0"}),
        json!({"macAddress": "00:11:22:33:44:55"}),
    );
    for (interfaces, parts) in [
        (json!([name, mac]), &[][..]),
        (
            json!([{}]),
            &["spec.networkInterfaces[0]: either name or macAddress must be given"],
        ),
        (
            json!([with(name.clone(), &mac)]),
            &["networkInterfaces[0]: name and macAddress can not be given at the same time"],
        ),
        (
            json!([name, {"name": "ETH0"}]),
            &["spec.networkInterfaces[1]: duplicate interface \"ETH0\": it is in networkInterfaces[0], too"],
        ),
    ] {
        expect(
            "25",
            &created(&spec(&json!({"networkInterfaces": interfaces}))),
            parts,
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

#[test]
fn all_errors_are_told_at_once() {
    let object = with(
        spec(&json!({"firmware": {"sriovEnabled": true}, "rootDeviceHints": {"deviceName": "sda"}})),
        &annotated("inspect.metal3.io", "x"),
    );
    assert_eq!(created(&object).len(), 3);
}

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
