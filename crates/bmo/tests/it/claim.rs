//! Claiming: who gets which host, once.

use std::collections::BTreeSet;

use futures::future::join_all;
use metal3_rpc::reason::{Reason, rejections};
use metal3_rpc::v1::claim_host_response::Reason as Chosen;
use metal3_rpc::v1::{ClaimHostRequest, ClaimHostResponse, Consumer, Host, Selector};
use metal3_testkit::wait;
use serde_json::json;
use tonic::{Code, Status};

use crate::program::Hosts;
use crate::world::World;

fn claim_by(consumer: Consumer) -> ClaimHostRequest {
    ClaimHostRequest {
        namespace: consumer.namespace.clone(),
        consumer: Some(consumer),
        ..Default::default()
    }
}

async fn claim(hosts: &Hosts, request: ClaimHostRequest) -> Result<ClaimHostResponse, Status> {
    hosts
        .clone()
        .claim_host(request)
        .await
        .map(tonic::Response::into_inner)
}

fn name(host: Option<&Host>) -> String {
    host.and_then(|host| host.r#ref.as_ref()).unwrap().name.clone()
}

/// Consumers of all hosts as Kubernetes has them.
async fn consumers(world: &World) -> Vec<String> {
    let hosts = world.hosts().list(&Default::default()).await.unwrap();
    hosts
        .into_iter()
        .filter_map(|host| host.spec.consumer_ref?.name)
        .collect()
}

#[tokio::test]
async fn two_claims_for_the_last_host_have_one_winner() {
    let world = World::start("claim-last").await;
    world.available(&["a"]).await;
    let hosts = world.caller("caller", &["claim"]).await;
    let (one, other) = tokio::join!(
        claim(&hosts, claim_by(world.consumer("one"))),
        claim(&hosts, claim_by(world.consumer("other")))
    );
    let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
    let (won, lost) = (won.unwrap(), lost.unwrap_err());
    assert_eq!(
        (name(won.host.as_ref()).as_str(), won.reason()),
        ("a", Chosen::Selected)
    );
    assert_eq!(
        (lost.code(), Reason::of(&lost)),
        (Code::ResourceExhausted, Some(Reason::NoHostAvailable))
    );
    let table = rejections(&lost).unwrap();
    assert_eq!(table.candidates, 1);
    assert_eq!(
        (table.rules[0].rule.as_str(), table.rules[0].hosts),
        ("claimed", 1)
    );
    assert_eq!(table.rules[0].examples, ["a"]);
    assert_eq!(
        consumers(&world).await,
        [won.host.unwrap().consumer.unwrap().name]
    );
}

#[tokio::test]
async fn fifty_claims_on_twenty_hosts_get_twenty_different_hosts() {
    let world = World::start("claim-many").await;
    let names: Vec<String> = (0..20).map(|number| format!("h{number:02}")).collect();
    world
        .available(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let hosts = world.caller("caller", &["claim"]).await;
    let claims = (0..50).map(|number| claim(&hosts, claim_by(world.consumer(&format!("m{number:02}")))));
    let (won, lost): (Vec<_>, Vec<_>) = join_all(claims).await.into_iter().partition(Result::is_ok);
    let won: Vec<_> = won
        .into_iter()
        .map(|answer| answer.unwrap().host.unwrap())
        .collect();
    for error in lost.into_iter().map(Result::unwrap_err) {
        assert_eq!(Reason::of(&error), Some(Reason::NoHostAvailable), "{error}");
    }
    let taken: BTreeSet<String> = won.iter().map(|host| name(Some(host))).collect();
    assert_eq!((won.len(), taken.len()), (20, 20));
    for host in &won {
        let stored = world.get(&name(Some(host))).await.spec.consumer_ref.unwrap();
        assert_eq!(stored.name.as_ref(), Some(&host.consumer.as_ref().unwrap().name));
    }
}

#[tokio::test]
async fn a_repeated_claim_gets_the_same_host() {
    let world = World::start("claim-again").await;
    world.available(&["a", "b", "c"]).await;
    let hosts = world.caller("caller", &["claim"]).await;
    let answers = join_all((0..10).map(|_| claim(&hosts, claim_by(world.consumer("m"))))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let taken: BTreeSet<String> = answers.iter().map(|answer| name(answer.host.as_ref())).collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    let selected = answers
        .iter()
        .filter(|answer| answer.reason() == Chosen::Selected)
        .count();
    assert_eq!(selected, 1);
    assert_eq!(consumers(&world).await, ["m"]);
    // Another UID, as after a move, and another version are still the same consumer.
    let moved = Consumer {
        uid: "new".into(),
        api_version: "infrastructure.cluster.x-k8s.io/v1beta1".into(),
        ..world.consumer("m")
    };
    let again = claim(&hosts, claim_by(moved)).await.unwrap();
    assert_eq!(again.reason(), Chosen::Existing);
    assert_eq!(taken.into_iter().next(), Some(name(again.host.as_ref())));
}

#[tokio::test]
async fn the_table_says_why_nothing_fits() {
    let world = World::start("claim-table").await;
    world.available(&["other", "paused", "sick"]).await;
    for (host, annotation) in [
        ("paused", "baremetalhost.metal3.io/paused"),
        ("sick", "capm3.metal3.io/unhealthy"),
    ] {
        let patch = json!({"metadata": {"annotations": {annotation: ""}, "labels": {"rack": "1"}}});
        world.patch(host, patch).await;
    }
    let hosts = world.caller("caller", &["claim"]).await;
    let selector = Selector {
        match_labels: [("rack".into(), "1".into())].into(),
        ..Default::default()
    };
    let request = ClaimHostRequest {
        selector: Some(selector),
        ..claim_by(world.consumer("m"))
    };
    let expected = [
        ("label-mismatch", "other"),
        ("paused", "paused"),
        ("unhealthy", "sick"),
    ];
    wait::until("the index to have seen the annotations", wait::LONG, async || {
        let error = claim(&hosts, request.clone()).await.unwrap_err();
        let table = rejections(&error).ok_or_else(|| error.to_string())?;
        let rules: Vec<_> = table
            .rules
            .iter()
            .map(|rule| (rule.rule.clone(), rule.examples.join(",")))
            .collect();
        let same = rules
            .iter()
            .map(|(rule, host)| (rule.as_str(), host.as_str()))
            .eq(expected);
        for (rule, _) in expected {
            if same {
                assert!(error.message().contains(rule), "{}", error.message());
            }
        }
        if same { Ok(()) } else { Err(format!("{rules:?}")) }
    })
    .await;
    assert!(consumers(&world).await.is_empty());
}
