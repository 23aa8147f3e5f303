//! Claims at two replicas, of which one learns late what happens.

use std::collections::BTreeSet;

use metal3_api::names;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{ClaimHostRequest, Host, Selector, WatchHostsRequest};
use metal3_testkit::wait;
use serde_json::{Value, json};
use tonic::Streaming;

use crate::late::{Two, claim};

#[tokio::test]
async fn a_machine_has_one_host_whichever_replica_it_asks_and_however_late_that_one_is_told() {
    let two = Two::start("claim-late", &["a", "b", "c"]).await;
    // The late replica knows of one free host only, and then of nothing new.
    for name in ["b", "c"] {
        two.pause(name, true).await;
        two.late_shows(name, |host| host.paused_by.is_some()).await;
    }
    two.gate.hold(true);
    for name in ["b", "c"] {
        two.pause(name, false).await;
    }
    two.pause("a", true).await;
    // The prompt replica is told in the order in which it happened.
    let first = wait::until("the prompt replica to know", wait::LONG, async || {
        match claim(&two.prompt, two.claim("m")).await {
            Ok(name) => Ok(name),
            Err(status) => Err(status.to_string()),
        }
    })
    .await;
    assert_ne!(first, "a");
    two.pause("a", false).await;

    let (late, request) = (two.late.clone(), two.claim("m"));
    let second = tokio::spawn(async move { claim(&late, request).await });
    wait::until("a second host to be claimed", wait::LONG, async || {
        let hosts = two.hosts_of("m").await;
        if hosts.len() == 2 {
            Ok(())
        } else {
            Err(format!("{hosts:?}"))
        }
    })
    .await;
    assert_eq!(
        claim(&two.prompt, two.claim("m")).await.unwrap(),
        first,
        "asked again"
    );
    two.gate.hold(false);
    assert_eq!(second.await.unwrap().unwrap(), first);
    for hosts in [&two.prompt, &two.late] {
        assert_eq!(claim(hosts, two.claim("m")).await.unwrap(), first);
    }
    assert_eq!(two.hosts_of("m").await, BTreeSet::from([first]));
}

/// What makes a host claimable.
struct Way {
    name: &'static str,
    before: Value,
    after: Value,
}

fn ways() -> [Way; 5] {
    let annotation = |name: &str, value: Value| json!({"metadata": {"annotations": {name: value}}});
    let reserved = |end: &str| {
        json!({
            "metadata": {
                "labels": {names::LABEL_NODE_REUSE: "md-x"},
                "annotations": {names::ANNOTATION_RESERVED_UNTIL: end},
            },
            "spec": {"consumerRef": {
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "namespace": "claim-woken", "name": "c",
            }},
        })
    };
    [
        Way {
            name: "unpaused",
            before: annotation(names::ANNOTATION_PAUSED, json!("")),
            after: annotation(names::ANNOTATION_PAUSED, Value::Null),
        },
        Way {
            name: "healthy",
            before: annotation(names::ANNOTATION_UNHEALTHY, json!("")),
            after: annotation(names::ANNOTATION_UNHEALTHY, Value::Null),
        },
        Way {
            name: "labelled",
            before: json!({"metadata": {"labels": {"way": "none"}}}),
            after: json!({"metadata": {"labels": {"way": "labelled"}}}),
        },
        Way {
            name: "released",
            before: json!({"spec": {"consumerRef": {
                "apiVersion": "example.com/v1", "kind": "Job", "namespace": "claim-woken", "name": "j",
            }}}),
            after: json!({"spec": {"consumerRef": null}}),
        },
        Way {
            name: "expired",
            before: reserved("2099-01-01T00:00:00Z"),
            // The sweep of reservations frees it.
            after: annotation(names::ANNOTATION_RESERVED_UNTIL, json!("2026-01-01T00:00:00Z")),
        },
    ]
}

async fn next(
    stream: &mut Streaming<metal3_rpc::v1::WatchHostsResponse>,
) -> metal3_rpc::v1::WatchHostsResponse {
    tokio::time::timeout(wait::LONG, stream.message())
        .await
        .expect("nothing came")
        .unwrap()
        .expect("the stream ended")
}

fn claimable(host: &Host, way: &str) -> bool {
    host.labels.get("way").is_some_and(|label| label == way)
        && host.provisioning_state == "available"
        && host.consumer.is_none()
        && host.paused_by.is_none()
        && !host.unhealthy
}

#[tokio::test]
async fn who_is_woken_by_a_watch_gets_the_host_at_any_replica() {
    let names: Vec<&str> = ways().iter().map(|way| way.name).collect();
    let two = Two::start("claim-woken", &names).await;
    let wish = |way: &str, seen: &str| ClaimHostRequest {
        selector: Some(Selector {
            match_labels: [("way".into(), way.into())].into(),
            ..Default::default()
        }),
        seen_revision: seen.into(),
        ..two.claim(&format!("m-{way}"))
    };
    for way in ways() {
        two.patch(way.name, json!({"metadata": {"labels": {"way": way.name}}}))
            .await;
        two.patch(way.name, way.before).await;
        two.late_shows(way.name, |host| {
            !claimable(host, way.name) && host.labels.contains_key("way")
        })
        .await;
    }
    let request = WatchHostsRequest {
        namespaces: vec![two.namespace.into()],
        ..Default::default()
    };
    let mut stream = two
        .prompt
        .clone()
        .watch_hosts(request)
        .await
        .unwrap()
        .into_inner();
    while next(&mut stream).await.r#type() != Type::Synced {}
    for way in ways() {
        two.gate.hold(true);
        two.patch(way.name, way.after).await;
        let seen = loop {
            let told = next(&mut stream).await.host;
            if let Some(host) = told.filter(|host| claimable(host, way.name)) {
                break host.revision;
            }
        };
        let refused = claim(&two.late, wish(way.name, "")).await.unwrap_err();
        assert_eq!(
            Reason::of(&refused),
            Some(Reason::NoHostAvailable),
            "{}: {refused}",
            way.name
        );
        let (late, request) = (two.late.clone(), wish(way.name, &seen));
        let claimed = tokio::spawn(async move { claim(&late, request).await });
        two.gate.hold(false);
        assert_eq!(claimed.await.unwrap().unwrap(), way.name);
        let again = claim(&two.prompt, wish(way.name, "")).await.unwrap();
        assert_eq!(again, way.name);
    }
}
