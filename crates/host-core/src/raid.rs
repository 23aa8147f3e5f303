//! RAID volumes: what is wanted, against what was applied and is recorded in `status.provisioning.raid`.

use metal3_api::metal3::host::{BareMetalHostSpec, BareMetalHostStatus, ErrorType, RAIDConfig};

/// What is to be applied; `None` when nothing was asked for and nothing was ever applied.
pub(crate) fn target(spec: &BareMetalHostSpec, status: &BareMetalHostStatus) -> Option<RAIDConfig> {
    let silent =
        |raid: &&RAIDConfig| raid.hardware_raid_volumes.is_some() || raid.software_raid_volumes.is_some();
    match spec.raid.as_ref().filter(silent) {
        Some(wanted) => Some(wanted.clone()),
        // Nobody asks for volumes any more: those of the controller stay, those of the operating system go.
        None => status.provisioning.raid.as_ref().map(|applied| RAIDConfig {
            hardware_raid_volumes: applied.hardware_raid_volumes.clone(),
            software_raid_volumes: Some(Vec::new()),
        }),
    }
}

/// What is known to be on the disks: after a failed preparation nothing is.
pub(crate) fn applied(status: &BareMetalHostStatus) -> Option<RAIDConfig> {
    let known = status.error_type != Some(ErrorType::Preparation);
    status.provisioning.raid.clone().filter(|_| known)
}

/// Whether there is something to be applied.
pub(crate) fn differs(spec: &BareMetalHostSpec, status: &BareMetalHostStatus) -> bool {
    let wanted = target(spec, status);
    let failed = status.error_type == Some(ErrorType::Preparation);
    wanted.is_some() && (failed || plain(wanted) != plain(status.provisioning.raid.clone()))
}

/// No volumes of the operating system are the same as none that are known of: neither has anything to be removed.
fn plain(raid: Option<RAIDConfig>) -> RAIDConfig {
    let mut raid = raid.unwrap_or_default();
    raid.software_raid_volumes = raid.software_raid_volumes.filter(|volumes| !volumes.is_empty());
    raid
}

/// Volumes of the operating system are no longer known: the disks were cleaned, or were others' for a time.
pub(crate) fn forget(status: &mut BareMetalHostStatus) {
    if let Some(raid) = &mut status.provisioning.raid {
        raid.software_raid_volumes = None;
        if raid.hardware_raid_volumes.is_none() {
            status.provisioning.raid = None;
        }
    }
    status.provisioning.root_device_hints = None;
}

/// Whether one of the volumes is for the image, so that no hints are needed.
pub(crate) fn has_root_volume(spec: &BareMetalHostSpec) -> bool {
    let volumes = spec
        .raid
        .iter()
        .filter_map(|raid| raid.software_raid_volumes.as_ref());
    volumes.flatten().any(|volume| volume.root_volume == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn host(wanted: &Value, applied: &Value) -> (BareMetalHostSpec, BareMetalHostStatus) {
        let mut status = BareMetalHostStatus::default();
        status.provisioning.raid = serde_json::from_value(applied.clone()).unwrap();
        let spec = json!({"online": true, "raid": wanted});
        (serde_json::from_value(spec).unwrap(), status)
    }

    #[test]
    fn an_absent_list_keeps_volumes_of_the_controller_and_removes_those_of_the_system() {
        let (mirror, system) = (json!([{"level": "1"}]), json!([{"level": "1"}]));
        let raid = |hardware: &Value, software: &Value| json!({"hardwareRAIDVolumes": hardware, "softwareRAIDVolumes": software});
        let (null, empty) = (json!(null), json!([]));
        for (wanted, applied, target_is, differ) in [
            (null.clone(), null.clone(), null.clone(), false),
            (raid(&null, &null), null.clone(), null.clone(), false),
            (null.clone(), raid(&mirror, &null), raid(&mirror, &empty), false),
            (null.clone(), raid(&null, &system), raid(&null, &empty), true),
            (raid(&mirror, &null), null.clone(), raid(&mirror, &null), true),
            (
                raid(&mirror, &null),
                raid(&mirror, &null),
                raid(&mirror, &null),
                false,
            ),
            (
                raid(&empty, &null),
                raid(&mirror, &null),
                raid(&empty, &null),
                true,
            ),
            (
                raid(&null, &system),
                raid(&null, &empty),
                raid(&null, &system),
                true,
            ),
            (raid(&null, &empty), null.clone(), raid(&null, &empty), false),
        ] {
            let (spec, mut status) = host(&wanted, &applied);
            let found = serde_json::to_value(target(&spec, &status)).unwrap();
            assert_eq!(found, target_is, "{wanted} over {applied}");
            assert_eq!(differs(&spec, &status), differ, "{wanted} over {applied}");
            status.error_type = Some(ErrorType::Preparation);
            assert_eq!(
                differs(&spec, &status),
                !target_is.is_null(),
                "{wanted} after a failure"
            );
        }
    }

    #[test]
    fn what_is_forgotten_is_only_what_the_cleaning_removed() {
        let both = json!({"hardwareRAIDVolumes": [], "softwareRAIDVolumes": []});
        let (_, mut status) = host(&json!(null), &both);
        forget(&mut status);
        assert_eq!(
            serde_json::to_value(&status.provisioning.raid).unwrap(),
            json!({"hardwareRAIDVolumes": [], "softwareRAIDVolumes": null})
        );
        let (_, mut status) = host(&json!(null), &json!({"softwareRAIDVolumes": []}));
        forget(&mut status);
        assert_eq!(status.provisioning.raid, None);
    }
}
