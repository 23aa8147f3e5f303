//! One volume as Ironic's logical disk.

use metal3_api::metal3::raid::{HardwareRAIDVolume, SoftwareRAIDVolume};
use serde_json::{Value, json};

use crate::provisioner::hints::root_device;

/// GiB, or all that is left.
fn size(gibibytes: Option<i64>) -> Value {
    gibibytes
        .filter(|size| *size > 0)
        .map_or_else(|| json!("MAX"), |size| json!(size))
}

pub(super) fn hardware(volume: &HardwareRAIDVolume) -> Value {
    let mut disk = json!({
        "size_gb": size(volume.size_gibibytes),
        "raid_level": volume.level,
    });
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            disk[key] = value;
        }
    };
    let text = |text: &Option<String>| {
        text.as_ref()
            .filter(|text| !text.is_empty())
            .map(|text| json!(text))
    };
    put("volume_name", text(&volume.name));
    put(
        "disk_type",
        volume
            .rotational
            .map(|rotational| json!(if rotational { "hdd" } else { "ssd" })),
    );
    put(
        "number_of_physical_disks",
        volume
            .number_of_physical_disks
            .filter(|number| *number > 0)
            .map(|number| json!(number)),
    );
    put("controller", text(&volume.controller));
    put(
        "physical_disks",
        Some(json!(volume.physical_disks)).filter(|_| !volume.physical_disks.is_empty()),
    );
    disk
}

pub(super) fn software(volume: &SoftwareRAIDVolume) -> Value {
    let mut disk = json!({
        "size_gb": size(volume.size_gibibytes),
        "raid_level": volume.level,
        "controller": "software",
        "is_root_volume": volume.root_volume == Some(true),
    });
    if !volume.physical_disks.is_empty() {
        let members: Vec<Value> = volume
            .physical_disks
            .iter()
            .map(|hints| root_device(Some(hints)))
            .collect();
        disk["physical_disks"] = json!(members);
    }
    disk
}
