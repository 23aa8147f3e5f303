//! The host service is away while machines are in every phase: each says so, nothing is written over and over, and all go on
//! when it is back, without a restart.
//!
//! That it does not matter how long it was away is shown in virtual time: `queue/tests.rs` of the provider for the delays
//! between passes, `outage.rs` of the client for the stream.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use metal3_api::capi::Cluster;
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3Remediation};
use metal3_testkit::wait;
use serde_json::json;

use crate::lab::{ASSOCIATED, Lab, META_DATA, PROVISIONED};
use crate::world::World;

const AWAY: &str = "HostServiceUnavailable";

/// A machine with its host, which is on its way.
async fn boots(lab: &Lab, machine: &str, cluster: &str) -> String {
    lab.free_host(&format!("host-of-{machine}"));
    lab.machine(machine, cluster).await;
    let host = lab.claimed(machine).await;
    lab.condition::<Metal3Machine>(machine, PROVISIONED, "False", "Provisioning")
        .await;
    host
}

/// A Metal3Machine says that nobody answers, and since when.
async fn says_so(lab: &Lab, machine: &str, type_: &str) -> String {
    let away = [type_, "False", AWAY];
    lab.condition_saying::<Metal3Machine>(machine, away, "does not answer since 2")
        .await
}

/// Waits until each of the machines was looked at once more.
async fn pass(world: &World, machines: &[&str]) {
    let process = &world.capm3.process;
    let looks = || {
        let log = process.log();
        let waits: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("machine waits"))
            .collect();
        let of = |machine: &&str| {
            let machine = format!(r#""machine":"{}/{machine}""#, world.lab.namespace);
            waits.iter().filter(|line| line.contains(&machine)).count()
        };
        machines.iter().map(of).collect::<Vec<_>>()
    };
    let before = looks();
    wait::until("one more pass over each machine", wait::LONG, async || {
        let now = looks();
        let done = now.iter().zip(&before).all(|(now, before)| now > before);
        if done {
            Ok(())
        } else {
            Err(format!("{before:?}, {now:?}"))
        }
    })
    .await;
}

async fn versions(lab: &Lab, machines: &[&'static str]) -> BTreeMap<&'static str, Option<String>> {
    let mut versions = BTreeMap::new();
    for machine in machines {
        let object: Metal3Machine = lab.get(machine).await;
        versions.insert(*machine, object.resource_version());
    }
    versions
}

#[tokio::test]
async fn machines_in_every_phase_say_that_the_host_service_is_away_and_go_on_when_it_is_back() {
    let mut world = World::start("long-outage").await;
    let lab = &world.lab;
    for cluster in ["c", "d"] {
        lab.ready_cluster(cluster).await;
    }
    lab.kubeconfig_secret("c").await;
    for machine in ["runs", "sick"] {
        lab.free_host(&format!("host-of-{machine}"));
        lab.machine(machine, "c").await;
        lab.becomes_a_node(machine).await;
        lab.switched_on(&format!("host-of-{machine}"));
    }
    let booting = boots(lab, "boots", "c").await;
    boots(lab, "goes", "c").await;
    boots(lab, "moves", "d").await;
    lab.machine("waits", "c").await;
    let none = "AssociateBareMetalHostFailed";
    lab.condition::<Metal3Machine>("waits", ASSOCIATED, "False", none)
        .await;

    world.service_goes();
    let lab = &world.lab;
    // What happens meanwhile happens to hosts, machines and clusters alike.
    lab.host_is_provisioned(&booting);
    lab.node(&booting).await;
    lab.machine("new", "c").await;
    lab.delete::<Metal3Machine>("goes").await;
    lab.patch::<Cluster>("d", json!({"spec": {"paused": true}})).await;
    lab.is_sick("sick").await;
    // Those that only wait look by themselves later, and sooner when they are touched.
    for machine in ["waits", "boots"] {
        let touch = json!({"metadata": {"annotations": {"touched": "yes"}}});
        lab.patch::<Metal3Machine>(machine, touch).await;
    }
    says_so(lab, "new", ASSOCIATED).await;
    says_so(lab, "waits", ASSOCIATED).await;
    says_so(lab, "boots", PROVISIONED).await;
    says_so(lab, "goes", META_DATA).await;
    let failed = ["Paused", "False", "BareMetalHostPauseAnnotationSetFailed"];
    lab.condition_saying::<Metal3Machine>("moves", failed, "does not answer since 2")
        .await;
    lab.told("sick", AWAY, "does not answer since 2").await;
    lab.condition::<Metal3Machine>("runs", "Ready", "True", "Ready")
        .await;
    for host in ["one", "two"] {
        lab.free_host(host);
    }

    // The same words each time are written once.
    let all = ["new", "waits", "boots", "goes", "moves"];
    pass(&world, &all).await;
    let before = versions(lab, &all).await;
    pass(&world, &all).await;
    assert_eq!(versions(lab, &all).await, before);
    let calls = lab.hosts.with(|hosts| hosts.log.clone());

    world.service_comes().await;
    let lab = &world.lab;
    lab.claimed("new").await;
    lab.claimed("waits").await;
    lab.condition::<Metal3Machine>("boots", "Ready", "True", "Ready")
        .await;
    lab.is_gone::<Metal3Machine>("goes").await;
    lab.condition::<Metal3Machine>("moves", "Paused", "True", "Paused")
        .await;
    lab.phase("sick", "Waiting", 0).await;
    lab.delete::<Metal3Remediation>("sick").await;
    lab.is_gone::<Metal3Remediation>("sick").await;
    lab.condition::<Metal3Machine>("runs", "Ready", "True", "Ready")
        .await;
    let granted = lab.hosts.with(|hosts| hosts.granted.clone());
    let mut machines: Vec<_> = granted.iter().map(|(_, machine)| machine.as_str()).collect();
    machines.sort_unstable();
    assert_eq!(
        machines,
        ["boots", "goes", "moves", "new", "runs", "sick", "waits"],
        "each got one host"
    );
    assert!(lab.hosts.with(|hosts| hosts.log.starts_with(&calls)));
}
