//! The Secrets of the config drive: user data, meta data and network data.

use kube::api::DeleteParams;
use metal3_testkit::{events, wait};
use serde_json::json;

use crate::program::Bmo;
use crate::secrets::{create, get};
use crate::world::{World, condition};

/// A deployment reads them and nothing else does: whoever made them may take them away afterwards.
#[tokio::test]
async fn config_data_that_is_deleted_after_the_deployment_is_missed_by_the_next_one_only() {
    let world = World::start("secret-config").await;
    let data = [
        ("userData", "user", "#cloud-config"),
        ("metaData", "meta", "rack: r1"),
        ("networkData", "net", "links: []"),
    ];
    for (field, name, content) in data {
        create(&world, name, "Opaque", &[(field, content)]).await;
    }
    world.available(&["a"]).await;
    let image = json!({"url": "http://images.test/a.qcow2", "checksum": "d41d8cd98f00b204e9800998ecf8427e"});
    let references = json!({"spec": {
        "image": image, "userData": {"name": "user"}, "metaData": {"name": "meta"}, "networkData": {"name": "net"},
    }});
    world.patch("a", references).await;
    world.reaches("a", "provisioned").await;
    let drive = world.ironic.disk(&world.host("a")).configdrive;
    assert_eq!(
        (
            &drive["user_data"],
            &drive["meta_data"]["rack"],
            &drive["network_data"]
        ),
        (&json!("#cloud-config"), &json!("r1"), &json!({"links": []}))
    );
    for (_, name, _) in data {
        world
            .secrets()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        assert_eq!(get(&world, name).await, None, "nothing holds it");
    }

    // Nothing is missed by a machine that runs, also when all of it is looked at anew.
    world.bmo.process.kill();
    let again = world.bmo_again().await;
    for online in [false, true] {
        world.patch("a", json!({"spec": {"online": online}})).await;
        wait::until("power to follow the spec", wait::LONG, async || {
            let status = world.get("a").await.status.unwrap();
            (status.powered_on == online).then_some(())
        })
        .await;
    }
    world.reaches("a", "provisioned").await;
    assert_eq!(missed(&world, &again).await, Vec::<String>::new());

    // Nor by its end.
    world.patch("a", json!({"spec": {"image": null}})).await;
    world.reaches("a", "available").await;
    assert_eq!(missed(&world, &again).await, Vec::<String>::new());

    // The next deployment names each, and begins when all are there.
    world.patch("a", json!({"spec": {"image": image}})).await;
    for (field, name, content) in data {
        let problem = format!("the {field} secret secret-config/{name} does not exist");
        wait::until(&problem, wait::LONG, async || {
            let waiting = condition(&world.get("a").await, "Waiting").ok_or("nothing is awaited")?;
            let told = waiting.reason == "ConfigDataMissing" && waiting.message.contains(&problem);
            if told { Ok(()) } else { Err(waiting.message) }
        })
        .await;
        create(&world, name, "Opaque", &[(field, content)]).await;
        // It looks again by itself, too, but seldom.
        world
            .patch("a", json!({"metadata": {"annotations": {"made": name}}}))
            .await;
    }
    world.reaches("a", "provisioned").await;
}

/// What was told of config data that is not there, in events and metrics.
async fn missed(world: &World, bmo: &Bmo) -> Vec<String> {
    let told = events::about(&world.client(), &world.namespace, "a")
        .await
        .unwrap();
    let told = told.into_iter().filter_map(|event| event.reason);
    let told = told.filter(|reason| reason == "ConfigDataMissing");
    let metrics = bmo.metrics().await;
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("metal3_host_config_data_error_total"));
    told.chain(counted.map(str::to_owned)).collect()
}
