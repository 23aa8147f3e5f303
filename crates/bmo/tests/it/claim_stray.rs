//! Second hosts: what a replica that died in the middle of a claim leaves behind is freed, and nothing else is.
//!
//! It takes as long as it takes in earnest: a stray is left to those who may still be at work on it for two minutes.

use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_rpc::v1::{ClaimHostRequest, Consumer};
use metal3_testkit::wait;
use serde_json::{Value, json};

use crate::world::World;

/// What a claim writes first, and a replica that dies then leaves.
fn claimed(consumer: &Consumer) -> Value {
    json!({
        "metadata": {
            "labels": {names::LABEL_CLUSTER_NAME: "c"}, "annotations": {names::ANNOTATION_BLOCK_MOVE: ""},
        },
        "spec": {"consumerRef": {
            "apiVersion": consumer.api_version, "kind": consumer.kind,
            "namespace": consumer.namespace, "name": consumer.name,
        }},
    })
}

fn owner(host: &BareMetalHost) -> Option<String> {
    host.spec.consumer_ref.as_ref()?.name.clone()
}

#[tokio::test]
async fn a_second_host_that_a_claim_left_behind_is_freed_and_those_of_others_stay() {
    let world = World::start("claim-stray").await;
    world.available(&["a", "b", "c"]).await;
    // Somebody has two hosts on purpose, one of them idle. The third one is all that the machine can get.
    let project = Consumer {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        ..world.consumer("project")
    };
    let used = json!({"spec": {"customDeploy": {"method": "install_everything"}}});
    world.patch("b", claimed(&project)).await;
    world.patch("c", claimed(&project)).await;
    world.patch("c", used).await;
    let mut hosts = world.caller("caller", &["claim", "provision"]).await;
    let claim = ClaimHostRequest {
        namespace: world.namespace.clone(),
        consumer: Some(world.consumer("m")),
        cluster_name: "c".into(),
        ..Default::default()
    };
    hosts.claim_host(claim).await.unwrap();
    hosts
        .provision_host(world.provision("http://image"))
        .await
        .unwrap();
    world.create(&world.host("d")).await;
    world.reaches("d", "available").await;
    world.patch("d", claimed(&world.consumer("m"))).await;

    let freed = wait::until("the second host to be freed", wait::LONG * 2, async || {
        let host = world.get("d").await;
        owner(&host).is_none().then_some(host)
    })
    .await;
    let metadata = &freed.metadata;
    let left = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
        map.as_ref().is_some_and(|map| map.contains_key(key))
    };
    assert!(!left(&metadata.labels, names::LABEL_CLUSTER_NAME), "{metadata:?}");
    assert!(
        !left(&metadata.annotations, names::ANNOTATION_BLOCK_MOVE),
        "{metadata:?}"
    );
    for (host, name) in [("a", "m"), ("b", "project"), ("c", "project")] {
        assert_eq!(owner(&world.get(host).await).as_deref(), Some(name), "{host}");
    }
    assert!(world.bmo.process.log().contains("a second host is freed"));
}
