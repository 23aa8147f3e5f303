//! The whole life of a machine, step by step.

use kube::ResourceExt as _;
use metal3_api::capi::Machine;
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_api::names;
use metal3_testkit::events;
use serde_json::json;

use crate::lab::{ASSOCIATED, INFRASTRUCTURE, Lab, META_DATA, PROVISIONED};
use crate::world::World;

#[tokio::test]
async fn a_machine_gets_a_host_becomes_a_node_and_gives_its_host_back() {
    let world = World::start("life").await;
    let lab = &world.lab;
    lab.free_host("a");

    gets_a_host(lab).await;
    becomes_a_node(lab).await;
    goes(lab).await;
}

async fn gets_a_host(lab: &Lab) {
    // Nothing is claimed before the user, the bootstrap provider and Cluster API have done their parts.
    lab.cluster("c").await;
    let machine = lab.bare_machine("m", "c").await;
    lab.condition::<Metal3Machine>("m", ASSOCIATED, "False", "WaitingForClusterInfrastructureReady")
        .await;
    lab.infrastructure_is_ready("c").await;
    lab.condition::<Metal3Machine>("m", ASSOCIATED, "False", "WaitingForBootstrapData")
        .await;
    assert_eq!(lab.hosts.with(|hosts| hosts.claims.len()), 0);
    lab.bootstrap("m").await;

    // The claim says all that the host needs.
    assert_eq!(lab.claimed("m").await, "a");
    let (claims, granted) = lab
        .hosts
        .with(|hosts| (hosts.claims.clone(), hosts.granted.clone()));
    assert_eq!(granted, [("a".to_owned(), "m".to_owned())]);
    let claim = claims.last().unwrap();
    let (consumer, provision) = (claim.consumer.clone().unwrap(), claim.provision.clone().unwrap());
    assert_eq!(
        (consumer.name, Some(consumer.uid)),
        ("m".to_owned(), machine.uid())
    );
    assert_eq!(
        (claim.namespace.as_str(), claim.cluster_name.as_str()),
        ("life", "c")
    );
    assert_eq!(provision.image.unwrap().url, "http://images.test/node.qcow2");
    assert_eq!(provision.user_data.unwrap().name, "m-bootstrap");
    let message = lab
        .condition::<Metal3Machine>("m", PROVISIONED, "False", "Provisioning")
        .await;
    assert!(message.contains("life/a"), "{message}");
    events::expect(&lab.plane.client(), "life", "m", "AssociateBareMetalHostSuccess").await;
}

/// Each step on the way to the Node says what it waits for.
async fn becomes_a_node(lab: &Lab) {
    lab.host_is_provisioned("a");
    let waiting = [META_DATA, "False", "CreateError"];
    lab.condition_saying::<Metal3Machine>("m", waiting, "life/c-kubeconfig")
        .await;
    lab.kubeconfig_secret("c").await;
    let label = "no Node has the label metal3.io/uuid=uid-life-a";
    lab.condition_saying::<Metal3Machine>("m", waiting, label).await;
    assert_eq!(lab.get::<Metal3Machine>("m").await.spec.provider_id, None);
    let node = lab.node("a").await;
    lab.condition::<Metal3Machine>("m", "Ready", "True", "Ready")
        .await;
    assert_eq!(lab.linked(&node).await, "metal3://life/a/m");
    let machine: Metal3Machine = lab.get("m").await;
    assert_eq!(machine.spec.provider_id.as_deref(), Some("metal3://life/a/m"));
    assert_eq!(machine.finalizers(), [names::FINALIZER_METAL3_MACHINE]);
    let status = json!(machine.status);
    assert_eq!(status["initialization"], json!({"provisioned": true}));
    assert_eq!(
        status["addresses"],
        json!([
            {"type": "InternalIP", "address": "192.0.2.7"},
            {"type": "Hostname", "address": "a.test"},
            {"type": "InternalDNS", "address": "a.test"},
        ])
    );
}

/// The cluster waits for the machine, and the machine for its host.
async fn goes(lab: &Lab) {
    lab.hosts.with(|hosts| hosts.slow_release = true);
    lab.delete::<Metal3Cluster>("c").await;
    let message = lab
        .condition::<Metal3Cluster>("c", INFRASTRUCTURE, "False", "Deleting")
        .await;
    assert!(message.contains("1 Machines"), "{message}");
    lab.delete::<Metal3Machine>("m").await;
    lab.condition_saying::<Metal3Machine>(
        "m",
        [META_DATA, "False", "Deleting"],
        "host life/a is being given back",
    )
    .await;
    let machine: Metal3Machine = lab.get("m").await;
    assert_eq!(machine.finalizers(), [names::FINALIZER_METAL3_MACHINE]);
    lab.hosts.with(|hosts| hosts.slow_release = false);
    lab.hosts
        .change("a", |host| host.provisioning_state = "deprovisioning".into());
    lab.is_gone::<Metal3Machine>("m").await;
    let (host, releases) = lab
        .hosts
        .with(|hosts| (hosts.hosts["a"].clone(), hosts.releases.clone()));
    assert_eq!(host.consumer, None);
    assert!(releases.len() >= 2, "asked until it was done: {releases:?}");
    assert!(
        lab.get::<Metal3Cluster>("c")
            .await
            .metadata
            .deletion_timestamp
            .is_some(),
        "the Machine itself is still there"
    );
    lab.delete::<Machine>("m").await;
    lab.is_gone::<Metal3Cluster>("c").await;
}
