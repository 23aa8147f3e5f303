//! Nodes in Ironic whose host does not exist.

use kube::api::{DeleteParams, Patch, PatchParams};
use metal3_testkit::{events, http, wait};
use serde_json::json;

use crate::world::World;

/// What bmo's metrics tell of the number of nodes without a host.
async fn told(world: &World, wanted: u32) {
    let line = format!("metal3_ironic_orphan_nodes {wanted}");
    let url = format!("http://127.0.0.1:{}/metrics", world.bmo.metrics);
    wait::until(&line, wait::LONG, async || {
        let (_, metrics) = http::get(&url).await.map_err(|error| error.to_string())?;
        let mut lines = metrics.lines();
        let found = lines.find(|line| line.starts_with("metal3_ironic_orphan_nodes"));
        match found {
            Some(found) if found == line => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_host_was_removed_by_force_is_told_and_taken_over_by_a_host_of_its_name() {
    let world = World::start_in("orphans", &[], &[("IRONIC_ORPHAN_GRACE", "0")]).await;
    world.available(&["a", "b"]).await;
    let node = world.ironic.node("orphans~a").await.uuid;
    told(&world, 0).await;
    // As somebody does who cannot wait: the host goes, and nothing is done about its node.
    world
        .patch(
            "a",
            json!({"metadata": {"annotations": {"baremetalhost.metal3.io/paused": ""}}}),
        )
        .await;
    world.hosts().delete("a", &DeleteParams::default()).await.unwrap();
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world
        .hosts()
        .patch("a", &PatchParams::default(), &free)
        .await
        .unwrap();
    world.is_gone("a").await;
    let event = events::expect(&world.client(), &world.namespace, "a", "NodeWithoutHost").await;
    assert!(
        event.contains(&node) && event.contains("create the BareMetalHost"),
        "{event}"
    );
    told(&world, 1).await;
    let others = events::about(&world.client(), &world.namespace, "b")
        .await
        .unwrap();
    let wrong = others
        .iter()
        .find(|event| event.reason.as_deref() == Some("NodeWithoutHost"));
    assert_eq!(wrong, None, "the host of this one exists");

    world
        .host("a")
        .create_host(&world.client(), &world.namespace)
        .await
        .unwrap();
    let host = world.reaches("a", "available").await;
    assert_eq!(
        host.status.unwrap().provisioning.id,
        node,
        "another node was made"
    );
    told(&world, 0).await;
}
