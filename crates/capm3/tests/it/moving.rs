//! What `clusterctl move` waits for, and what comes after it.

use kube::ResourceExt as _;
use metal3_api::capi::Cluster;
use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_api::names::PAUSED_BY_CAPM3;
use metal3_testkit::wait;
use serde_json::json;
use tonic::Status;

use crate::lab::Lab;
use crate::world::World;

/// Waits until a host is paused by somebody, or by nobody, and whether `clusterctl` waits for it.
async fn host_is(lab: &Lab, host: &str, paused_by: Option<&str>, guarded: bool) {
    let what = format!("host {host} to be paused by {paused_by:?}");
    wait::until(&what, wait::LONG, async || {
        let (paused, waits) = lab.hosts.with(|world| {
            let waits = world.guarded.contains(host);
            (world.hosts[host].paused_by.clone(), waits)
        });
        if (paused.as_deref(), waits) == (paused_by, guarded) {
            Ok(())
        } else {
            Err(format!("{paused:?}, guarded: {waits}"))
        }
    })
    .await;
}

async fn pause(lab: &Lab, paused: bool) {
    lab.patch::<Cluster>("c", json!({"spec": {"paused": paused}}))
        .await;
}

async fn shows(lab: &Lab, machine: &str, status: &str, reason: &str) -> String {
    lab.condition::<Metal3Machine>(machine, "Paused", status, reason)
        .await
}

#[tokio::test]
async fn hosts_are_paused_with_their_cluster_and_go_on_with_it() {
    let world = World::start("moving").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.free_host("a");
    lab.machine("m", "c").await;
    lab.becomes_a_node("m").await;
    lab.free_host("b");
    lab.machine("n", "c").await;
    lab.claimed("n").await;
    host_is(lab, "a", None, true).await;

    pause(lab, true).await;
    for (machine, host) in [("m", "a"), ("n", "b")] {
        shows(lab, machine, "True", "Paused").await;
        host_is(lab, host, Some(PAUSED_BY_CAPM3), false).await;
    }
    // What clusterctl deletes after it was copied takes nothing along.
    let copied = json!({"metadata": {"annotations": {"clusterctl.cluster.x-k8s.io/delete-for-move": ""}}});
    lab.patch::<Metal3Machine>("n", copied).await;
    lab.delete::<Metal3Machine>("n").await;
    lab.patch::<Metal3Machine>("n", json!({"metadata": {"finalizers": null}}))
        .await;
    lab.is_gone::<Metal3Machine>("n").await;
    assert_eq!(lab.hosts.with(|world| world.releases.len()), 0);

    pause(lab, false).await;
    shows(lab, "m", "False", "NotPaused").await;
    host_is(lab, "a", None, true).await;
    lab.condition::<Metal3Machine>("m", "Ready", "True", "Ready")
        .await;
    let calls = lab.hosts.with(|world| world.granted.len());
    assert_eq!(calls, 2, "no machine claimed another host");
}

#[tokio::test]
async fn a_pause_that_fails_is_told_and_made_up_for_by_itself() {
    let world = World::start("moving-later").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.free_host("a");
    lab.machine("m", "c").await;
    lab.claimed("m").await;

    let fail = |method: &'static str| {
        lab.hosts.with(|world| {
            world
                .failures
                .insert(method, Status::unavailable("out for lunch"));
        });
    };
    let recover = || lab.hosts.with(|world| world.failures.clear());
    fail("PrepareMove");
    pause(lab, true).await;
    let message = shows(lab, "m", "False", "BareMetalHostPauseAnnotationSetFailed").await;
    assert!(message.contains("out for lunch"), "{message}");
    host_is(lab, "a", None, true).await;
    recover();
    shows(lab, "m", "True", "Paused").await;
    host_is(lab, "a", Some(PAUSED_BY_CAPM3), false).await;

    fail("ResumeAfterMove");
    pause(lab, false).await;
    let message = shows(lab, "m", "False", "BareMetalHostPauseAnnotationRemoveFailed").await;
    assert!(message.contains("out for lunch"), "{message}");
    recover();
    shows(lab, "m", "False", "NotPaused").await;
    host_is(lab, "a", None, true).await;
}

#[tokio::test]
async fn a_machine_that_went_while_its_cluster_was_paused_gives_its_host_back() {
    let world = World::start("moving-end").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.free_host("a");
    lab.machine("m", "c").await;
    lab.claimed("m").await;
    lab.host_is_provisioned("a");
    pause(lab, true).await;
    shows(lab, "m", "True", "Paused").await;
    lab.delete::<Metal3Machine>("m").await;
    host_is(lab, "a", Some(PAUSED_BY_CAPM3), false).await;
    let machine: Metal3Machine = lab.get("m").await;
    assert!(!machine.finalizers().is_empty());

    pause(lab, false).await;
    lab.is_gone::<Metal3Machine>("m").await;
    host_is(lab, "a", None, false).await;
}
