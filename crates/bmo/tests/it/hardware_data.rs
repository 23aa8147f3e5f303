//! HardwareData: what inspection found, or what a user brought.

use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use metal3_api::metal3::hardware_data::HardwareData;
use metal3_testkit::wait;
use serde_json::{Value, json};

use crate::world::World;

const FINALIZER: &str = "baremetalhost.metal3.io/hardwareData";

fn api(world: &World) -> Api<HardwareData> {
    Api::namespaced(world.client(), &world.namespace)
}

fn brought(name: &str, architecture: &str) -> HardwareData {
    let hardware = json!({
        "cpu": {"arch": architecture, "count": 4},
        "ramMebibytes": 4096,
        "hostname": "brought",
    });
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"hardware": hardware}})).unwrap()
}

/// What the status of the host says about its hardware.
async fn hardware(world: &World, name: &str) -> Value {
    let status = world.get(name).await.status.unwrap_or_default();
    json!(status.hardware)
}

#[tokio::test]
async fn a_second_inspection_keeps_what_users_added() {
    let world = World::start("hardware-again").await;
    world.available(&["a"]).await;
    let first = api(&world).get("a").await.unwrap();
    assert_eq!(first.finalizers(), [FINALIZER]);
    let owner = &first.owner_references()[0];
    assert_eq!(
        (owner.name.as_str(), owner.controller, owner.block_owner_deletion),
        ("a", Some(true), Some(true))
    );
    let patch = json!({
        "metadata": {"labels": {"rack": "7"}, "annotations": {"note": "x"}},
        "spec": {"hardware": {"hostname": "stale"}},
    });
    api(&world)
        .patch("a", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    world
        .patch(
            "a",
            json!({"metadata": {"annotations": {"inspect.metal3.io": ""}}}),
        )
        .await;
    let second = wait::until("the second inspection to be written", wait::LONG, async || {
        let data = api(&world).get("a").await.map_err(|error| error.to_string())?;
        match data
            .spec
            .hardware
            .as_ref()
            .and_then(|hardware| hardware.hostname.as_deref())
        {
            Some("stale") => Err("not yet".to_owned()),
            _ => Ok(data),
        }
    })
    .await;
    assert_eq!(second.uid(), first.uid());
    assert_eq!(
        (&second.labels()["rack"][..], &second.annotations()["note"][..]),
        ("7", "x")
    );
    assert_eq!(second.finalizers(), [FINALIZER]);
    world.reaches("a", "available").await;
    world.delete("a").await;
    world.is_gone("a").await;
    let data = api(&world).get("a").await.unwrap();
    assert!(data.finalizers().is_empty(), "{:?}", data.finalizers());
}

#[tokio::test]
async fn a_user_may_bring_the_hardware_of_a_host_that_is_not_inspected() {
    let world = World::start("hardware-brought").await;
    let mut a = world.host("a");
    a.spec.inspection_mode = Some(metal3_api::metal3::host::InspectionMode::Disabled);
    world.create(&a).await;
    world.reaches("a", "available").await;
    assert_eq!(hardware(&world, "a").await["hostname"], json!(null));
    api(&world)
        .create(&PostParams::default(), &brought("a", "aarch64"))
        .await
        .unwrap();
    wait::until("the hardware to be taken over", wait::LONG, async || {
        let (status, host) = (hardware(&world, "a").await, world.get("a").await);
        if status["hostname"] == "brought" && host.spec.architecture.as_deref() == Some("aarch64") {
            Ok(())
        } else {
            Err(format!("{status} {:?}", host.spec.architecture))
        }
    })
    .await;
    let patch = json!({"spec": {"hardware": {"ramMebibytes": 8192}}});
    api(&world)
        .patch("a", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    wait::until("a correction to be taken over", wait::LONG, async || {
        let hardware = hardware(&world, "a").await;
        if hardware["ramMebibytes"] == 8192 {
            Ok(())
        } else {
            Err(hardware.to_string())
        }
    })
    .await;
    let data = api(&world).get("a").await.unwrap();
    assert!(
        data.finalizers().is_empty(),
        "it is the user's: {:?}",
        data.finalizers()
    );
}

#[tokio::test]
async fn inspection_replaces_what_a_user_brought_and_the_object_stays_the_users() {
    let world = World::start("hardware-replaced").await;
    let data = brought("a", "x86_64");
    let before = api(&world).create(&PostParams::default(), &data).await.unwrap();
    world.available(&["a"]).await;
    let after = api(&world).get("a").await.unwrap();
    assert_eq!(after.uid(), before.uid());
    assert!(after.finalizers().is_empty(), "{:?}", after.finalizers());
    assert_eq!(after.owner_references()[0].name, "a");
    let hardware = after.spec.hardware.unwrap();
    assert!(
        !hardware.nics.is_empty() && hardware.hostname.as_deref() != Some("brought"),
        "{hardware:?}"
    );
}
