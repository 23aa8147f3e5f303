//! The provider against the contract of the host service: what it asks, and what users see of the answers.

#![expect(clippy::unwrap_used, reason = "test code")]

mod common;

use std::cell::Cell;

use common::Bed;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::rejections::Rule;
use metal3_rpc::v1::{Consumer, Host, InventorySummary, Nic, Rejections};
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

/// Machines that have a host.
fn served(bed: &Bed) -> Vec<String> {
    bed.hosts
        .with(|world| world.granted.iter().map(|(_, machine)| machine.clone()).collect())
}

/// Waits until so many machines have a host; the claims since `before`.
async fn claims_until(bed: &Bed, count: usize, before: usize) -> usize {
    wait::until("a machine on the host", wait::LONG, async || {
        let served = served(bed);
        if served.len() == count {
            Ok(())
        } else {
            Err(format!("{served:?}"))
        }
    })
    .await;
    for machine in served(bed) {
        annotated(bed, &machine).await;
    }
    bed.hosts.with(|world| world.claims.len()) - before
}

/// More than a handful of claims for one host would be one of each machine that waits; passes that were under way anyway may
/// add some.
const FEW: usize = 15;

/// Waits until nobody has asked for some time: what a machine wrote itself makes it look once more.
async fn calm(bed: &Bed) {
    let (claims, looks) = (Cell::new(0), Cell::new(0));
    wait::until("nobody to ask", wait::LONG, async || {
        let before = claims.replace(bed.hosts.with(|world| world.claims.len()));
        looks.set(if before == claims.get() {
            looks.get() + 1
        } else {
            0
        });
        (looks.get() >= 20).then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_many_machines_that_wait_few_ask_and_none_waits_while_there_is_a_host_for_it() {
    let bed = Bed::start(true).await;
    bed.followed().await;
    let machines: Vec<String> = (0..60).map(|number| format!("m{number}")).collect();
    for (number, machine) in machines.iter().enumerate() {
        let rack = if number % 2 == 0 { "a" } else { "b" };
        bed.machine_on(machine, &json!({"rack": rack}));
    }
    for machine in &machines {
        bed.reason(machine, ASSOCIATED, "AssociateBareMetalHostFailed")
            .await;
    }
    let claims = || bed.hosts.with(|world| world.claims.len());
    let rack =
        |name: &'static str| move |host: &mut Host| drop(host.labels.insert("rack".into(), name.into()));

    // One line after the other asks for a host that only the second can use.
    calm(&bed).await;
    let before = claims();
    bed.hosts.change("one", rack("b"));
    let asked = claims_until(&bed, 1, before).await;
    assert!(asked <= FEW, "{asked} claims for a host that became free");

    // A host that nobody can use, until it can be.
    let before = claims();
    bed.hosts.change("two", rack("c"));
    wait::until("a claim of each line", wait::LONG, async || {
        (claims() >= before + 2).then_some(())
    })
    .await;
    bed.hosts.change("two", rack("b"));
    let asked = claims_until(&bed, 2, before).await;
    assert!(asked <= FEW, "{asked} claims for a host whose label was changed");

    // A host that is kept for others, until it is not.
    let before = claims();
    bed.hosts.change("three", |host| {
        rack("a")(host);
        host.reuse_key = "md-other".into();
        host.consumer = Some(Consumer {
            api_version: "cluster.x-k8s.io/v1beta2".into(),
            kind: "Cluster".into(),
            ..someone()
        });
    });
    bed.hosts.change("three", |host| {
        (host.reuse_key, host.consumer) = (String::new(), None)
    });
    let asked = claims_until(&bed, 3, before).await;
    assert!(
        asked <= FEW,
        "{asked} claims for a host that is not kept any more"
    );

    // What happens to a host is not told until the stream is there again.
    let before = claims();
    bed.hosts.with(|world| {
        let mut host = world.hosts["one"].clone();
        host.labels = [("rack".to_owned(), "a".to_owned())].into();
        (host.consumer, host.requested_image) = (None, None);
        world.revision += 1;
        host.revision = world.revision.to_string();
        world.hosts.insert("four".into(), host);
        let four = world.hosts.get_mut("four").and_then(|host| host.r#ref.as_mut());
        four.unwrap().name = "four".into();
        world.refused_streams = vec![Reason::RevisionExpired.status("too old", [])];
    });
    bed.hosts.cut();
    let asked = claims_until(&bed, 4, before).await;
    assert!(asked <= FEW, "{asked} claims after the stream broke");
    assert_eq!(bed.hosts.with(|world| world.granted.len()), 4);
    bed.stop().await;
}

#[tokio::test]
async fn who_does_not_wait_any_more_keeps_no_host_from_others_and_all_ask_when_nobody_tells_of_hosts() {
    let bed = Bed::start(true).await;
    bed.followed().await;
    let waits = async |machine: &str, rack: &str| {
        bed.machine_on(machine, &json!({"rack": rack}));
        bed.reason(machine, ASSOCIATED, "AssociateBareMetalHostFailed")
            .await;
    };
    for (machine, rack) in [("first", "a"), ("second", "a"), ("third", "a"), ("fourth", "b")] {
        waits(machine, rack).await;
    }
    let mut first = bed.kube.get("metal3machines", "first").unwrap();
    first["metadata"]["annotations"] = json!({"cluster.x-k8s.io/paused": ""});
    bed.kube.put("metal3machines", first);
    bed.reason("first", "Paused", "Paused").await;
    // By force: it is gone at once. What is heard of the next one is heard later.
    let mut second = bed.kube.get("metal3machines", "second").unwrap();
    second["metadata"]["finalizers"] = json!([]);
    second["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    bed.kube.put("metal3machines", second);
    waits("fifth", "c").await;
    let rack = |host: &mut Host| drop(host.labels.insert("rack".into(), "a".into()));
    bed.hosts.change("h", rack);
    // Before the client gives up a stream that is silent, after which all ask.
    wait::until("the host to be claimed", wait::LONG / 2, async || {
        let granted = bed.hosts.with(|world| world.granted.clone());
        let third = [("h".to_owned(), "third".to_owned())];
        if granted == third {
            Ok(())
        } else {
            Err(format!("{granted:?}"))
        }
    })
    .await;

    let claims = || bed.hosts.with(|world| world.claims.len());
    let before = claims();
    bed.hosts.with(|world| {
        let refused = Reason::Forbidden.status("watch on hosts is not allowed", []);
        world.refused_streams = vec![refused; 1000];
    });
    bed.hosts.cut();
    wait::until("a claim of each that waits", wait::LONG, async || {
        (claims() >= before + 2).then_some(())
    })
    .await;
    bed.stop().await;
}

#[tokio::test]
async fn the_host_of_a_machine_is_asked_for_only_when_the_stream_does_not_tell_of_it() {
    let bed = Bed::start(true).await;
    bed.hosts.change("h", |_| {});
    bed.machine("m");
    bed.reason("m", "HostProvisioned", "Provisioning").await;
    let looks = || {
        bed.hosts
            .with(|world| world.log.iter().filter(|call| *call == "GetHost").count())
    };
    let fails = async |error: &'static str| {
        bed.hosts.change("h", |host| host.error_message = error.into());
        wait::until(error, wait::LONG, async || {
            let message = bed.reason("m", "HostProvisioned", "HostError").await;
            if message.contains(error) {
                Ok(())
            } else {
                Err(message)
            }
        })
        .await;
    };
    // The claim may be told by its answer before it is by the stream.
    fails("no power").await;
    let before = looks();
    assert!(before <= 1, "{before}");
    fails("no link").await;
    fails("no disk").await;
    assert_eq!(looks(), before);

    bed.hosts.with(|world| {
        let refused = Reason::Forbidden.status("watch on hosts is not allowed", []);
        world.refused_streams = vec![refused; 1000];
    });
    bed.hosts.cut();
    wait::until("a broken stream", wait::LONG, async || {
        let (_, text) = bed.readyz().await;
        if text.contains("[~]host-service") {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
    bed.hosts.change("h", |host| host.error_message = "no fan".into());
    let mut machine = bed.kube.get("metal3machines", "m").unwrap();
    machine["metadata"]["annotations"]["touched"] = "yes".into();
    bed.kube.put("metal3machines", machine);
    wait::until("a look", wait::LONG, async || (looks() > before).then_some(())).await;
    fails("no fan").await;
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
