//! What no retry can heal.

use metal3_api::metal3::host::{BootMode, InspectionMode};
use metal3_bmc::Bmc;
use metal3_provisioner::{Error, HostRef, RegisterArgs};

use crate::provisioner::IronicProvisioner;

/// The version that can keep a machine from ever being powered off.
const DISABLES_POWER_OFF: u32 = 95;

/// What the BMC's driver, or this Ironic, cannot do for the host.
pub(super) async fn unsupported(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
    bmc: &Bmc,
) -> Result<Option<String>, Error> {
    let (driver, scheme) = (bmc.driver, &bmc.scheme);
    let mac = host.boot_mac_address.as_deref().unwrap_or_default();
    let no_mac = mac.is_empty();
    let uninspected = args.inspection == Some(InspectionMode::Disabled);
    Ok(
        if args.inspection == Some(InspectionMode::Fast) && driver.fast_inspect.is_none() {
            Some(format!(
                "BMC driver {scheme} does not support fast (out-of-band) inspection"
            ))
        } else if args.boot_mode == BootMode::UefiSecureBoot && !driver.secure_boot {
            Some(format!("BMC driver {scheme} does not support secure boot"))
        } else if driver.needs_provisioning_network() && ironic.settings.provisioning_network_disabled {
            Some(format!("BMC driver {scheme} requires a provisioning network"))
        } else if no_mac && (driver.needs_mac || uninspected) {
            Some(format!("BMC driver {scheme} requires a BootMACAddress value"))
        } else if !no_mac && !is_mac(mac) {
            Some(format!(
                "{mac:?} is no MAC address; correct spec.bootMACAddress, for example 52:54:00:12:34:56"
            ))
        } else if args.disable_power_off && ironic.client.ready().await? < DISABLES_POWER_OFF {
            Some(
                "current ironic version does not support DisablePowerOff, refusing to manage node".to_owned(),
            )
        } else {
            None
        },
    )
}

/// The one form that Ironic takes.
fn is_mac(text: &str) -> bool {
    let mut parts = text.split(':');
    let good = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
    parts.by_ref().take(6).filter(|part| good(part)).count() == 6 && parts.next().is_none()
}

/// Whether nodes have the field `disable_power_off`.
pub(super) async fn can_disable_power_off(ironic: &IronicProvisioner) -> Result<bool, Error> {
    Ok(ironic.client.ready().await? >= DISABLES_POWER_OFF)
}

#[cfg(test)]
mod tests {
    use super::is_mac;

    #[test]
    fn only_what_ironic_takes_is_a_mac_address() {
        assert!(is_mac("52:54:00:aB:34:56"));
        for wrong in [
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52-54-00-12-34-56",
            "52:54:00:12:34:5g",
            "5:254:00:12:34:56",
        ] {
            assert!(!is_mac(wrong), "{wrong}");
        }
    }
}
