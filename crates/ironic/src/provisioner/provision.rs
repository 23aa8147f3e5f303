//! Deployment.

use metal3_api::metal3::host::ErrorType;
use metal3_provisioner::{Error, FailureCause, Force, HostRef, Outcome, ProvisionArgs, WaitReason};
use serde_json::{Value, json};

use super::drive::{error_or, failed, locked};
use super::image::{self, Method};
use super::patch::Patch;
use super::{IronicProvisioner, LONG, SHORT, config_drive};
use crate::client::Node;

const UNKNOWN_CAUSE: &str = "Ironic does not tell the cause; see the log of its conductor";

pub(super) async fn provision(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &ProvisionArgs,
) -> Result<Outcome, Error> {
    // What is wrong with the spec is told before cleaning begins.
    if let Some(problem) = image::problem(args) {
        return Ok(Outcome::failed(
            FailureCause::Unsupported,
            format!("Validation failed: {problem}"),
        ));
    }
    let drive = match image::method(args) {
        // Nobody would read it.
        Method::LiveIso => json!({}),
        Method::Disk | Method::Custom => match config_drive::build(host, &args.config_drive) {
            Ok(drive) => drive,
            Err(problem) => return Ok(Outcome::failed(FailureCause::ConfigDriveInvalid, problem)),
        },
    };
    let node = ironic.registered(host).await?;
    match node.provision_state.as_str() {
        "manageable" => ironic.target(&node, "provide", WaitReason::Cleaning).await,
        "available" => activate(ironic, host, args, drive).await,
        "deploy failed" => after_failure(ironic, host, args, drive).await,
        "active" => Ok(Outcome::done().notice(
            "ProvisioningComplete",
            format!("Image provisioning completed for {}", image::title(args)),
        )),
        "wait call-back" if args.force_reboot == Force::Yes => {
            ironic.target(&node, "deleted", WaitReason::Undeploying).await
        }
        "cleaning" | "clean wait" => Ok(Outcome::working(WaitReason::Cleaning, LONG)),
        "deploying" | "wait call-back" => Ok(Outcome::working(WaitReason::Deploying, LONG)),
        "deleting" => Ok(Outcome::working(WaitReason::Undeploying, LONG)),
        "adopting" => Ok(Outcome::working(WaitReason::Adopting, SHORT)),
        "enroll" | "verifying" => Ok(Outcome::working(WaitReason::VerifyingBmcAccess, SHORT)),
        "inspecting" => Ok(Outcome::working(WaitReason::Inspecting, LONG)),
        "inspect wait" => ironic.target(&node, "abort", WaitReason::BackendTransition).await,
        "inspect failed" | "adopt failed" => {
            ironic
                .target(&node, "manage", WaitReason::BackendTransition)
                .await
        }
        // Somebody halted the deployment, and has to let it go on.
        "deploy hold" | "clean hold" => Ok(Outcome::working(WaitReason::BackendTransition, LONG)),
        "clean failed" => Ok(failed(
            ErrorType::Provisioning,
            format!("Cleaning failed: {}", error_or(&node, "")),
        )),
        // Nothing leads from these to a deployment but deprovisioning, which follows this failure.
        state => Ok(failed(
            ErrorType::Provisioning,
            format!(
                "the node is in state {state:?}, from which nothing can be deployed: {}",
                error_or(&node, UNKNOWN_CAUSE)
            ),
        )),
    }
}

/// The last deployment failed: of this image, which is told, or of another one, which is replaced.
async fn after_failure(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &ProvisionArgs,
    drive: Value,
) -> Result<Outcome, Error> {
    let node = ironic.registered_full(host).await?;
    if node.provision_state != "deploy failed" {
        return Ok(Outcome::working(WaitReason::BackendTransition, SHORT));
    }
    if image::is_same(&node, args) {
        // Ironic 39 loses the cause of a failed step when it powers the machine off: to wait for it would be for ever.
        return Ok(if node.reservation.is_some() {
            locked()
        } else {
            let message = image::failure(args, node.error().unwrap_or(UNKNOWN_CAUSE));
            failed(ErrorType::Provisioning, message)
        });
    }
    // Ironic does not let interfaces be changed here.
    let mut interface = Patch::default();
    deploy_interface(&mut interface, image::method(args), &node);
    if interface.operations().is_empty() {
        return activate(ironic, host, args, drive).await;
    }
    ironic.target(&node, "deleted", WaitReason::Undeploying).await
}

async fn activate(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &ProvisionArgs,
    drive: Value,
) -> Result<Outcome, Error> {
    // Only here is it handed over: nothing runs yet that would have to be undone, and what runs has one.
    if image::lacks_login(args) {
        return Ok(Outcome::working(WaitReason::PullSecretUnusable, LONG));
    }
    let node = ironic.registered_full(host).await?;
    let patch = deployment_patch(ironic, host, args, &node);
    let node = match ironic.patched(node, &patch).await? {
        Ok(node) => node,
        Err(wait) => return Ok(wait),
    };
    match ironic.client.validate(&node.uuid).await? {
        Ok(problems) if problems.is_empty() => {}
        Ok(problems) => {
            let message = format!("host validation error: {}", problems.join("; "));
            return Ok(failed(ErrorType::Provisioning, message));
        }
        Err(refusal) if refusal.is_conflict() => return Ok(locked()),
        Err(refusal) => return Err(refusal.into_error(&format!("the validation of node {}", node.uuid))),
    }
    let mut body = json!({"target": "active", "configdrive": drive});
    if let Some(method) = &args.deploy.custom_deploy_method {
        body["deploy_steps"] = json!([{"interface": "deploy", "step": method, "args": {}, "priority": 80}]);
    }
    let outcome = ironic.verb(&node, &body, WaitReason::Deploying).await?;
    Ok(if outcome.started {
        outcome.notice(
            "ProvisioningStarted",
            format!("Image provisioning started for {}", image::title(args)),
        )
    } else {
        outcome
    })
}

fn deployment_patch(ironic: &IronicProvisioner, host: &HostRef, args: &ProvisionArgs, node: &Node) -> Patch {
    let mut patch = Patch::default();
    patch.field("instance_uuid", &json!(node.instance_uuid), &json!(host.uid));
    for (key, value) in image::instance_info(args) {
        if let Some(value) = value {
            patch.inner("instance_info", &node.instance_info, key, &value);
        }
    }
    let method = image::method(args);
    deploy_interface(&mut patch, method, node);
    let boot_device = match method {
        Method::LiveIso => Some(&ironic.settings.live_iso_boot_device),
        Method::Disk => Some(&ironic.settings.direct_deploy_boot_device),
        Method::Custom => None,
    };
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

fn deploy_interface(patch: &mut Patch, method: Method, node: &Node) {
    let current = node.deploy_interface.as_deref();
    let wanted = match method {
        Method::LiveIso => json!("ramdisk"),
        Method::Custom => json!("custom-agent"),
        // Back to the conductor's default.
        Method::Disk if matches!(current, Some("ramdisk" | "custom-agent")) => Value::Null,
        Method::Disk => return,
    };
    patch.field("deploy_interface", &json!(current), &wanted);
}
