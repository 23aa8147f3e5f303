//! WatchHosts: snapshot, marker, changes, and going on after a break.

use metal3_rpc::reason::Reason;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{WatchHostsRequest, WatchHostsResponse};
use metal3_testkit::{Rules, wait};
use serde_json::json;
use tonic::Streaming;

use crate::program::Hosts;
use crate::world::World;

async fn open(hosts: &Hosts, world: &World, from: &str) -> Streaming<WatchHostsResponse> {
    let request = WatchHostsRequest {
        namespaces: vec![world.namespace.clone()],
        from_revision: from.into(),
        ..Default::default()
    };
    follow(hosts, request).await
}

async fn follow(hosts: &Hosts, request: WatchHostsRequest) -> Streaming<WatchHostsResponse> {
    hosts.clone().watch_hosts(request).await.unwrap().into_inner()
}

/// The names of the hosts that a stream begins with.
async fn snapshot(stream: &mut Streaming<WatchHostsResponse>) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let response = next(stream).await;
        match response.r#type() {
            Type::Added => names.push(name(&response).to_owned()),
            Type::Synced => return names,
            other => panic!("{other:?} in the snapshot"),
        }
    }
}

/// The next host that comes or goes.
async fn turn(stream: &mut Streaming<WatchHostsResponse>) -> (Type, String) {
    loop {
        let response = next(stream).await;
        if matches!(response.r#type(), Type::Added | Type::Deleted) {
            return (response.r#type(), name(&response).to_owned());
        }
    }
}

async fn next(stream: &mut Streaming<WatchHostsResponse>) -> WatchHostsResponse {
    tokio::time::timeout(wait::LONG, stream.message())
        .await
        .expect("nothing came")
        .unwrap()
        .expect("the stream ended")
}

fn name(response: &WatchHostsResponse) -> &str {
    response
        .host
        .as_ref()
        .and_then(|host| host.r#ref.as_ref())
        .map_or("", |host| &host.name)
}

#[tokio::test]
async fn a_watch_is_a_snapshot_then_a_marker_then_changes() {
    let world = World::start("watch").await;
    world.available(&["a", "b"]).await;
    let hosts = world.caller("caller", &["watch"]).await;
    let mut stream = open(&hosts, &world, "").await;
    let mut snapshot = Vec::new();
    let marker = loop {
        let response = next(&mut stream).await;
        match response.r#type() {
            Type::Added => snapshot.push(name(&response).to_owned()),
            Type::Synced => break response,
            other => panic!("{other:?} in the snapshot"),
        }
    };
    assert_eq!(snapshot, ["a", "b"]);
    assert!(marker.host.is_none() && !marker.revision.is_empty());
    world
        .patch("a", json!({"metadata": {"labels": {"rack": "7"}}}))
        .await;
    let changed = loop {
        let response = next(&mut stream).await;
        assert_eq!(response.r#type(), Type::Modified, "{response:?}");
        if name(&response) == "a" && response.host.as_ref().unwrap().labels.contains_key("rack") {
            break response;
        }
    };
    assert!(changed.revision.parse::<u64>().unwrap() > marker.revision.parse().unwrap());
    world.delete("b").await;
    let deleted = loop {
        let response = next(&mut stream).await;
        if response.r#type() == Type::Deleted {
            break response;
        }
    };
    assert_eq!(name(&deleted), "b");
}

#[tokio::test]
async fn a_watch_goes_on_where_it_stopped() {
    let world = World::start("watch-resume").await;
    world.available(&["a", "b"]).await;
    let hosts = world.caller("caller", &["watch"]).await;
    let mut stream = open(&hosts, &world, "").await;
    let seen = loop {
        let response = next(&mut stream).await;
        if response.r#type() == Type::Synced {
            break response.revision;
        }
    };
    drop(stream);
    world
        .patch("b", json!({"metadata": {"labels": {"rack": "7"}}}))
        .await;
    // One reader sees the change for sure; what the next one is told does not depend on time then.
    let mut stream = open(&hosts, &world, "").await;
    loop {
        let response = next(&mut stream).await;
        if response.host.is_some_and(|host| host.labels.contains_key("rack")) {
            break;
        }
    }
    let mut stream = open(&hosts, &world, &seen).await;
    let response = next(&mut stream).await;
    assert_eq!(
        (response.r#type(), name(&response)),
        (Type::Modified, "b"),
        "only what was missed"
    );
    assert_eq!(response.host.unwrap().labels["rack"], "7");
    assert_eq!(next(&mut stream).await.r#type(), Type::Synced);
}

#[tokio::test]
async fn a_revision_that_is_not_known_any_more_is_refused_with_the_remedy() {
    let world = World::start("watch-expired").await;
    let mut hosts = world.caller("caller", &["watch"]).await;
    world.available(&["a"]).await;
    let request = WatchHostsRequest {
        namespaces: vec![world.namespace.clone()],
        from_revision: u64::MAX.to_string(),
        ..Default::default()
    };
    let error = hosts.watch_hosts(request).await.unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::RevisionExpired));
    assert!(error.message().contains("start again"), "{}", error.message());
}

#[tokio::test]
async fn a_filter_on_the_consumer_lets_hosts_come_and_go_as_they_change_hands() {
    let world = World::start("watch-consumer").await;
    world.available(&["a", "b", "c"]).await;
    let owner = |kind: &str| {
        json!({"spec": {"consumerRef": {
            "apiVersion": "example.com/v1", "kind": kind, "namespace": world.namespace, "name": "x",
        }}})
    };
    world.patch("b", owner("Metal3Machine")).await;
    world.patch("c", owner("Job")).await;
    let hosts = world.caller("caller", &["watch"]).await;
    // One reader without a filter sees that bmo knows all of it; what the others begin with does not depend on time then.
    let mut all = open(&hosts, &world, "").await;
    loop {
        let host = next(&mut all).await.host;
        let consumer = host.as_ref().and_then(|host| host.consumer.as_ref());
        if consumer.is_some_and(|consumer| consumer.kind == "Job") {
            break;
        }
    }
    let request = WatchHostsRequest {
        namespaces: vec![world.namespace.clone()],
        consumer_kind: "Metal3Machine".into(),
        ..Default::default()
    };
    let mut stream = follow(&hosts, request).await;
    assert_eq!(snapshot(&mut stream).await, ["a", "b"]);
    world.patch("c", json!({"spec": {"consumerRef": null}})).await;
    assert_eq!(turn(&mut stream).await, (Type::Added, "c".to_owned()));
    world.patch("a", owner("Job")).await;
    assert_eq!(turn(&mut stream).await, (Type::Deleted, "a".to_owned()));
    // Nothing of a host that does not concern the reader, not even its end.
    world.delete("a").await;
    world.is_gone("a").await;
    world.delete("b").await;
    assert_eq!(turn(&mut stream).await, (Type::Deleted, "b".to_owned()));
}

#[tokio::test]
async fn a_reader_gets_the_labels_and_the_namespaces_that_it_asks_for() {
    let world = World::start("watch-labels").await;
    world.available(&["a"]).await;
    world
        .patch(
            "a",
            json!({"metadata": {"labels": {"example.com/rack": "7", "example.com/row": "2", "other/x": "1"}}}),
        )
        .await;
    let everywhere = Rules::default().everywhere("host.metal3.io", "hosts", &["watch"]);
    let account = world
        .plane
        .account(&world.namespace, "overseer", &everywhere)
        .await;
    let hosts = world.bmo.hosts(Some(&account.unwrap().token));
    let request = |namespaces: &[&str]| WatchHostsRequest {
        namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
        label_prefixes: vec!["example.com/".into(), "none/".into()],
        ..Default::default()
    };
    let mut stream = follow(&hosts, request(&["default", "watch-labels"])).await;
    let labels = loop {
        let host = next(&mut stream).await.host.unwrap_or_default();
        if !host.labels.is_empty() {
            break host.labels;
        }
    };
    let mut keys: Vec<_> = labels.keys().collect();
    keys.sort();
    assert_eq!(keys, ["example.com/rack", "example.com/row"]);
    assert!(
        snapshot(&mut follow(&hosts, request(&["default"])).await)
            .await
            .is_empty()
    );
    assert_eq!(snapshot(&mut follow(&hosts, request(&[])).await).await, ["a"]);
}

/// The labels of the host that a message is about.
fn sorted(response: WatchHostsResponse) -> Vec<String> {
    let labels = response.host.unwrap_or_default().labels;
    let mut labels: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.sort();
    labels
}

#[tokio::test]
async fn a_reader_that_asks_for_no_labels_in_particular_is_told_of_each_change_of_any() {
    let world = World::start("watch-all-labels").await;
    world.available(&["a"]).await;
    let hosts = world.caller("caller", &["watch"]).await;
    let mut stream = open(&hosts, &world, "").await;
    snapshot(&mut stream).await;
    for (changed, wanted) in [
        (
            json!({"example.com/rack": "7", "plain": "1"}),
            vec!["example.com/rack=7", "plain=1"],
        ),
        (
            json!({"example.com/rack": "8"}),
            vec!["example.com/rack=8", "plain=1"],
        ),
        (json!({"example.com/rack": null}), vec!["plain=1"]),
    ] {
        world.patch("a", json!({"metadata": {"labels": changed}})).await;
        let told = async { while sorted(next(&mut stream).await) != wanted {} };
        // Bookmarks come for ever.
        let told = tokio::time::timeout(wait::LONG, told).await;
        told.unwrap_or_else(|_| panic!("nobody tells {wanted:?}"));
    }
}

#[tokio::test]
async fn a_revision_of_another_replica_is_refused_with_the_remedy() {
    let world = World::start("watch-replica").await;
    world.available(&["a"]).await;
    let hosts = world.caller("caller", &["watch"]).await;
    let mut stream = open(&hosts, &world, "").await;
    let from_revision = loop {
        let response = next(&mut stream).await;
        if response.r#type() == Type::Synced {
            break response.revision;
        }
    };
    world.bmo.process.terminate(wait::LONG).await.unwrap();
    world.bmo.process.restart().unwrap();
    world.bmo.ready().await;
    let request = WatchHostsRequest {
        namespaces: vec![world.namespace.clone()],
        from_revision,
        ..Default::default()
    };
    let error = world
        .caller("caller", &["watch"])
        .await
        .watch_hosts(request)
        .await;
    let error = error.unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::RevisionExpired));
    assert!(error.message().contains("start again"), "{}", error.message());
}
