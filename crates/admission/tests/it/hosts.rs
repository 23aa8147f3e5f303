//! Rules 1 to 17, 24 and 25 of hosts: what the spec says.

use serde_json::{Value, json};

use crate::{annotated, bmc, created, expect, host, spec, with};

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
fn all_errors_are_told_at_once() {
    let object = with(
        spec(&json!({"firmware": {"sriovEnabled": true}, "rootDeviceHints": {"deviceName": "sda"}})),
        &annotated("inspect.metal3.io", "x"),
    );
    assert_eq!(created(&object).len(), 3);
}
