//! Power.

use metal3_api::metal3::host::ErrorType;
use metal3_provisioner::{
    CleaningMode, Error, HostRef, OnFailure, Outcome, PowerArgs, PowerTarget, WaitReason,
};
use reqwest::StatusCode;

use super::drive::{failed, locked};
use super::{IronicProvisioner, LONG, SHORT};
use crate::client::{Accepted, Node};

/// Hosts that must never be off are restarted instead.
const REBOOTED: &str = "Rebooted";

pub(super) async fn set_power(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &PowerArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered(host).await?;
    match args.target {
        PowerTarget::On => on(ironic, &node, args).await,
        PowerTarget::SoftOff | PowerTarget::HardOff => off(ironic, host, &node, args).await,
    }
}

async fn on(ironic: &IronicProvisioner, node: &Node, args: &PowerArgs) -> Result<Outcome, Error> {
    if node.power_state.as_deref() == Some("power on") {
        ironic.asked().remove(&node.uuid);
        return Ok(Outcome::done());
    }
    if node.target_power_state.as_deref() == Some("power on") {
        return Ok(waiting());
    }
    if let Some(error) = failure(ironic, node)
        && args.on_failure == OnFailure::Report
    {
        return Ok(failed(
            ErrorType::PowerManagement,
            format!("PowerOn operation failed: {error}"),
        ));
    }
    change(ironic, node, "power on", "PowerOn", "Host powered on").await
}

async fn off(
    ironic: &IronicProvisioner,
    host: &HostRef,
    node: &Node,
    args: &PowerArgs,
) -> Result<Outcome, Error> {
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
        ironic.asked().remove(&node.uuid);
        return Ok(Outcome::done());
    }
    if matches!(
        node.target_power_state.as_deref(),
        Some("power off" | "soft power off")
    ) {
        return Ok(waiting());
    }
    let retry = args.on_failure == OnFailure::Restart;
    if let Some(error) = failure(ironic, node)
        && node.target_power_state.is_none()
        && !retry
    {
        return Ok(failed(ErrorType::PowerManagement, error));
    }
    let node = &ironic.registered_full(host).await?;
    let reboots = node.disable_power_off == Some(true);
    if reboots && node.target_power_state.is_some() {
        return Ok(waiting());
    }
    if args.target == PowerTarget::SoftOff
        && !retry
        && let Some(outcome) = soft(ironic, node, reboots).await?
    {
        return Ok(outcome);
    }
    if reboots {
        return change(ironic, node, "rebooting", REBOOTED, "Host rebooted").await;
    }
    change(ironic, node, "power off", "PowerOff", "Host powered off").await
}

/// The failure of our own last request. Errors of other work stay on a node for long, and say nothing about power.
fn failure<'a>(ironic: &IronicProvisioner, node: &'a Node) -> Option<&'a str> {
    let error = node.error()?;
    let asked = ironic.asked();
    let before = asked.get(&node.uuid)?;
    // A power change clears what was before, except in these states. There the lock tells whether it is over.
    let kept = node.provision_state.ends_with("failed")
        && before.as_deref() == Some(error)
        && node.reservation.is_some();
    (!kept).then_some(error)
}

/// `None`: the driver cannot; the hard way is left.
async fn soft(ironic: &IronicProvisioner, node: &Node, reboots: bool) -> Result<Option<Outcome>, Error> {
    if node.target_provision_state.is_some() {
        return Ok(Some(Outcome::working(WaitReason::BackendTransition, SHORT)));
    }
    let timeout = Some(PowerArgs::SOFT_POWER_OFF_TIMEOUT.as_secs());
    let (target, event, message) = if reboots {
        ("soft rebooting", REBOOTED, "Host soft rebooted")
    } else {
        ("soft power off", "PowerOff", "Host soft powered off")
    };
    match ask(ironic, node, target, timeout).await? {
        Ok(()) => Ok(Some(waiting().started().notice(event, message))),
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
    match ask(ironic, node, target, None).await? {
        Ok(()) => Ok(waiting().started().notice(event, message)),
        Err(refusal) if refusal.is_conflict() => Ok(locked()),
        Err(refusal) => Err(refusal.into_error(&format!("the power of node {}", node.uuid))),
    }
}

/// Sends the request, and remembers the error that was there before.
async fn ask(
    ironic: &IronicProvisioner,
    node: &Node,
    target: &str,
    timeout: Option<i64>,
) -> Result<Accepted, Error> {
    let answer = ironic.client.power_state(&node.uuid, target, timeout).await;
    ironic.mirror.wrote(&node.uuid);
    let answer = answer?;
    if answer.is_ok() {
        ironic.asked().insert(node.uuid.clone(), node.last_error.clone());
    }
    Ok(answer)
}

const fn waiting() -> Outcome {
    Outcome::working(WaitReason::PowerChanging, SHORT)
}
