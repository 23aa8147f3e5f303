//! RAID and the root device: rules 4 to 8 and 15.

use metal3_api::metal3::host::{BareMetalHostSpec, HardwareRAIDVolume, RAIDConfig, SoftwareRAIDVolume};

use crate::given;
use crate::problem::Problem;

pub(super) fn problems(spec: &BareMetalHostSpec) -> Vec<Problem> {
    let mut problems = match &spec.raid {
        Some(raid) => volumes(spec, raid),
        None => Vec::new(),
    };
    problems.extend(device(spec));
    problems
}

fn volumes(spec: &BareMetalHostSpec, raid: &RAIDConfig) -> Vec<Problem> {
    let hardware = raid.hardware_raid_volumes.as_deref().unwrap_or_default();
    let software = raid.software_raid_volumes.as_deref().unwrap_or_default();
    let mut problems = Vec::new();
    if !hardware.is_empty() && !software.is_empty() {
        problems.push(Problem::new(
            "spec.raid",
            "hardwareRAIDVolumes and softwareRAIDVolumes can not be set at the same time; remove one of them",
            raid,
        ));
    }
    for (index, volume) in hardware.iter().enumerate() {
        problems.extend(disks(index, volume));
    }
    let root: Vec<&SoftwareRAIDVolume> = software.iter().filter(|volume| is_root(volume)).collect();
    if root.len() > 1 {
        problems.push(Problem::new(
            "spec.raid.softwareRAIDVolumes[*].rootVolume",
            "rootVolume can only be set once: the image is written to one volume",
            software,
        ));
    }
    if let Some(hints) = spec.root_device_hints.as_ref().filter(|_| root.len() == 1) {
        problems.push(Problem::new(
            "spec.rootDeviceHints",
            "rootDeviceHints and a software RAID rootVolume can not be set at the same time; remove one of them",
            (hints, software),
        ));
    }
    for (index, volume) in software.iter().enumerate() {
        if is_root(volume) && volume.level != "1" {
            problems.push(Problem::new(
                &format!("spec.raid.softwareRAIDVolumes[{index}].level"),
                &format!("softwareRAIDVolumes[{index}] with rootVolume set must use RAID level 1"),
                &volume.level,
            ));
        }
    }
    problems
}

fn is_root(volume: &SoftwareRAIDVolume) -> bool {
    volume.root_volume == Some(true)
}

fn disks(index: usize, volume: &HardwareRAIDVolume) -> Vec<Problem> {
    let HardwareRAIDVolume {
        controller,
        physical_disks: disks,
        number_of_physical_disks: number,
        ..
    } = volume;
    let field = format!("spec.raid.hardwareRAIDVolumes[{index}]");
    let mut problems = Vec::new();
    if !disks.is_empty() && given(controller.as_ref()).is_none() {
        problems.push(Problem::new(
            &field,
            &format!("'physicalDisks' specified without 'controller' in hardware RAID volume {index}; name the controller"),
            disks,
        ));
    }
    let count = i64::try_from(disks.len()).unwrap_or(i64::MAX);
    if let Some(number) = number.filter(|number| !disks.is_empty() && *number != count) {
        problems.push(Problem::new(
            &field,
            &format!(
                "'numberOfPhysicalDisks' is {number}, but hardware RAID volume {index} lists {count} 'physicalDisks'; \
                 remove the number, or make it {count}"
            ),
            (number, disks),
        ));
    }
    problems
}

/// Rule 15.
fn device(spec: &BareMetalHostSpec) -> Option<Problem> {
    let name = given(spec.root_device_hints.as_ref()?.device_name.as_ref())?;
    let text = match name.strip_prefix("/dev/") {
        None => "device name of root device hint must be a /dev/ path, not",
        Some(path) if path.strip_prefix("disk/by-path/").unwrap_or(path).contains('/') => {
            "device name of root device hint must be path in /dev/ or /dev/disk/by-path/, not"
        }
        Some(_) => return None,
    };
    let text = format!(
        "{text} {name:?}; use for example /dev/sda, or a hint that stays the same, like serialNumber"
    );
    Some(Problem::new("spec.rootDeviceHints.deviceName", &text, name))
}
