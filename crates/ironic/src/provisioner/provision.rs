//! Deployment.

use metal3_api::metal3::host::{BootMode, Image};
use metal3_provisioner::{Error, FailureCause, Force, HostRef, Outcome, ProvisionArgs, WaitReason};
use serde_json::{Value, json};

use super::patch::Patch;
use super::{IronicProvisioner, LONG, config_drive, hints, locked};
use crate::client::Node;

const UNKNOWN_CAUSE: &str = "Ironic does not tell the cause; see the log of its conductor";

pub(super) async fn provision(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &ProvisionArgs,
) -> Result<Outcome, Error> {
    if let Some(problem) = args.deploy.image.as_ref().and_then(checksum_problem) {
        return Ok(Outcome::failed(
            FailureCause::Unknown,
            format!("Validation failed: {problem}"),
        ));
    }
    let node = ironic.registered(host).await?;
    match node.provision_state.as_str() {
        "manageable" => ironic.target(&node, "provide", WaitReason::Cleaning).await,
        "available" => activate(ironic, host, args).await,
        "deploy failed" => {
            let node = ironic.registered_full(host).await?;
            if !same_image(&node, args) {
                return activate(ironic, host, args).await;
            }
            // Ironic 39 loses the cause of a failed step when it powers the machine off: to wait for it would be for ever.
            Ok(if node.reservation.is_some() {
                locked()
            } else {
                Outcome::failed(
                    FailureCause::Unknown,
                    failure(args, node.error().unwrap_or(UNKNOWN_CAUSE)),
                )
            })
        }
        "clean failed" if node.maintenance => ironic.clear_maintenance(&node).await,
        "clean failed" => {
            ironic
                .target(&node, "manage", WaitReason::BackendTransition)
                .await
        }
        "active" => Ok(Outcome::done().notice(
            "ProvisioningComplete",
            format!("Image provisioning completed for {}", title(args)),
        )),
        "wait call-back" if args.force_reboot == Force::Yes => {
            ironic.target(&node, "deleted", WaitReason::Undeploying).await
        }
        "cleaning" | "clean wait" => Ok(Outcome::working(WaitReason::Cleaning, LONG)),
        "deploying" | "wait call-back" => Ok(Outcome::working(WaitReason::Deploying, LONG)),
        _ => Ok(Outcome::working(WaitReason::BackendTransition, LONG)),
    }
}

fn title(args: &ProvisionArgs) -> &str {
    let url = args.deploy.image.as_ref().map(|image| image.url.as_str());
    url.or(args.deploy.custom_deploy_method.as_deref())
        .unwrap_or_default()
}

fn failure(args: &ProvisionArgs, error: &str) -> String {
    let checksum = args
        .deploy
        .image
        .as_ref()
        .and_then(|image| image.checksum.as_deref());
    let checksum = checksum
        .map(|checksum| format!(", checksum: {checksum}"))
        .unwrap_or_default();
    format!(
        "Image provisioning failed (url: {}{checksum}): {error}",
        title(args)
    )
}

fn is_live(image: &Image) -> bool {
    image.format.as_deref() == Some("live-iso")
}

fn is_oci(image: &Image) -> bool {
    image.url.starts_with("oci://")
}

fn checksum(image: &Image) -> &str {
    image.checksum.as_deref().unwrap_or_default()
}

/// The kind of checksum that Ironic is told; `None` lets it find out.
fn algorithm(image: &Image) -> Option<&str> {
    image
        .checksum_type
        .as_deref()
        .filter(|kind| !kind.is_empty() && *kind != "auto")
}

fn checksum_problem(image: &Image) -> Option<&'static str> {
    if is_oci(image) {
        (!checksum(image).is_empty()).then_some(
            "spec.image.checksum must be empty for OCI images (oci:// images have embedded checksums)",
        )
    } else {
        (!is_live(image) && checksum(image).is_empty()).then_some("checksum is required for normal images")
    }
}

/// What the node's `instance_info` must hold.
fn instance_info(args: &ProvisionArgs) -> Vec<(&'static str, Value)> {
    let capabilities = match args.boot_mode {
        BootMode::UefiSecureBoot => json!({"secure_boot": "true"}),
        BootMode::Uefi | BootMode::Legacy => json!({}),
    };
    let mut info = vec![
        ("capabilities", capabilities),
        ("root_device", hints::root_device(args.root_device_hints.as_ref())),
    ];
    let image = args.deploy.image.as_ref();
    let disk = image.filter(|image| !is_live(image));
    let typed = disk.and_then(|image| Some((algorithm(image)?, checksum(image))));
    let untyped = disk.filter(|image| algorithm(image).is_none() && !checksum(image).is_empty());
    info.extend([
        ("image_source", disk.map_or(Value::Null, |image| json!(image.url))),
        (
            "image_checksum",
            untyped.map_or(Value::Null, |image| json!(checksum(image))),
        ),
        (
            "image_os_hash_algo",
            typed.map_or(Value::Null, |(kind, _)| json!(kind)),
        ),
        (
            "image_os_hash_value",
            typed.map_or(Value::Null, |(_, sum)| json!(sum)),
        ),
        (
            "boot_iso",
            image
                .filter(|image| is_live(image))
                .map_or(Value::Null, |image| json!(image.url)),
        ),
    ]);
    if let Some(image) = disk {
        let format = image.format.as_deref().filter(|format| !format.is_empty());
        info.push((
            "image_disk_format",
            format.map_or(Value::Null, |format| json!(format)),
        ));
    }
    info
}

/// The failed deployment was of this very image.
fn same_image(node: &Node, args: &ProvisionArgs) -> bool {
    let keys = [
        "image_source",
        "image_checksum",
        "image_os_hash_algo",
        "image_os_hash_value",
        "boot_iso",
    ];
    instance_info(args)
        .into_iter()
        .filter(|(key, _)| keys.contains(key))
        .all(|(key, wanted)| node.instance_info.get(key).unwrap_or(&Value::Null) == &wanted)
}

async fn activate(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &ProvisionArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered_full(host).await?;
    let drive = match config_drive::build(host, &args.config_drive) {
        Ok(drive) => drive,
        Err(problem) => return Ok(Outcome::failed(FailureCause::Unknown, problem)),
    };
    let patch = deployment_patch(ironic, host, args, &node);
    let node = match ironic.patched(node, patch.operations()).await? {
        Ok(node) => node,
        Err(wait) => return Ok(wait),
    };
    match ironic.client.validate(&node.uuid).await? {
        Ok(problems) if problems.is_empty() => {}
        Ok(problems) => {
            return Ok(Outcome::failed(
                FailureCause::Unknown,
                format!("host validation error: {}", problems.join("; ")),
            ));
        }
        Err(refusal) if refusal.is_conflict() => return Ok(locked()),
        Err(refusal) => return Err(refusal.into_error(&format!("the validation of node {}", node.uuid))),
    }
    let live = args.deploy.image.as_ref().is_some_and(is_live);
    let mut body = json!({"target": "active", "configdrive": if live { json!({}) } else { drive }});
    if let Some(method) = &args.deploy.custom_deploy_method {
        body["deploy_steps"] = json!([{"interface": "deploy", "step": method, "args": {}, "priority": 80}]);
    }
    let outcome = ironic.verb(&node, &body, WaitReason::Deploying).await?;
    Ok(if outcome.started {
        outcome.notice(
            "ProvisioningStarted",
            format!("Image provisioning started for {}", title(args)),
        )
    } else {
        outcome
    })
}

fn deployment_patch(ironic: &IronicProvisioner, host: &HostRef, args: &ProvisionArgs, node: &Node) -> Patch {
    let mut patch = Patch::default();
    patch.field("instance_uuid", &json!(node.instance_uuid), &json!(host.uid));
    for (key, value) in instance_info(args) {
        patch.inner("instance_info", &node.instance_info, key, &value);
    }
    let live = args.deploy.image.as_ref().is_some_and(is_live);
    let (interface, boot_device) = if live {
        (Some("ramdisk"), Some(&ironic.settings.live_iso_boot_device))
    } else if args.deploy.custom_deploy_method.is_some() {
        (Some("custom-agent"), None)
    } else {
        (None, Some(&ironic.settings.direct_deploy_boot_device))
    };
    let current = node.deploy_interface.as_deref();
    match interface {
        Some(wanted) => patch.field("deploy_interface", &json!(current), &json!(wanted)),
        // Back to the conductor's default.
        None if matches!(current, Some("ramdisk" | "custom-agent")) => {
            patch.field("deploy_interface", &json!(current), &Value::Null);
        }
        None => {}
    }
    if let Some(device) = boot_device {
        patch.inner(
            "driver_info",
            &node.driver_info,
            "force_persistent_boot_device",
            &json!(device),
        );
    }
    patch
}

#[cfg(test)]
mod tests {
    use metal3_provisioner::DeployImage;

    use super::*;

    fn args(image: Image) -> ProvisionArgs {
        ProvisionArgs {
            deploy: DeployImage {
                image: Some(image),
                ..DeployImage::default()
            },
            ..ProvisionArgs::default()
        }
    }

    fn disk() -> Image {
        Image {
            url: "http://i".into(),
            checksum: Some("abc".into()),
            ..Image::default()
        }
    }

    #[test]
    fn an_untyped_checksum_is_left_to_ironic_and_a_typed_one_is_not() {
        let info = |image| {
            instance_info(&args(image))
                .into_iter()
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        let untyped = info(disk());
        assert_eq!(
            (&untyped["image_checksum"], &untyped["image_os_hash_algo"]),
            (&json!("abc"), &Value::Null)
        );
        let typed = info(Image {
            checksum_type: Some("sha256".into()),
            ..disk()
        });
        assert_eq!(
            (&typed["image_checksum"], &typed["image_os_hash_value"]),
            (&Value::Null, &json!("abc"))
        );
        let live = info(Image {
            format: Some("live-iso".into()),
            ..disk()
        });
        assert_eq!(
            (&live["image_source"], &live["boot_iso"]),
            (&Value::Null, &json!("http://i"))
        );
    }

    #[test]
    fn checksums_are_needed_where_upstream_needs_them() {
        assert!(
            checksum_problem(&Image {
                checksum: None,
                ..disk()
            })
            .is_some()
        );
        assert!(
            checksum_problem(&Image {
                url: "oci://r/i".into(),
                ..disk()
            })
            .is_some()
        );
        assert!(
            checksum_problem(&Image {
                format: Some("live-iso".into()),
                checksum: None,
                ..disk()
            })
            .is_none()
        );
    }

    #[test]
    fn a_failed_deployment_of_another_image_is_recognised() {
        let node = Node {
            instance_info: json!({"image_source": "http://i", "image_checksum": "abc"}),
            ..Node::default()
        };
        assert!(same_image(&node, &args(disk())));
        assert!(!same_image(
            &node,
            &args(Image {
                url: "http://j".into(),
                ..disk()
            })
        ));
    }
}
