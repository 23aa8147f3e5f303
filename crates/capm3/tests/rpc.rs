//! The provider against the contract of the host service: what it asks, and what users see of the answers.

#![expect(clippy::unwrap_used, reason = "test code")]

mod common;

use common::Bed;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::rejections::Rule;
use metal3_rpc::v1::{Consumer, InventorySummary, Nic, Rejections};
use metal3_testkit::wait;
use serde_json::{Value, json};

const ASSOCIATED: &str = "AssociateBareMetalHost";
const FINALIZER: &str = "metal3machine.infrastructure.cluster.x-k8s.io";

async fn annotated(bed: &Bed, machine: &str) -> Value {
    wait::until("the annotation with the host", wait::LONG, async || {
        let object = bed.kube.get("metal3machines", machine)?;
        let host = object["metadata"]["annotations"]["metal3.io/BareMetalHost"].clone();
        (!host.is_null()).then_some(host)
    })
    .await
}

fn someone() -> Consumer {
    Consumer {
        api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
        kind: "Metal3Machine".into(),
        namespace: "ns".into(),
        name: "someone".into(),
        uid: String::new(),
    }
}

#[tokio::test]
async fn rejected_hosts_are_listed_in_the_condition_and_a_freed_host_is_claimed() {
    let bed = Bed::start(true).await;
    bed.hosts.change("h", |host| host.consumer = Some(someone()));
    bed.hosts.with(|world| {
        world.rejections = Rejections {
            candidates: 3,
            rules: vec![
                Rule {
                    rule: "claimed".into(),
                    hosts: 2,
                    examples: vec!["a".into(), "b".into()],
                },
                Rule {
                    rule: "label-mismatch".into(),
                    hosts: 1,
                    examples: vec![],
                },
            ],
        };
    });
    bed.machine("m");
    let message = bed.reason("m", ASSOCIATED, "AssociateBareMetalHostFailed").await;
    assert!(
        message.contains("none of 3 hosts can be claimed: 2 claimed (a, b); 1 label-mismatch"),
        "{message}"
    );
    // Told after the condition was written.
    wait::until("the event", wait::LONG, async || {
        let events = bed.kube.events();
        let told = events.iter().any(|event| {
            event["type"] == "Warning"
                && event["reason"] == "AssociateBareMetalHostFailed"
                && event["involvedObject"]["name"] == "m"
        });
        if told { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await;

    bed.hosts.change("h", |host| host.consumer = None);
    assert_eq!(annotated(&bed, "m").await, "ns/h");
    let claim = bed.hosts.with(|world| world.claims.pop().unwrap());
    assert_eq!(claim.cluster_name, "c");
    assert_eq!(claim.consumer.unwrap().uid, "uid-m");
    assert_eq!(claim.provision.unwrap().user_data.unwrap().name, "boot");
    bed.stop().await;
}

#[tokio::test]
async fn an_absent_host_service_is_told_on_the_machine_and_harms_nothing_else() {
    let bed = Bed::start(false).await;
    bed.machine("m");
    let message = bed.reason("m", ASSOCIATED, "HostServiceUnavailable").await;
    assert!(message.contains("--host-service-address"), "{message}");
    let (code, text) = bed.readyz().await;
    assert_eq!(code, 200, "webhooks must go on: {text}");
    assert!(text.contains("[~]host-service"), "{text}");
    let infra = bed.kube.get("metal3clusters", "infra").unwrap();
    assert_eq!(infra["status"]["initialization"]["provisioned"], true);

    bed.hosts.change("h", |_| {});
    bed.hosts.serve(bed.port, None).await;
    assert_eq!(annotated(&bed, "m").await, "ns/h");
    let (_, text) = bed.readyz().await;
    assert!(text.contains("[+]host-service"), "{text}");
    bed.stop().await;
}

#[tokio::test]
async fn a_missing_permission_is_told_with_its_remedy() {
    let bed = Bed::start(true).await;
    bed.hosts.with(|world| {
        let denied = Reason::Forbidden.status("claim on hosts is not allowed in namespace ns", []);
        world.failures.insert("ClaimHost", denied);
    });
    bed.machine("m");
    let message = bed.reason("m", ASSOCIATED, "HostServiceDenied").await;
    assert!(message.contains("not allowed in namespace ns"), "{message}");
    assert!(message.contains("hosts.host.metal3.io"), "{message}");
    bed.stop().await;
}

#[tokio::test]
async fn the_stream_of_hosts_is_resumed_and_begun_again_when_it_cannot_be() {
    let bed = Bed::start(true).await;
    let streams = async |count: usize| {
        wait::until("a stream", wait::LONG, async || {
            let seen = bed.hosts.with(|world| world.resumed_from.clone());
            if seen.len() >= count {
                Ok(seen)
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await
    };
    streams(1).await;
    bed.hosts.change("h", |host| host.consumer = Some(someone()));
    bed.hosts.cut();
    assert_eq!(streams(2).await, ["", "1"]);
    bed.hosts.with(|world| {
        world.refused_streams = vec![Reason::RevisionExpired.status("too old", [])];
    });
    bed.hosts.cut();
    assert_eq!(streams(4).await, ["", "1", "1", ""]);
    bed.stop().await;
}

#[tokio::test]
async fn a_running_host_is_linked_to_its_node_beside_a_machine_that_cannot_be_read() {
    let bed = Bed::start(true).await;
    bed.kube.put(
        "metal3machines",
        json!({"metadata": {"namespace": "ns", "name": "broken"}, "spec": {"image": 3}}),
    );
    bed.hosts.change("h", |_| {});
    bed.machine("m");
    assert_eq!(annotated(&bed, "m").await, "ns/h");
    bed.reason("m", "HostProvisioned", "Provisioning").await;

    bed.hosts.change("h", |host| {
        host.provisioning_state = "provisioned".into();
        host.inventory = Some(InventorySummary {
            hostname: "node-0".into(),
            nics: vec![Nic {
                ip: "192.0.2.7".into(),
                ..Nic::default()
            }],
            ..InventorySummary::default()
        });
    });
    let message = bed
        .reason("m", "AssociateMetal3MachineMetaData", "CreateError")
        .await;
    assert!(message.contains("ns/c-kubeconfig"), "{message}");

    bed.workload();
    bed.kube.put(
        "nodes",
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "node-0", "labels": {"metal3.io/uuid": "uid-ns-h"}}, "spec": {},
        }),
    );
    bed.reason(
        "m",
        "AssociateMetal3MachineMetaData",
        "AssociateMetal3MachineMetaDataSuccess",
    )
    .await;
    let node = bed.kube.get("nodes", "node-0").unwrap();
    assert_eq!(node["spec"]["providerID"], "metal3://ns/h/m");
    let machine = bed.kube.get("metal3machines", "m").unwrap();
    assert_eq!(machine["spec"]["providerID"], "metal3://ns/h/m");
    assert_eq!(machine["status"]["initialization"]["provisioned"], true);
    assert_eq!(machine["status"]["addresses"][0]["address"], "192.0.2.7");
    bed.stop().await;
}

#[tokio::test]
async fn a_deleted_machine_goes_when_its_host_was_given_back() {
    let bed = Bed::start(true).await;
    bed.hosts.change("h", |_| {});
    bed.machine("m");
    annotated(&bed, "m").await;
    bed.hosts.with(|world| world.slow_release = true);
    bed.kube.delete("metal3machines", "m");
    let message = bed
        .reason("m", "AssociateMetal3MachineMetaData", "Deleting")
        .await;
    assert!(message.contains("ns/h"), "{message}");
    let machine = bed.kube.get("metal3machines", "m").unwrap();
    assert_eq!(machine["metadata"]["finalizers"], json!([FINALIZER]));

    bed.hosts.with(|world| world.slow_release = false);
    bed.hosts
        .change("h", |host| host.provisioning_state = "deprovisioning".into());
    wait::until("the end of the machine", wait::LONG, async || {
        bed.kube
            .get("metal3machines", "m")
            .map_or(Ok(()), Err)
            .map_err(|object| object["status"].to_string())
    })
    .await;
    let release = bed.hosts.with(|world| world.releases.pop().unwrap());
    assert_eq!(release.consumer.unwrap().name, "m");
    assert_eq!(release.cluster_name, "c");
    bed.stop().await;
}

#[tokio::test]
async fn nothing_is_written_when_nothing_changed() {
    let bed = Bed::start(true).await;
    bed.hosts.change("h", |_| {});
    bed.machine("m");
    bed.reason("m", "HostProvisioned", "Provisioning").await;
    wait::until("the infrastructure", wait::LONG, async || {
        let infra = bed.kube.get("metal3clusters", "infra")?;
        (infra["status"]["initialization"]["provisioned"] == true).then_some(())
    })
    .await;
    let calls = bed.hosts.with(|world| world.claims.len());
    let before = bed.kube.revision();
    // A change of the host that says nothing new, and one that wakes the machine for another pass.
    bed.hosts.change("h", |host| host.online = true);
    bed.hosts.change("h", |host| host.error_message = "bmc".into());
    bed.reason("m", "HostProvisioned", "HostError").await;
    assert_eq!(bed.kube.revision(), before + 1, "one status write");
    assert_eq!(bed.hosts.with(|world| world.claims.len()), calls);
    bed.stop().await;
}
