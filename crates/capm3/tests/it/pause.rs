//! What is paused is left alone.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use metal3_api::capi::Cluster;
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use serde_json::json;

use crate::lab::{ASSOCIATED, Lab};
use crate::world::World;

/// Everything that the provider did to an object, apart from saying that it is paused.
async fn untouched(lab: &Lab, machine: &str) {
    let object: Metal3Machine = lab.get(machine).await;
    assert!(object.finalizers().is_empty() && object.annotations().get("metal3.io/BareMetalHost").is_none());
    assert_eq!(object.spec.provider_id, None);
    let claims = lab.hosts.with(|hosts| hosts.claims.clone());
    let theirs = claims.iter().filter(|claim| {
        claim
            .consumer
            .as_ref()
            .is_some_and(|consumer| consumer.name == machine)
    });
    assert_eq!(theirs.count(), 0, "{machine} claimed a host");
}

#[tokio::test]
async fn a_paused_cluster_and_a_paused_machine_are_left_alone_until_they_are_not() {
    let world = World::start("pause").await;
    let lab = &world.lab;
    for host in ["a", "b", "c"] {
        lab.free_host(host);
    }
    // One Cluster is paused, and one machine of the other.
    lab.ready_cluster("paused").await;
    lab.patch::<Cluster>("paused", json!({"spec": {"paused": true}}))
        .await;
    lab.condition::<Metal3Cluster>("paused", "Paused", "True", "Paused")
        .await;
    lab.cluster("working").await;
    lab.machine("still", "working").await;
    let pause = json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": ""}}});
    lab.patch::<Metal3Machine>("still", pause.clone()).await;
    lab.infrastructure_is_ready("working").await;
    lab.machine("held", "paused").await;
    lab.machine("moving", "working").await;
    for name in ["still", "held"] {
        lab.condition::<Metal3Machine>(name, "Paused", "True", "Paused")
            .await;
        lab.condition::<Metal3Machine>(name, ASSOCIATED, "False", "Paused")
            .await;
    }
    // The one that is not paused came after them and is through.
    lab.claimed("moving").await;
    lab.condition::<Metal3Machine>("moving", "Paused", "False", "NotPaused")
        .await;
    for name in ["still", "held"] {
        untouched(lab, name).await;
    }

    // Deleting what is paused gives nothing back.
    lab.patch::<Metal3Machine>("moving", pause).await;
    lab.condition::<Metal3Machine>("moving", "Paused", "True", "Paused")
        .await;
    lab.delete::<Metal3Machine>("moving").await;

    lab.patch::<Cluster>("paused", json!({"spec": {"paused": false}}))
        .await;
    lab.claimed("held").await;
    lab.condition::<Metal3Cluster>("paused", "Paused", "False", "NotPaused")
        .await;
    let go_on = json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": null}}});
    lab.patch::<Metal3Machine>("still", go_on.clone()).await;
    lab.claimed("still").await;
    assert_eq!(lab.hosts.with(|hosts| hosts.releases.len()), 0);
    lab.patch::<Metal3Machine>("moving", go_on).await;
    lab.is_gone::<Metal3Machine>("moving").await;
    let released: BTreeSet<_> = lab.hosts.with(|hosts| {
        let releases = hosts.releases.iter();
        releases
            .map(|release| release.consumer.clone().unwrap().name)
            .collect()
    });
    assert_eq!(released, BTreeSet::from(["moving".to_owned()]));
}
