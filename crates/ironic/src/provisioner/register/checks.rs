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
    let no_mac = host.boot_mac_address.as_deref().unwrap_or_default().is_empty();
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
        } else if args.disable_power_off && ironic.client.ready().await? < DISABLES_POWER_OFF {
            Some(
                "current ironic version does not support DisablePowerOff, refusing to manage node".to_owned(),
            )
        } else {
            None
        },
    )
}

/// Whether nodes have the field `disable_power_off`.
pub(super) async fn can_disable_power_off(ironic: &IronicProvisioner) -> Result<bool, Error> {
    Ok(ironic.client.ready().await? >= DISABLES_POWER_OFF)
}
