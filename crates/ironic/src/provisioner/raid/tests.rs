use metal3_api::metal3::host::RootDeviceHints;
use metal3_api::metal3::raid::HardwareRAIDVolume;
use proptest::prelude::*;

use super::*;

fn hardware(level: &str) -> HardwareRAIDVolume {
    HardwareRAIDVolume {
        level: level.into(),
        ..HardwareRAIDVolume::default()
    }
}

fn software(level: &str) -> SoftwareRAIDVolume {
    SoftwareRAIDVolume {
        level: level.into(),
        ..SoftwareRAIDVolume::default()
    }
}

fn config(
    hardware: Option<Vec<HardwareRAIDVolume>>,
    software: Option<Vec<SoftwareRAIDVolume>>,
) -> RAIDConfig {
    RAIDConfig {
        hardware_raid_volumes: hardware,
        software_raid_volumes: software,
    }
}

fn args(target: RAIDConfig, actual: Option<RAIDConfig>) -> PrepareArgs {
    PrepareArgs {
        unprepared: true,
        target_raid: Some(target),
        actual_raid: actual,
        root_device_hints: Some(RootDeviceHints::default()),
        ..PrepareArgs::default()
    }
}

/// Interface and steps of a change, or its problem.
fn shown(driver: &'static str, args: &PrepareArgs) -> String {
    match change(driver, args) {
        Ok(change) => {
            let steps: Vec<_> = change.steps.iter().map(|(_, step)| *step).collect();
            format!("{} {}", change.interface, steps.join(" "))
                .trim()
                .to_owned()
        }
        Err(problem) => problem,
    }
}

#[test]
fn the_steps_follow_from_what_is_wanted_and_what_is_there() {
    let one = || Some(vec![hardware("1")]);
    let other = || Some(vec![hardware("5")]);
    let soft = || Some(vec![software("1")]);
    let none = || Some(vec![]);
    for (driver, target, actual, expected) in [
        (
            "redfish",
            config(one(), None),
            None,
            "redfish delete_configuration create_configuration",
        ),
        (
            "redfish",
            config(one(), None),
            Some(config(other(), None)),
            "redfish delete_configuration create_configuration",
        ),
        (
            "redfish",
            config(one(), None),
            Some(config(one(), None)),
            "redfish",
        ),
        (
            "redfish",
            config(Some(vec![]), None),
            Some(config(one(), None)),
            "redfish delete_configuration",
        ),
        (
            "redfish",
            config(Some(vec![]), None),
            None,
            "redfish delete_configuration",
        ),
        (
            "redfish",
            config(Some(vec![]), None),
            Some(config(Some(vec![]), None)),
            "redfish",
        ),
        ("redfish", config(None, None), Some(config(one(), None)), ""),
        (
            "redfish",
            config(None, soft()),
            None,
            "agent delete_configuration erase_devices_metadata create_configuration",
        ),
        (
            "redfish",
            config(None, soft()),
            Some(config(None, soft())),
            "agent",
        ),
        (
            "no-raid",
            config(None, none()),
            Some(config(None, soft())),
            "agent delete_configuration erase_devices_metadata",
        ),
        ("no-raid", config(None, none()), None, ""),
        // What is kept of the hardware waits until the software volumes are gone.
        (
            "redfish",
            config(one(), none()),
            Some(config(one(), soft())),
            "agent delete_configuration erase_devices_metadata",
        ),
        (
            "redfish",
            config(one(), none()),
            Some(config(one(), none())),
            "redfish",
        ),
        ("no-raid", config(Some(vec![]), None), None, ""),
    ] {
        assert_eq!(
            shown(driver, &args(target.clone(), actual.clone())),
            expected,
            "{driver}: {target:?} from {actual:?}"
        );
    }
}

#[test]
fn settings_that_cannot_be_made_are_told() {
    let named = |name: &str| HardwareRAIDVolume {
        name: Some(name.into()),
        ..hardware("1")
    };
    let of_disks = |number, controller: Option<&str>| HardwareRAIDVolume {
        number_of_physical_disks: number,
        controller: controller.map(Into::into),
        physical_disks: vec!["a".into(), "b".into()],
        ..hardware("1")
    };
    for (driver, target, expected) in [
        (
            "no-raid",
            config(Some(vec![hardware("1")]), None),
            "driver no-raid does not support RAID",
        ),
        (
            "redfish",
            config(Some(vec![named("a"), named("b"), named("a")]), None),
            "the names(a) of volume[0] and volume[2] are repeated",
        ),
        (
            "redfish",
            config(Some(vec![of_disks(None, None)]), None),
            "'controller' must be specified if 'physicalDisks' are used",
        ),
        (
            "redfish",
            config(Some(vec![of_disks(Some(3), Some("c"))]), None),
            "numberOfPhysicalDisks is 3, but volume[0] lists 2 physicalDisks",
        ),
        (
            "redfish",
            config(None, Some(vec![software("0"), software("1")])),
            "the level in first volume of software raid must be RAID1",
        ),
    ] {
        let problem = shown(driver, &args(target, None));
        assert!(problem.contains(expected), "{problem}");
    }
    let fine = config(Some(vec![of_disks(Some(2), Some("c"))]), None);
    assert!(change("redfish", &args(fine, None)).is_ok());
}

#[test]
fn hardware_volumes_are_told_in_ironics_words() {
    let volume = HardwareRAIDVolume {
        size_gibibytes: Some(100),
        level: "1+0".into(),
        name: Some("root".into()),
        rotational: Some(false),
        number_of_physical_disks: Some(4),
        ..HardwareRAIDVolume::default()
    };
    let listed = HardwareRAIDVolume {
        controller: Some("RAID.1".into()),
        physical_disks: vec!["Disk.0".into(), "Disk.1".into()],
        rotational: Some(true),
        ..hardware("1")
    };
    let volumes = config(Some(vec![volume, listed]), None);
    let expected = json!({"logical_disks": [
        {"size_gb": 100, "raid_level": "1+0", "volume_name": "root", "disk_type": "ssd", "number_of_physical_disks": 4},
        {"size_gb": "MAX", "raid_level": "1", "disk_type": "hdd", "controller": "RAID.1",
         "physical_disks": ["Disk.0", "Disk.1"]},
    ]});
    let mut args = args(volumes, None);
    assert_eq!(change("redfish", &args).unwrap().target, expected);
    // Nobody says where the image goes.
    args.root_device_hints = None;
    let target = change("redfish", &args).unwrap().target;
    assert_eq!(target["logical_disks"][0]["is_root_volume"], json!(true));
    assert_eq!(target["logical_disks"][1].get("is_root_volume"), None);
}

#[test]
fn software_volumes_are_told_with_hints_for_their_members() {
    let volume = SoftwareRAIDVolume {
        root_volume: Some(true),
        physical_disks: vec![
            RootDeviceHints {
                device_name: Some("/dev/sda".into()),
                ..RootDeviceHints::default()
            },
            RootDeviceHints {
                min_size_gigabytes: Some(10),
                ..RootDeviceHints::default()
            },
        ],
        ..software("1")
    };
    let volumes = config(None, Some(vec![volume, software("0")]));
    let expected = json!({"logical_disks": [
        {"controller": "software", "is_root_volume": true, "raid_level": "1", "size_gb": "MAX",
         "physical_disks": [{"name": "s== /dev/sda"}, {"size": ">= 10"}]},
        {"controller": "software", "is_root_volume": false, "raid_level": "0", "size_gb": "MAX"},
    ]});
    assert_eq!(change("redfish", &args(volumes, None)).unwrap().target, expected);
}

fn any_hardware() -> impl Strategy<Value = HardwareRAIDVolume> {
    (
        proptest::option::of(0i64..1000),
        prop_oneof![Just("0"), Just("1"), Just("5"), Just("1+0")],
        proptest::option::of("[a-c]"),
        proptest::option::of(any::<bool>()),
        proptest::option::of(1i64..4),
        proptest::option::of("[de]"),
        proptest::collection::vec("[f-h]", 0..3),
    )
        .prop_map(
            |(
                size_gibibytes,
                level,
                name,
                rotational,
                number_of_physical_disks,
                controller,
                physical_disks,
            )| {
                HardwareRAIDVolume {
                    size_gibibytes,
                    level: level.to_owned(),
                    name,
                    rotational,
                    number_of_physical_disks,
                    controller,
                    physical_disks,
                }
            },
        )
}

fn any_software() -> impl Strategy<Value = SoftwareRAIDVolume> {
    (
        proptest::option::of(0i64..1000),
        prop_oneof![Just("0"), Just("1")],
        proptest::option::of(any::<bool>()),
    )
        .prop_map(|(size_gibibytes, level, root_volume)| SoftwareRAIDVolume {
            size_gibibytes,
            level: level.to_owned(),
            physical_disks: vec![],
            root_volume,
        })
}

fn any_config() -> impl Strategy<Value = RAIDConfig> {
    (
        proptest::option::of(proptest::collection::vec(any_hardware(), 0..4)),
        proptest::option::of(proptest::collection::vec(any_software(), 0..3)),
    )
        .prop_map(|(hardware, software)| config(hardware, software))
}

proptest! {
    /// Whatever is asked for: what Ironic is told has a volume for each that is wanted, in words of its schema; and a
    /// host that has what it wants is left alone.
    #[test]
    fn any_volumes_are_refused_or_told_completely(
        target in any_config(),
        actual in proptest::option::of(any_config()),
        driver in prop_oneof![Just("no-raid"), Just("redfish")],
    ) {
        if let Ok(first) = change(driver, &args(target.clone(), actual)) {
            let disks = first.target["logical_disks"].as_array().cloned().unwrap_or_default();
            let wanted = match first.interface {
                "" => 0,
                "agent" => target.software_raid_volumes.iter().flatten().count(),
                _ => target.hardware_raid_volumes.iter().flatten().count(),
            };
            prop_assert_eq!(disks.len(), wanted);
            for disk in &disks {
                let size = &disk["size_gb"];
                prop_assert!(size == "MAX" || size.as_i64().is_some_and(|size| size > 0), "{}", size);
                let listed = disk["physical_disks"].as_array().map(Vec::len);
                prop_assert!(listed.is_none_or(|listed| listed > 0 && disk.get("controller").is_some()));
            }
            prop_assert_eq!(first.steps.contains(&CREATE), !first.steps.is_empty() && wanted > 0);
            prop_assert!(first.steps.first().is_none_or(|step| *step == DELETE));
            prop_assert_ne!(&first.target, &json!({"logical_disks": []}));
        }
        let again = change(driver, &args(target.clone(), Some(target)));
        prop_assert!(again.is_err() || again.is_ok_and(|again| again.steps.is_empty()));
    }
}
