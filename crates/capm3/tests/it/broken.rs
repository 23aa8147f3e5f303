//! Things go that a machine stands on: its host, its Machine, the way into the workload cluster. Its conditions say so, it
//! recovers when they are back, and nothing is lost or done twice.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use metal3_api::capi::Machine;
use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{CleaningMode, Host, WatchHostsResponse};
use metal3_testkit::{events, port, wait};
use serde_json::json;

use crate::hosts::Hosts;
use crate::lab::{ASSOCIATED, META_DATA};
use crate::workload;
use crate::world::World;

/// Somebody deletes a host; it is answered as it was.
pub(crate) fn remove(hosts: &Hosts, name: &str) -> Host {
    let (host, message) = hosts.with(|world| {
        world.revision += 1;
        let host = world.hosts.remove(name).unwrap();
        let message = WatchHostsResponse {
            r#type: Type::Deleted.into(),
            host: Some(host.clone()),
            revision: world.revision.to_string(),
        };
        (host, message)
    });
    hosts.tell(message);
    host
}

fn provisioned(machine: &Metal3Machine) -> bool {
    json!(machine.status)["initialization"]["provisioned"] == true
}

#[tokio::test]
async fn a_host_that_is_deleted_under_its_machine_is_told_and_taken_back_when_it_returns() {
    let world = World::start("broken-host").await;
    let lab = &world.lab;
    lab.free_host("a");
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.machine("m", "c").await;
    lab.becomes_a_node("m").await;
    let gone = remove(&lab.hosts, "a");
    lab.free_host("b");
    let missing = [ASSOCIATED, "False", "HostMissing"];
    let message = lab
        .condition_saying::<Metal3Machine>("m", missing, "host broken-host/a no longer exists")
        .await;
    assert!(message.contains("delete the Machine"), "{message}");
    lab.condition::<Metal3Machine>("m", "Ready", "False", "NotReady")
        .await;
    events::expect(&lab.plane.client(), &lab.namespace, "m", "HostMissing").await;
    let machine: Metal3Machine = lab.get("m").await;
    assert!(provisioned(&machine), "never taken back");
    let old = json!(machine.status)["deprecated"]["v1beta1"]["conditions"].clone();
    let old = old.as_array().unwrap();
    let old = old
        .iter()
        .find(|condition| condition["type"] == "AssociateBMH")
        .unwrap();
    assert_eq!([&old["reason"], &old["severity"]], ["HostMissing", "Error"]);
    assert_eq!(
        lab.hosts.with(|world| world.granted.len()),
        1,
        "no other host is taken"
    );

    // From a backup, say.
    lab.hosts.change("a", |host| *host = gone);
    lab.condition::<Metal3Machine>("m", "Ready", "True", "Ready")
        .await;

    // Without the host, its machine goes all the same.
    remove(&lab.hosts, "a");
    lab.condition_saying::<Metal3Machine>("m", missing, "").await;
    lab.delete::<Metal3Machine>("m").await;
    lab.is_gone::<Metal3Machine>("m").await;
}

#[tokio::test]
async fn a_machine_without_its_owner_says_so_and_gives_its_host_back() {
    let world = World::start("broken-owner").await;
    let lab = &world.lab;
    lab.free_host("a");
    lab.ready_cluster("c").await;
    lab.machine("m", "c").await;
    lab.claimed("m").await;
    lab.delete::<Machine>("m").await;
    let waits = [ASSOCIATED, "False", "WaitingForMetal3MachineOwnerRef"];
    lab.condition_saying::<Metal3Machine>("m", waits, "Machine broken-owner/m, the owner, does not exist")
        .await;
    assert!(lab.hosts.with(|world| world.hosts["a"].consumer.is_some()));
    lab.delete::<Metal3Machine>("m").await;
    lab.is_gone::<Metal3Machine>("m").await;
    assert!(lab.hosts.with(|world| world.hosts["a"].consumer.is_none()));
}

#[tokio::test]
async fn a_workload_cluster_that_cannot_be_reached_holds_up_its_own_machines_only() {
    let world = World::start("broken-cluster").await;
    let lab = &world.lab;
    for host in ["a", "b"] {
        lab.free_host(host);
    }
    let nobody = format!("https://127.0.0.1:{}", port::free().unwrap());
    let ca = std::fs::read_to_string(workload::shared().await.ca_file()).unwrap();
    let astray = workload::kubeconfig(&workload::user(lab).await, &nobody, &ca);
    for cluster in ["well", "ill"] {
        lab.ready_cluster(cluster).await;
    }
    lab.kubeconfig_secret("well").await;
    lab.kubeconfig_secret_with("ill", &astray).await;
    lab.machine("n", "ill").await;
    let host = lab.claimed("n").await;
    lab.host_is_provisioned(&host);
    let waiting = [META_DATA, "False", "CreateError"];
    lab.condition_saying::<Metal3Machine>("n", waiting, "the workload cluster cannot be asked for the Node")
        .await;
    lab.machine("m", "well").await;
    lab.becomes_a_node("m").await;
    let machine: Metal3Machine = lab.get("n").await;
    assert!(!provisioned(&machine) && machine.spec.provider_id.is_none());

    // The Secret goes, and comes back with the right address.
    lab.delete::<Secret>("ill-kubeconfig").await;
    lab.condition_saying::<Metal3Machine>(
        "n",
        waiting,
        "Secret broken-cluster/ill-kubeconfig does not exist",
    )
    .await;
    lab.kubeconfig_secret("ill").await;
    let node = lab.node(&host).await;
    lab.condition::<Metal3Machine>("n", "Ready", "True", "Ready")
        .await;
    assert_eq!(
        lab.linked(&node).await,
        format!("metal3://broken-cluster/{host}/n")
    );

    // A machine that runs needs the way no more.
    lab.delete::<Secret>("well-kubeconfig").await;
    let touch = json!({"spec": {"automatedCleaningMode": "disabled"}});
    lab.patch::<Metal3Machine>("m", touch).await;
    let machine: Metal3Machine = lab.get("m").await;
    let host = machine.annotations()["metal3.io/BareMetalHost"]
        .split_once('/')
        .unwrap()
        .1
        .to_owned();
    wait::until("the cleaning mode to follow", wait::LONG, async || {
        let mode = lab.hosts.with(|world| world.hosts[&host].cleaning_mode());
        (mode == CleaningMode::Disabled)
            .then_some(())
            .ok_or(mode.as_str_name())
    })
    .await;
    lab.condition::<Metal3Machine>("m", "Ready", "True", "Ready")
        .await;
}
