//! Power.

use metal3_provisioner::{
    CleaningMode, Error, HostRef, OnFailure, Outcome, PowerArgs, PowerTarget, WaitReason,
};
use reqwest::StatusCode;

use super::{IronicProvisioner, LONG, SHORT, locked};
use crate::client::Node;

pub(super) async fn set_power(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &PowerArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered(host).await?;
    match args.target {
        PowerTarget::On => on(ironic, &node, args).await,
        PowerTarget::SoftOff | PowerTarget::HardOff => off(ironic, &node, args).await,
    }
}

async fn on(ironic: &IronicProvisioner, node: &Node, args: &PowerArgs) -> Result<Outcome, Error> {
    if node.power_state.as_deref() == Some("power on") {
        return Ok(Outcome::done());
    }
    if node.target_power_state.as_deref() == Some("power on") {
        return Ok(waiting());
    }
    if let Some(error) = node.error()
        && args.on_failure == OnFailure::Report
    {
        return Ok(Outcome::failed(format!("PowerOn operation failed: {error}")));
    }
    change(ironic, node, "power on", "PowerOn", "Host powered on").await
}

async fn off(ironic: &IronicProvisioner, node: &Node, args: &PowerArgs) -> Result<Outcome, Error> {
    match node.provision_state.as_str() {
        "inspect wait" => return ironic.target(node, "abort", WaitReason::BackendTransition).await,
        "inspecting" => return Ok(Outcome::working(WaitReason::Inspecting, LONG)),
        "inspect failed" if node.target_provision_state.is_some() => {
            return ironic.target(node, "manage", WaitReason::BackendTransition).await;
        }
        // Manual cleaning goes back to manageable.
        "clean wait"
            if args.cleaning == CleaningMode::Disabled
                || node.target_provision_state.as_deref() == Some("manageable") =>
        {
            return ironic.target(node, "abort", WaitReason::BackendTransition).await;
        }
        "clean wait" | "cleaning" => return Ok(Outcome::working(WaitReason::Cleaning, LONG)),
        _ => {}
    }
    if node.power_state.as_deref() == Some("power off") {
        return Ok(Outcome::done());
    }
    if matches!(
        node.target_power_state.as_deref(),
        Some("power off" | "soft power off")
    ) {
        return Ok(waiting());
    }
    let retry = args.on_failure == OnFailure::Restart;
    if let Some(error) = node.error().filter(|error| !error.contains("aborted"))
        && node.target_power_state.is_none()
        && !retry
    {
        return Ok(Outcome::failed(error));
    }
    if args.target == PowerTarget::SoftOff
        && !retry
        && let Some(outcome) = soft(ironic, node).await?
    {
        return Ok(outcome);
    }
    change(ironic, node, "power off", "PowerOff", "Host powered off").await
}

/// `None`: the driver cannot; the hard way is left.
async fn soft(ironic: &IronicProvisioner, node: &Node) -> Result<Option<Outcome>, Error> {
    if node.target_provision_state.is_some() {
        return Ok(Some(Outcome::working(WaitReason::BackendTransition, SHORT)));
    }
    let timeout = Some(PowerArgs::SOFT_POWER_OFF_TIMEOUT.as_secs());
    let answer = ironic
        .client
        .power_state(&node.uuid, "soft power off", timeout)
        .await;
    ironic.mirror.wrote(&node.uuid);
    match answer? {
        Ok(()) => Ok(Some(
            waiting().started().notice("PowerOff", "Host soft powered off"),
        )),
        Err(refusal) if refusal.is_conflict() => Ok(Some(locked())),
        Err(refusal) if refusal.status() == StatusCode::BAD_REQUEST => Ok(None),
        Err(refusal) => Err(refusal.into_error(&format!("the power of node {}", node.uuid))),
    }
}

async fn change(
    ironic: &IronicProvisioner,
    node: &Node,
    target: &str,
    event: &'static str,
    message: &str,
) -> Result<Outcome, Error> {
    // Ironic refuses power changes while it works on the node.
    if node.target_provision_state.is_some() && node.in_transition() {
        return Ok(Outcome::working(WaitReason::BackendTransition, SHORT));
    }
    let answer = ironic.client.power_state(&node.uuid, target, None).await;
    ironic.mirror.wrote(&node.uuid);
    match answer? {
        Ok(()) => Ok(waiting().started().notice(event, message)),
        Err(refusal) if refusal.is_conflict() => Ok(locked()),
        Err(refusal) => Err(refusal.into_error(&format!("the power of node {}", node.uuid))),
    }
}

const fn waiting() -> Outcome {
    Outcome::working(WaitReason::PowerChanging, SHORT)
}
