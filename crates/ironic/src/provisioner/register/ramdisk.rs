//! Where the ramdisk is that inspection, cleaning and deployment run in.

use std::hash::Hash;

use jiff::SignedDuration;
use metal3_api::metal3::host::{InspectionMode, ProvisioningState};
use metal3_api::metal3::preprovisioning_image::ImageFormat;
use metal3_bmc::Bmc;
use metal3_provisioner::{
    BuiltRamdisk, CleaningMode, FailureCause, Outcome, Ramdisk, RegisterArgs, WaitReason,
};
use serde_json::{Value, json};

use super::Request;
use crate::Settings;
use crate::provisioner::IronicProvisioner;

/// The image is watched; this bounds what a lost event costs.
const POLL: SignedDuration = SignedDuration::from_mins(5);

/// The keys of `driver_info` that tell of a ramdisk, each with what it is to be; null is absent.
type Keys = [(&'static str, Value); 4];

/// The keys for a host. `None`: they are left alone, so that Ironic's own defaults apply, also those by architecture.
pub(super) fn keys(settings: &Settings, bmc: &Bmc, ramdisk: &Ramdisk) -> Option<Keys> {
    match ramdisk {
        Ramdisk::Missing => None,
        Ramdisk::Built(built) => built_keys(settings, bmc, built).ok(),
        Ramdisk::Configured => match (
            &settings.deploy_iso,
            &settings.deploy_kernel,
            &settings.deploy_ramdisk,
        ) {
            (Some(iso), _, _) if bmc.driver.boots_iso => Some(iso_keys(iso)),
            (_, Some(kernel), Some(ramdisk)) => Some(initrd_keys(kernel, ramdisk, None)),
            _ => None,
        },
    }
}

fn built_keys(settings: &Settings, bmc: &Bmc, built: &BuiltRamdisk) -> Result<Keys, String> {
    match built.format {
        ImageFormat::Iso if bmc.driver.boots_iso => Ok(iso_keys(&built.url)),
        ImageFormat::Iso => Err(format!("BMC driver {} cannot boot an ISO", bmc.scheme)),
        ImageFormat::Initrd => {
            let kernel = built
                .kernel_url
                .as_ref()
                .filter(|kernel| !kernel.is_empty())
                .or(settings.deploy_kernel.as_ref())
                .ok_or("it has no kernelUrl, and DEPLOY_KERNEL_URL is not set")?;
            let extra = built
                .extra_kernel_params
                .as_deref()
                .filter(|extra| !extra.is_empty());
            Ok(initrd_keys(kernel, &built.url, extra))
        }
    }
}

fn iso_keys(iso: &str) -> Keys {
    [
        ("deploy_iso", json!(iso)),
        ("deploy_kernel", Value::Null),
        ("deploy_ramdisk", Value::Null),
        ("kernel_append_params", Value::Null),
    ]
}

fn initrd_keys(kernel: &str, ramdisk: &str, extra: Option<&str>) -> Keys {
    let parameters = extra.map_or(Value::Null, |extra| json!(format!("%default% {extra}")));
    [
        ("deploy_iso", Value::Null),
        ("deploy_kernel", json!(kernel)),
        ("deploy_ramdisk", json!(ramdisk)),
        ("kernel_append_params", parameters),
    ]
}

/// What a host is held up by that is about to run in a ramdisk of its own, and has none that can be used.
pub(super) fn lacking(ironic: &IronicProvisioner, request: &Request<'_>) -> Option<Outcome> {
    if !needed(request.args) {
        return None;
    }
    match &request.args.ramdisk {
        Ramdisk::Configured => None,
        Ramdisk::Missing => Some(Outcome::working(WaitReason::PreprovisioningImage, POLL)),
        Ramdisk::Built(built) => built_keys(&ironic.settings, &request.bmc, built)
            .err()
            .map(|why| {
                Outcome::failed(
                    FailureCause::RamdiskMissing,
                    format!("Preprovisioning Image is not acceptable to provisioner: {why}"),
                )
            }),
    }
}

/// Deployment does without: cleaning before it left the ramdisk in place.
fn needed(args: &RegisterArgs) -> bool {
    match args.state {
        ProvisioningState::Deprovisioning => args.cleaning != CleaningMode::Disabled,
        ProvisioningState::Inspecting => args.inspection != Some(InspectionMode::Fast),
        ProvisioningState::Preparing => true,
        ProvisioningState::Provisioned | ProvisioningState::ExternallyProvisioned => args.servicing,
        _ => false,
    }
}

pub(super) fn hash(ramdisk: &Ramdisk, hasher: &mut impl std::hash::Hasher) {
    match ramdisk {
        Ramdisk::Configured => 0u8.hash(hasher),
        Ramdisk::Missing => 1u8.hash(hasher),
        Ramdisk::Built(built) => {
            let iso = built.format == ImageFormat::Iso;
            (&built.url, &built.kernel_url, &built.extra_kernel_params, iso).hash(hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bmc(scheme: &str) -> Bmc {
        format!("{scheme}://192.0.2.1/redfish/v1/Systems/1")
            .parse()
            .unwrap()
    }

    fn settings(iso: bool, initrd: bool) -> Settings {
        let some = |given: bool, text: &str| given.then(|| text.to_owned());
        Settings {
            deploy_iso: some(iso, "iso"),
            deploy_kernel: some(initrd, "kernel"),
            deploy_ramdisk: some(initrd, "ramdisk"),
            ..Settings::new("http://ironic")
        }
    }

    fn built(format: ImageFormat, kernel: Option<&str>, extra: Option<&str>) -> Ramdisk {
        Ramdisk::Built(BuiltRamdisk {
            url: "mine".into(),
            kernel_url: kernel.map(Into::into),
            extra_kernel_params: extra.map(Into::into),
            format,
        })
    }

    /// The table of the specification: ISO, kernel, ramdisk, parameters; `-` is removed, nothing is left alone.
    #[test]
    fn the_first_source_of_a_ramdisk_counts_and_its_keys_exclude_others() {
        use ImageFormat::{Initrd, Iso};
        let (virtual_media, network) = ("redfish-virtualmedia", "redfish");
        for (scheme, settings, ramdisk, expected) in [
            (
                virtual_media,
                settings(true, true),
                built(Iso, None, None),
                "mine - - -",
            ),
            (network, settings(true, true), built(Iso, None, None), ""),
            (
                virtual_media,
                settings(true, false),
                built(Initrd, Some("k"), Some("a=b")),
                "- k mine %default% a=b",
            ),
            (
                network,
                settings(false, true),
                built(Initrd, None, None),
                "- kernel mine -",
            ),
            (network, settings(true, false), built(Initrd, None, None), ""),
            (
                virtual_media,
                settings(true, true),
                Ramdisk::Configured,
                "iso - - -",
            ),
            (
                network,
                settings(true, true),
                Ramdisk::Configured,
                "- kernel ramdisk -",
            ),
            (network, settings(true, false), Ramdisk::Configured, ""),
            (
                virtual_media,
                settings(false, true),
                Ramdisk::Configured,
                "- kernel ramdisk -",
            ),
            (virtual_media, settings(false, false), Ramdisk::Configured, ""),
            (virtual_media, settings(true, true), Ramdisk::Missing, ""),
        ] {
            let keys = keys(&settings, &bmc(scheme), &ramdisk);
            let shown: Vec<String> = keys
                .iter()
                .flatten()
                .map(|(_, value)| value.as_str().unwrap_or("-").to_owned())
                .collect();
            assert_eq!(shown.join(" "), expected, "{scheme} {ramdisk:?}");
        }
    }

    #[test]
    fn a_ramdisk_is_needed_where_one_is_about_to_run() {
        use ProvisioningState as S;
        let args = |state| RegisterArgs {
            state,
            ..RegisterArgs::default()
        };
        for (args, expected) in [
            (args(S::Registering), false),
            (args(S::Inspecting), true),
            (
                RegisterArgs {
                    inspection: Some(InspectionMode::Fast),
                    ..args(S::Inspecting)
                },
                false,
            ),
            (args(S::Preparing), true),
            (args(S::Available), false),
            (args(S::Provisioning), false),
            (args(S::Provisioned), false),
            (
                RegisterArgs {
                    servicing: true,
                    ..args(S::Provisioned)
                },
                true,
            ),
            (
                RegisterArgs {
                    servicing: true,
                    ..args(S::ExternallyProvisioned)
                },
                true,
            ),
            (args(S::Deprovisioning), true),
            (
                RegisterArgs {
                    cleaning: CleaningMode::Disabled,
                    ..args(S::Deprovisioning)
                },
                false,
            ),
            (args(S::PoweringOffBeforeDelete), false),
        ] {
            assert_eq!(needed(&args), expected, "{args:?}");
        }
    }
}
