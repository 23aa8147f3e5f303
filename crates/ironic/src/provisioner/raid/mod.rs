//! RAID: from the volumes that users want to what Ironic is told and the steps that cleaning takes.

mod checks;
mod disks;

use metal3_api::metal3::raid::{RAIDConfig, SoftwareRAIDVolume};
use metal3_provisioner::PrepareArgs;
use serde_json::{Value, json};

/// Drivers without RAID of their own.
const NO_RAID: &str = "no-raid";
/// The ramdisk makes software volumes.
const SOFTWARE: &str = "agent";

const DELETE: (&str, &str) = ("raid", "delete_configuration");
const CREATE: (&str, &str) = ("raid", "create_configuration");
/// What is left of members of a software volume would be found again.
const ERASE: (&str, &str) = ("deploy", "erase_devices_metadata");

/// What manual cleaning has to change.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Change {
    /// `raid_interface` while it does.
    pub(super) interface: &'static str,
    /// Body of `states/raid`. Ironic wants an empty map where no volume is left, and refuses an empty list.
    pub(super) target: Value,
    /// Interface and name of each clean step, in order; none when nothing is to be done.
    pub(super) steps: Vec<(&'static str, &'static str)>,
}

/// What leads from the volumes that are there to those that are wanted. `driver` is the RAID interface of the BMC's
/// driver.
///
/// # Errors
/// What is wrong with the volumes, for users.
pub(super) fn change(driver: &'static str, args: &PrepareArgs) -> Result<Change, String> {
    let Some(target) = &args.target_raid else {
        return Ok(Change::default());
    };
    checks::check(driver, target)?;
    let actual = args.actual_raid.as_ref();
    let had_software = software(actual).next().is_some();
    // Software volumes win: both at once cannot be made.
    if let Some(wanted) = &target.software_raid_volumes
        && (had_software || !wanted.is_empty())
    {
        let same = software(actual).eq(wanted);
        let steps = match (same, wanted.is_empty()) {
            (true, _) => vec![],
            (false, true) => vec![DELETE, ERASE],
            (false, false) => vec![DELETE, ERASE, CREATE],
        };
        let disks: Vec<Value> = wanted.iter().map(disks::software).collect();
        return Ok(Change {
            interface: SOFTWARE,
            target: logical_disks(&disks),
            steps,
        });
    }
    let Some(wanted) = target
        .hardware_raid_volumes
        .as_ref()
        .filter(|_| driver != NO_RAID)
    else {
        return Ok(Change::default());
    };
    let recorded = actual.and_then(|actual| actual.hardware_raid_volumes.as_ref());
    let steps = match (recorded == Some(wanted), wanted.is_empty()) {
        (true, _) => vec![],
        (false, true) => vec![DELETE],
        (false, false) => vec![DELETE, CREATE],
    };
    let mut disks: Vec<Value> = wanted.iter().map(disks::hardware).collect();
    // Without any hint, the first volume is where the image goes.
    if let Some(first) = disks.first_mut().filter(|_| args.root_device_hints.is_none()) {
        first["is_root_volume"] = json!(true);
    }
    Ok(Change {
        interface: driver,
        target: logical_disks(&disks),
        steps,
    })
}

fn software(config: Option<&RAIDConfig>) -> impl Iterator<Item = &SoftwareRAIDVolume> {
    config
        .and_then(|config| config.software_raid_volumes.as_ref())
        .into_iter()
        .flatten()
}

fn logical_disks(disks: &[Value]) -> Value {
    if disks.is_empty() {
        json!({})
    } else {
        json!({ "logical_disks": disks })
    }
}

#[cfg(test)]
mod tests;
