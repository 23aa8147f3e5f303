//! WatchHosts: snapshot, marker, changes, and going on after a break.

use metal3_rpc::reason::Reason;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{WatchHostsRequest, WatchHostsResponse};
use metal3_testkit::wait;
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
    hosts.clone().watch_hosts(request).await.unwrap().into_inner()
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
