//! What a machine refers to is not there, or goes: owner, Cluster, infrastructure, templates, Secrets. It says what is missing,
//! and goes on by itself when it comes.

use k8s_openapi::api::core::v1::Secret;
use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine, Metal3MachineTemplate};
use metal3_rpc::v1::Wait;
use metal3_testkit::{build, wait};
use serde_json::json;

use crate::lab::{ASSOCIATED, Lab, PROVISIONED};
use crate::parents::Parent;
use crate::world::World;

async fn waits(lab: &Lab, machine: &str, reason: &str, text: &str) -> String {
    lab.condition_saying::<Metal3Machine>(machine, [ASSOCIATED, "False", reason], text)
        .await
}

/// What is asked of the host service, by method.
fn calls(lab: &Lab, method: &str) -> usize {
    let log = lab.hosts.with(|world| world.log.clone());
    log.iter().filter(|line| line.starts_with(method)).count()
}

#[tokio::test]
async fn a_machine_waits_for_each_of_those_it_belongs_to_by_name() {
    let world = World::start("missing").await;
    let lab = &world.lab;
    lab.free_host("a");

    // Made by hand, before anything else.
    let machine = build::machine("m", "c").build();
    let mut object = json!(build::metal3_machine(&machine));
    object["metadata"]["ownerReferences"] = json!([]);
    lab.create::<Metal3Machine>(object).await;
    waits(lab, "m", "WaitingForMetal3MachineOwnerRef", "no Machine owns").await;
    let owner =
        json!([{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "name": "m", "uid": "u"}]);
    lab.patch::<Metal3Machine>("m", json!({"metadata": {"ownerReferences": owner}}))
        .await;
    let missing = "Machine missing/m, the owner, does not exist";
    waits(lab, "m", "WaitingForMetal3MachineOwnerRef", missing).await;
    lab.create::<Machine>(json!(machine)).await;
    lab.bootstrap("m").await;
    let missing = "Cluster missing/c does not exist";
    waits(lab, "m", "WaitingForClusterInfrastructureReady", missing).await;
    let cluster = lab.create::<Cluster>(json!(build::cluster("c").build())).await;
    let missing = "Metal3Cluster missing/c does not exist";
    waits(lab, "m", "WaitingforMetal3Cluster", missing).await;
    let mut infra = json!(build::metal3_cluster(&cluster));
    infra["spec"]["controlPlaneEndpoint"] = json!({"host": "192.0.2.9", "port": 6443});
    lab.create::<Metal3Cluster>(infra.clone()).await;
    lab.infrastructure_is_ready("c").await;
    assert_eq!(lab.claimed("m").await, "a");

    // It is there, and its infrastructure goes, by force. There would be another host.
    lab.free_host("b");
    lab.kubeconfig_secret("c").await;
    lab.becomes_a_node("m").await;
    lab.delete::<Metal3Cluster>("c").await;
    lab.patch::<Metal3Cluster>("c", json!({"metadata": {"finalizers": null}}))
        .await;
    waits(lab, "m", "WaitingforMetal3Cluster", missing).await;
    lab.create::<Metal3Cluster>(infra).await;
    lab.condition::<Metal3Machine>("m", "Ready", "True", "Ready")
        .await;
    assert_eq!(lab.hosts.with(|world| world.granted.len()), 1);
}

#[tokio::test]
async fn a_template_that_is_gone_keeps_no_host_and_holds_no_deletion_up() {
    let world = World::start("missing-template").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.reusing_template("t").await;
    lab.deployment("d", "t", 2).await;
    lab.control_plane("p", "t", 1).await;
    for (machine, parent) in [
        ("w0", Parent::Deployment("d")),
        ("w1", Parent::Deployment("d")),
        ("p0", Parent::ControlPlane("p")),
    ] {
        lab.free_host(&format!("host-of-{machine}"));
        lab.child(machine, "c", parent).await;
        lab.claimed(machine).await;
    }
    lab.delete::<Metal3MachineTemplate>("t").await;
    let goes = async |machine: &str| {
        lab.delete::<Metal3Machine>(machine).await;
        lab.is_gone::<Metal3Machine>(machine).await;
        let host = lab
            .hosts
            .with(|world| world.hosts[&format!("host-of-{machine}")].clone());
        assert_eq!((host.consumer, host.reuse_key.as_str()), (None, ""), "{machine}");
    };
    goes("w0").await;
    goes("p0").await;
    // Nor does the MachineSet that would name one.
    lab.machine_set_goes("d").await;
    goes("w1").await;
}

#[tokio::test]
async fn a_data_template_is_named_with_what_to_do_before_a_host_is_taken() {
    let world = World::start("missing-data").await;
    let lab = &world.lab;
    lab.free_host("a");
    lab.ready_cluster("c").await;
    lab.bare_machine("m", "c").await;
    let template = json!({"spec": {"dataTemplate": {"name": "t"}}});
    lab.patch::<Metal3Machine>("m", template).await;
    lab.bootstrap("m").await;
    let message = waits(lab, "m", "WaitingForMetal3Data", "Metal3DataTemplate t").await;
    assert!(message.contains("remove spec.dataTemplate"), "{message}");
    assert_eq!(calls(lab, "ClaimHost"), 0);
    lab.patch::<Metal3Machine>("m", json!({"spec": {"dataTemplate": null}}))
        .await;
    lab.claimed("m").await;
}

#[tokio::test]
async fn a_bootstrap_secret_that_is_deleted_is_told_before_the_image_runs_and_harms_nothing_afterwards() {
    let world = World::start("missing-secret").await;
    let lab = &world.lab;
    lab.free_host("a");
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.machine("m", "c").await;
    lab.claimed("m").await;

    // As the operator tells it, which reads the Secret when it deploys the host.
    lab.delete::<Secret>("m-bootstrap").await;
    lab.hosts.change("a", |host| {
        host.wait = Some(Wait {
            reason: "ConfigDataMissing".into(),
            message: "Secret missing-secret/m-bootstrap, which userData names, does not exist".into(),
            remedy: "create the Secret".into(),
            ..Wait::default()
        });
    });
    let provisioning = [PROVISIONED, "False", "Provisioning"];
    lab.condition_saying::<Metal3Machine>("m", provisioning, "Secret missing-secret/m-bootstrap")
        .await;
    let data = json!({"metadata": {"name": "m-bootstrap"}, "stringData": {"value": "#cloud-config"}});
    lab.create::<Secret>(data).await;
    lab.hosts.change("a", |host| host.wait = None);
    lab.condition_saying::<Metal3Machine>("m", provisioning, "host missing-secret/a is available")
        .await;
    lab.becomes_a_node("m").await;

    // The machine has it by now: nothing is to be read or asked for again.
    lab.delete::<Secret>("m-bootstrap").await;
    lab.hosts.change("a", |host| host.online = true);
    lab.patch::<Machine>("m", json!({"spec": {"failureDomain": "rack"}}))
        .await;
    wait::until("another look", wait::LONG, async || {
        let machine: Metal3Machine = lab.get("m").await;
        machine.spec.failure_domain.ok_or("it follows no failure domain")
    })
    .await;
    lab.condition::<Metal3Machine>("m", "Ready", "True", "Ready")
        .await;
    let machine: Metal3Machine = lab.get("m").await;
    let user_data = machine.status.and_then(|status| status.user_data).unwrap();
    assert_eq!(user_data.name.as_deref(), Some("m-bootstrap"));
    assert_eq!(calls(lab, "ProvisionHost"), 0, "the claim said it all");
    lab.delete::<Metal3Machine>("m").await;
    lab.is_gone::<Metal3Machine>("m").await;
}
