//! A workload cluster from before Kubernetes 1.28 does not know the taint: the Node goes instead, and kubelet makes it again.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use metal3_api::infra::v1beta2::Metal3Remediation;
use metal3_testkit::gate::{Fate, Gate, Keeper, Passing};
use metal3_testkit::{events, wait};
use serde_json::json;

use super::WAITING;
use crate::workload::{self, shared};
use crate::world::World;

const VERSION: &str = r#"{"major": "1", "minor": "27", "gitVersion": "v1.27.16", "gitCommit": "", "gitTreeState": "",
    "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}"#;
const KEPT: [&str; 2] = [
    "remediation.metal3.io/node-labels-backup",
    "remediation.metal3.io/node-annotations-backup",
];

/// Says that the cluster is old, and lets everything else through to a new one.
struct Old;

impl Keeper for Old {
    fn judge(&self, passing: &Passing) -> Fate {
        match passing.target.as_str() {
            "/version" => Fate::Answer(VERSION),
            _ => Fate::Pass,
        }
    }

    fn strike(&self, _: &Passing) {}
}

/// A Cluster whose kubeconfig leads to an old workload cluster.
async fn start(name: &str) -> (World, Gate) {
    let world = World::start(name).await;
    let (lab, plane) = (&world.lab, shared().await);
    let ca = std::fs::read_to_string(plane.ca_file()).unwrap();
    let gate = Gate::open(plane.address().unwrap(), Some(&ca), Arc::new(Old))
        .await
        .unwrap();
    lab.ready_cluster("c").await;
    let kubeconfig = workload::kubeconfig(&workload::user(lab).await, gate.url(), "");
    lab.kubeconfig_secret_with("c", &kubeconfig).await;
    (world, gate)
}

async fn nodes() -> Api<Node> {
    Api::all(shared().await.client())
}

async fn node_is_gone(node: &str) {
    let nodes = nodes().await;
    wait::until(
        &format!("Node {node} to be deleted"),
        wait::LONG,
        async || match nodes.get_opt(node).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("it is there".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    )
    .await;
}

#[tokio::test]
async fn the_node_of_an_old_cluster_is_deleted_while_its_host_is_off_and_has_its_labels_when_it_is_back() {
    let (world, _gate) = start("old-returns").await;
    let lab = &world.lab;
    let (host, node) = lab.running("m").await;
    let marks = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}});
    nodes()
        .await
        .patch(&node, &PatchParams::default(), &Patch::Merge(&marks))
        .await
        .unwrap();
    lab.is_sick("m").await;
    node_is_gone(&node).await;
    lab.phase("m", WAITING, 0).await;
    lab.told("m", "WaitingForNode", "to come back").await;
    let remediation: Metal3Remediation = lab.get("m").await;
    let kept = KEPT.map(|name| remediation.annotations()[name].as_str());
    assert!(
        kept[0].contains(r#""team":"a""#) && kept[1].contains(r#""note":"b""#),
        "{kept:?}"
    );
    assert_eq!(lab.held(&host), 0);

    // As kubelet makes it, which knows nothing of what users wrote there.
    lab.node(&host).await;
    lab.told("m", "WaitingForNode", "to be healthy").await;
    let back = nodes().await.get(&node).await.unwrap();
    assert_eq!(
        (back.labels().get("team"), back.annotations().get("note")),
        (Some(&"a".to_owned()), Some(&"b".to_owned()))
    );
    wait::until("nothing to be kept any more", wait::LONG, async || {
        let remediation: Metal3Remediation = lab.get("m").await;
        let kept = |name: &&str| remediation.annotations().contains_key(*name);
        match KEPT.iter().find(|name| kept(name)) {
            None => Ok(()),
            Some(name) => Err(*name),
        }
    })
    .await;
    lab.ends("m", Some(&node)).await;
}

#[tokio::test]
async fn a_node_of_an_old_cluster_that_does_not_come_back_is_told_and_its_machine_given_up() {
    let (world, _gate) = start("old-lost").await;
    let lab = &world.lab;
    let (host, node) = lab.running("m").await;
    lab.is_sick("m").await;
    node_is_gone(&node).await;
    for retries in [0, 1] {
        lab.phase("m", WAITING, retries).await;
        lab.told("m", "WaitingForNode", "to come back").await;
        lab.time_passes("m").await;
    }
    lab.is_given_up("m", &host).await;
    lab.ends("m", None).await;
    let event = events::expect(&lab.plane.client(), &lab.namespace, "m", "NodeNotRestored").await;
    assert!(event.contains("its labels and annotations are lost"), "{event}");
}
