//! The host service is away while a machine is remediated.

use kube::ResourceExt as _;
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3Remediation};
use metal3_testkit::{events, wait};
use serde_json::json;
use tonic::Status;

use super::{GIVEN_UP, RUNNING, WAITING, is_tainted, start};
use crate::lab::Lab;

const TO_MARK: &str = "remediation.metal3.io/host-to-mark";

/// These calls fail, and no others.
fn away(lab: &Lab, methods: &[&'static str]) {
    let failures = methods
        .iter()
        .map(|method| (*method, Status::unavailable("away")));
    lab.hosts.with(|world| world.failures = failures.collect());
}

#[tokio::test]
async fn a_host_service_that_is_away_is_told_and_makes_no_attempt_longer() {
    let world = start("away").await;
    let lab = &world.lab;
    let (host, node) = lab.running("m").await;
    away(lab, &["HoldPowerOff"]);
    lab.is_sick("m").await;
    lab.told("m", "HostServiceUnavailable", "does not answer since 2")
        .await;
    lab.phase("m", RUNNING, 0).await;
    away(lab, &[]);
    lab.phase("m", WAITING, 0).await;

    // The time of both attempts passes without it.
    away(lab, &["GetHost", "ReleasePowerHold", "MarkHealth"]);
    lab.time_passes("m").await;
    lab.phase("m", RUNNING, 1).await;
    lab.told("m", "HostServiceUnavailable", "away").await;
    lab.time_passes("m").await;
    lab.phase("m", GIVEN_UP, 1).await;
    lab.told("m", "RemediationFailed", "could not be rebooted").await;
    let event = events::expect(&lab.plane.client(), &lab.namespace, "m", "HostNotMarked").await;
    assert!(event.contains("later"), "{event}");
    let remediation: Metal3Remediation = lab.get("m").await;
    assert!(remediation.annotations().contains_key(TO_MARK));
    assert!(!lab.hosts.with(|world| world.hosts[&host].unhealthy));

    // What is owed to the host is made up for.
    away(lab, &[]);
    nothing_is_owed(lab).await;
    lab.is_given_up("m", &host).await;
    lab.told("m", "RemediationFailed", "given up").await;

    away(lab, &["ReleasePowerHold"]);
    lab.delete::<Metal3Remediation>("m").await;
    lab.told(
        "m",
        "HostServiceUnavailable",
        "when its host is not held any more",
    )
    .await;
    let waits: Metal3Remediation = lab.get("m").await;
    assert!(!waits.finalizers().is_empty(), "the host may still be held");
    away(lab, &[]);
    lab.is_gone::<Metal3Remediation>("m").await;
    assert!(!is_tainted(&node).await);
}

async fn nothing_is_owed(lab: &Lab) {
    wait::until("nothing to be owed to the host", wait::LONG, async || {
        let remediation: Metal3Remediation = lab.get("m").await;
        let owed = remediation.annotations().get(TO_MARK).cloned();
        owed.map_or(Ok(()), Err)
    })
    .await;
}

#[tokio::test]
async fn a_host_that_its_machine_gave_back_before_it_could_be_marked_is_told() {
    let world = start("unmarked").await;
    let lab = &world.lab;
    let (host, _) = lab.running("m").await;
    lab.is_sick("m").await;
    lab.phase("m", WAITING, 0).await;
    away(lab, &["GetHost", "ReleasePowerHold", "MarkHealth"]);
    lab.time_passes("m").await;
    lab.phase("m", RUNNING, 1).await;
    lab.time_passes("m").await;
    lab.phase("m", GIVEN_UP, 1).await;

    // Its owner replaces the Machine, and the release is done first. Somebody else keeps the object.
    let machine: Metal3Machine = lab.get("m").await;
    let kept = [machine.finalizers(), &["example.com/kept".to_owned()]].concat();
    lab.patch::<Metal3Machine>("m", json!({"metadata": {"finalizers": kept}}))
        .await;
    lab.delete::<Metal3Machine>("m").await;
    wait::until("the host to be given back", wait::LONG, async || {
        let owner = lab.hosts.with(|world| world.hosts[&host].consumer.clone());
        owner.map_or(Ok(()), |owner| Err(owner.name))
    })
    .await;
    away(lab, &[]);
    nothing_is_owed(lab).await;
    let told = events::about(&lab.plane.client(), &lab.namespace, "m")
        .await
        .unwrap();
    let mut told = told.into_iter().filter_map(|event| event.message);
    let given_back = format!("host unmarked/{host} was given back before it could be marked unhealthy");
    assert!(
        told.any(|message| message.starts_with(&given_back)),
        "nobody is told"
    );
    assert!(!lab.hosts.with(|world| world.hosts[&host].unhealthy));
    lab.patch::<Metal3Machine>("m", json!({"metadata": {"finalizers": null}}))
        .await;
    lab.is_gone::<Metal3Machine>("m").await;
    lab.delete::<Metal3Remediation>("m").await;
    lab.is_gone::<Metal3Remediation>("m").await;
}
