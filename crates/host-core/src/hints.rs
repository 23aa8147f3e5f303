//! The hardware profile, and the disk that receives the image.

use metal3_api::metal3::host::{ErrorType, RootDeviceHints};
use metal3_provisioner::FailureCause;

use crate::pass::{Flow, Pass};
use crate::{EventKind, raid};

/// The profile is set once, and only supplies default hints.
pub(crate) fn profile(pass: &mut Pass<'_>) -> Flow {
    if pass.status.hardware_profile.is_some() {
        return Ok(());
    }
    let spec = &pass.view.host.spec;
    let given = spec
        .hardware_profile
        .clone()
        .filter(|profile| !profile.is_empty());
    let fallback = if spec.bmc.address.starts_with("libvirt") {
        "libvirt"
    } else {
        "unknown"
    };
    let profile = given.clone().unwrap_or_else(|| fallback.to_owned());
    if default_hints(&profile).is_none() {
        let message = format!("no hardware profile named {profile:?}; remove spec.hardwareProfile");
        return Err(pass.fail(ErrorType::Registration, message, FailureCause::Unsupported));
    }
    if given.is_some() {
        let message = format!("hardware profile set: {profile}");
        pass.event(EventKind::Normal, "ProfileSet", message);
    }
    pass.status.hardware_profile = Some(profile);
    Ok(())
}

/// The hints for the next deployment: none if a RAID volume is made for the image.
pub(crate) fn wanted(pass: &Pass<'_>) -> Option<RootDeviceHints> {
    let spec = &pass.view.host.spec;
    if raid::has_root_volume(spec) {
        return None;
    }
    let profile = pass.status.hardware_profile.as_deref().unwrap_or("unknown");
    spec.root_device_hints
        .clone()
        .or_else(|| default_hints(profile).flatten())
}

/// The outer option says whether the profile exists.
fn default_hints(profile: &str) -> Option<Option<RootDeviceHints>> {
    let device = |name: &str| {
        Some(RootDeviceHints {
            device_name: Some(name.into()),
            ..RootDeviceHints::default()
        })
    };
    let hctl = |address: &str| {
        Some(RootDeviceHints {
            hctl: Some(address.into()),
            ..RootDeviceHints::default()
        })
    };
    match profile {
        "unknown" => Some(device("/dev/sda")),
        "libvirt" => Some(device("/dev/vda")),
        "openstack" => Some(device("/dev/vdb")),
        "dell" => Some(hctl("0:0:0:0")),
        "dell-raid" => Some(hctl("0:2:0:0")),
        "empty" => Some(None),
        _ => None,
    }
}
