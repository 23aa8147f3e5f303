//! What the driver of the BMC can and needs: rules 1, 9 to 12 and 23.

use metal3_api::metal3::host::{BootMode, InspectionMode};
use metal3_bmc::Bmc;

use super::Host;
use crate::given;
use crate::problem::Problem;

/// Without a BMC there is nothing to say; one that cannot be understood has no driver to compare with.
pub(super) fn problems(host: &Host) -> Vec<Problem> {
    let address = host.spec.bmc.address.as_str();
    if address.is_empty() {
        return Vec::new();
    }
    match address.parse::<Bmc>() {
        Ok(bmc) => driver(host, &bmc),
        Err(error) => {
            let text = format!(
                "{error}; write it like redfish-virtualmedia+https://bmc.example.com/redfish/v1/Systems/1 or \
                 ipmi://192.0.2.1:623"
            );
            vec![Problem::new("spec.bmc.address", &text, address)]
        }
    }
}

fn driver(host: &Host, bmc: &Bmc) -> Vec<Problem> {
    let Host { spec, .. } = host;
    let (driver, scheme) = (bmc.driver, &bmc.scheme);
    let mut problems = Vec::new();
    let volumes = spec
        .raid
        .as_ref()
        .and_then(|raid| raid.hardware_raid_volumes.as_ref());
    if let Some(volumes) = volumes.filter(|volumes| !volumes.is_empty() && driver.raid == "no-raid") {
        problems.push(Problem::new(
            "spec.raid.hardwareRAIDVolumes",
            &format!("BMC driver {scheme} does not support configuring RAID; remove the volumes, or use a Redfish driver"),
            (scheme, volumes),
        ));
    }
    let disabled = host.inspection_disabled();
    match given(spec.boot_mac_address.as_ref()) {
        None if driver.needs_mac || disabled => {
            let why = if driver.needs_mac {
                "the driver cannot find it"
            } else {
                "inspection, which would find it, is disabled"
            };
            problems.push(Problem::new(
                "spec.bootMACAddress",
                &format!("BMC driver {scheme} requires a BootMACAddress value: {why}; set the MAC of the boot interface"),
                (scheme, disabled),
            ));
        }
        Some(mac) if !is_mac(mac) => problems.push(Problem::new(
            "spec.bootMACAddress",
            &format!("address {mac}: invalid MAC address; write it like 00:5c:52:31:3a:9c"),
            mac,
        )),
        None | Some(_) => {}
    }
    if spec.boot_mode == Some(BootMode::UefiSecureBoot) && !driver.secure_boot {
        problems.push(Problem::new(
            "spec.bootMode",
            &format!("BMC driver {scheme} does not support secure boot; use UEFI, or a Redfish driver"),
            scheme,
        ));
    }
    if spec.inspection_mode == Some(InspectionMode::Fast) && driver.fast_inspect.is_none() {
        problems.push(Problem::new(
            "spec.inspectionMode",
            &format!("BMC driver {scheme} does not support fast (out-of-band) inspection; use agent, or a Redfish driver"),
            scheme,
        ));
    }
    problems
}

/// As Go takes them: of Ethernet, and the longer ones of other networks.
fn is_mac(text: &str) -> bool {
    let pairs: Vec<&str> = text.split(':').collect();
    matches!(pairs.len(), 6 | 8 | 20)
        && pairs
            .iter()
            .all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
