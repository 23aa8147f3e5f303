//! Claims that a replica knows by a listing only, which does not tell when they were made: Kubernetes is asked what was then.

use std::collections::BTreeSet;

use metal3_testkit::wait;
use serde_json::json;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::late::{Two, claim};

/// The late replica knows that `b` is paused, and from now on nothing new.
async fn start(namespace: &'static str) -> Two {
    let two = Two::start(namespace, &["a", "b"]).await;
    two.pause("b", true).await;
    two.late_shows("b", |host| host.paused_by.is_some()).await;
    two.gate.hold(true);
    two
}

/// Machine `m` claims at the late replica, and has these hosts then; it waits for its watch.
async fn claims(two: &Two, hosts: &[&str]) -> JoinHandle<Result<String, Status>> {
    let (late, request) = (two.late.clone(), two.claim("m"));
    let claiming = tokio::spawn(async move { claim(&late, request).await });
    has(two, hosts).await;
    claiming
}

async fn has(two: &Two, hosts: &[&str]) {
    let wanted: BTreeSet<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    wait::until("the hosts of the machine", wait::LONG, async || {
        let hosts = two.hosts_of("m").await;
        if hosts == wanted {
            Ok(())
        } else {
            Err(format!("{hosts:?}"))
        }
    })
    .await;
}

/// The answer once the late replica has listed all hosts.
async fn answer(two: &Two, claiming: JoinHandle<Result<String, Status>>) -> String {
    two.relist().await;
    two.gate.hold(false);
    let answer = claiming.await.unwrap().unwrap();
    let past = two.past();
    assert!(
        !past.is_empty() && past.iter().all(|asked| asked.contains("metadata.name%3Db")),
        "{past:?}"
    );
    answer
}

#[tokio::test]
async fn a_host_that_the_machine_had_before_is_the_answer_and_the_new_one_is_given_back() {
    let two = start("claim-listed-before").await;
    two.pause("b", false).await;
    two.pause("a", true).await;
    let first = wait::until("the prompt replica to know", wait::LONG, async || {
        let claimed = claim(&two.prompt, two.claim("m")).await;
        claimed.map_err(|status| status.to_string())
    });
    assert_eq!(first.await, "b");
    two.pause("a", false).await;

    let claiming = claims(&two, &["a", "b"]).await;
    // It changes once more: that it was claimed before is to be seen in the past only.
    two.patch("b", json!({"metadata": {"labels": {"changed": "since"}}}))
        .await;
    assert_eq!(answer(&two, claiming).await, "b");
    has(&two, &["b"]).await;
}

#[tokio::test]
async fn a_host_that_the_machine_did_not_have_before_is_freed_and_the_new_one_is_the_answer() {
    let two = start("claim-listed-after").await;
    let claiming = claims(&two, &["a"]).await;
    let consumer = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "Metal3Machine",
        "namespace": two.namespace, "name": "m",
    });
    two.patch("b", json!({"spec": {"consumerRef": consumer}})).await;
    assert_eq!(answer(&two, claiming).await, "a");
    has(&two, &["a"]).await;
}
