//! What cannot be made, told before anything is asked of Ironic.

use std::collections::HashMap;

use metal3_api::metal3::raid::{HardwareRAIDVolume, RAIDConfig, SoftwareRAIDVolume};

use super::NO_RAID;

/// # Errors
/// What is wrong, for users.
pub(super) fn check(driver: &str, config: &RAIDConfig) -> Result<(), String> {
    let hardware = config.hardware_raid_volumes.as_deref().unwrap_or_default();
    let software = config.software_raid_volumes.as_deref().unwrap_or_default();
    if let Some(first) = software.first() {
        return mirrored(first);
    }
    if hardware.is_empty() {
        return Ok(());
    }
    if driver == NO_RAID {
        return Err(format!(
            "RAID settings are defined, but the node's driver {driver} does not support RAID"
        ));
    }
    names_differ(hardware)?;
    hardware
        .iter()
        .enumerate()
        .try_for_each(|(index, volume)| members(index, volume))
}

/// The machine boots from it, and firmware can read one half of a mirror.
fn mirrored(first: &SoftwareRAIDVolume) -> Result<(), String> {
    if first.level == "1" {
        return Ok(());
    }
    Err(format!(
        "the level in first volume of software raid must be RAID1, not {}",
        first.level
    ))
}

fn names_differ(volumes: &[HardwareRAIDVolume]) -> Result<(), String> {
    let mut seen = HashMap::new();
    for (index, volume) in volumes.iter().enumerate() {
        let Some(name) = volume.name.as_deref().filter(|name| !name.is_empty()) else {
            continue;
        };
        if let Some(other) = seen.insert(name, index) {
            return Err(format!(
                "the names({name}) of volume[{other}] and volume[{index}] are repeated"
            ));
        }
    }
    Ok(())
}

fn members(index: usize, volume: &HardwareRAIDVolume) -> Result<(), String> {
    let listed = volume.physical_disks.len();
    if listed == 0 {
        return Ok(());
    }
    if volume.controller.as_deref().unwrap_or_default().is_empty() {
        return Err(format!(
            "'controller' must be specified if 'physicalDisks' are used, in volume[{index}]"
        ));
    }
    match volume.number_of_physical_disks {
        Some(number) if usize::try_from(number) != Ok(listed) => Err(format!(
            "numberOfPhysicalDisks is {number}, but volume[{index}] lists {listed} physicalDisks"
        )),
        Some(_) | None => Ok(()),
    }
}
