//! Node reuse: rollouts land on the same hosts, and what nobody comes for is free again.

use kube::ResourceExt as _;
use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_testkit::events;
use metal3_testkit::{ControlPlane, Rules};
use serde_json::json;

use crate::lab::{ASSOCIATED, Lab};
use crate::parents::Parent;
use crate::world::World;

const REUSED: &str = "AssociateBareMetalHostViaNodeReuseSuccess";

/// Who has a host, or under which key it is kept.
fn holder(lab: &Lab, host: &str) -> String {
    lab.hosts.with(|world| {
        let host = &world.hosts[host];
        match (host.reuse_key.as_str(), &host.consumer) {
            ("", None) => "nobody".to_owned(),
            ("", Some(consumer)) => consumer.name.clone(),
            (key, Some(consumer)) => format!("{key} of {} {}", consumer.kind, consumer.name),
            (key, None) => format!("{key} of nobody"),
        }
    })
}

/// As a MachineSet and a control plane do: the Machine, with all that belongs to it.
async fn remove(lab: &Lab, name: &str) {
    lab.delete::<Metal3Machine>(name).await;
    lab.is_gone::<Metal3Machine>(name).await;
    lab.delete::<Machine>(name).await;
}

async fn rolls_out(lab: &Lab, parent: Parent, key: &str, [old, new]: [&str; 2]) {
    lab.child(old, "c", parent).await;
    let host = lab.claimed(old).await;
    remove(lab, old).await;
    assert_eq!(holder(lab, &host), format!("{key} of Cluster c"));
    events::expect(&lab.plane.client(), &lab.namespace, old, "HostReleased").await;
    // Somebody else may be faster, and others may be free: the successor gets this one.
    lab.machine(&format!("other-{old}"), "c").await;
    lab.claimed(&format!("other-{old}")).await;
    lab.child(new, "c", parent).await;
    lab.condition::<Metal3Machine>(new, ASSOCIATED, "True", REUSED)
        .await;
    assert_eq!(holder(lab, &host), new);
}

#[tokio::test]
async fn rollouts_land_on_the_same_hosts_and_a_scale_down_keeps_none() {
    let world = World::with_flags("reuse", &["--node-reuse-timeout=90m"]).await;
    let lab = &world.lab;
    for host in ["a", "b", "c", "d", "e", "f"] {
        lab.free_host(host);
    }
    lab.ready_cluster("c").await;
    lab.reusing_template("t").await;
    lab.deployment("d", "t", 1).await;
    lab.control_plane("p", "t", 1).await;
    let (workers, plane) = (Parent::Deployment("d"), Parent::ControlPlane("p"));
    rolls_out(lab, workers, "md-d", ["w0", "w1"]).await;
    rolls_out(lab, plane, "cp-p", ["p0", "p1"]).await;
    let kept = lab.hosts.with(|world| world.releases.clone());
    let expires = |release: &metal3_rpc::v1::ReleaseHostRequest| {
        let reservation = release.reservation.clone().unwrap();
        reservation.expires.unwrap().seconds - jiff::Timestamp::now().as_second()
    };
    assert!(
        kept.iter()
            .all(|release| (5000..=5400).contains(&expires(release))),
        "{kept:?}"
    );

    // A host that is being cleaned is waited for, though others are free.
    let host = lab.get::<Metal3Machine>("w1").await.annotations()["metal3.io/BareMetalHost"].clone();
    let host = host.split_once('/').unwrap().1;
    remove(lab, "w1").await;
    lab.hosts
        .change(host, |host| host.provisioning_state = "preparing".into());
    lab.child("w2", "c", workers).await;
    let waits = [ASSOCIATED, "False", "WaitingForReservedHost"];
    lab.condition_saying::<Metal3Machine>("w2", waits, "is preparing")
        .await;
    let ready = lab.hosts.with(|hosts| hosts.revision + 1).to_string();
    lab.hosts
        .change(host, |host| host.provisioning_state = "available".into());
    lab.condition::<Metal3Machine>("w2", ASSOCIATED, "True", REUSED)
        .await;
    assert_eq!(holder(lab, host), "w2");
    let woken = lab.hosts.with(|hosts| {
        let claim = hosts.claims.last().unwrap();
        claim.seen_revision.clone()
    });
    assert_eq!(woken, ready, "and not because some time had passed");

    // Nobody comes after a scale-down, and then nothing is kept under the key.
    lab.scale(workers, 0).await;
    lab.hosts.change("f", |host| {
        host.reuse_key = "md-d".into();
        host.consumer = Some(metal3_rpc::v1::Consumer::default());
    });
    remove(lab, "w2").await;
    assert_eq!([holder(lab, host), holder(lab, "f")], ["nobody", "nobody"]);

    // Nor when the Cluster goes.
    lab.patch::<Cluster>("c", json!({"metadata": {"finalizers": ["test/keep"]}}))
        .await;
    lab.delete::<Cluster>("c").await;
    remove(lab, "p1").await;
    let ended = lab.hosts.with(|world| world.ended_reservations.clone());
    let last = ended.last().unwrap().scope.clone().unwrap();
    assert!(
        matches!(&last, metal3_rpc::v1::release_reservations_request::Scope::Cluster(cluster) if cluster.name == "c"),
        "{last:?}"
    );
    lab.patch::<Cluster>("c", json!({"metadata": {"finalizers": null}}))
        .await;
}

#[tokio::test]
async fn a_control_plane_that_may_not_be_read_holds_no_deletion_up() {
    let plane = ControlPlane::shared().await;
    let mut rules = Rules::of_chart("metal3-capm3").unwrap();
    rules.cluster.retain(|rule| {
        let groups = rule.api_groups.iter().flatten();
        !groups
            .into_iter()
            .any(|group| group == "controlplane.cluster.x-k8s.io")
    });
    let account = plane.account("reuse-denied", "capm3", &rules).await.unwrap();
    let kubeconfig = account.kubeconfig.clone();
    let world = World::refused(plane, account, &kubeconfig).await;
    let lab = &world.lab;
    lab.free_host("a");
    lab.ready_cluster("c").await;
    lab.reusing_template("t").await;
    lab.control_plane("p", "t", 1).await;
    lab.child("p0", "c", Parent::ControlPlane("p")).await;
    lab.claimed("p0").await;
    remove(lab, "p0").await;
    assert_eq!(holder(lab, "a"), "nobody");
    let message = events::expect(&lab.plane.client(), &lab.namespace, "p0", "NodeReuseUnknown").await;
    assert!(
        message.contains("grant the provider's ServiceAccount get on kubeadmcontrolplanes.controlplane"),
        "{message}"
    );
}
