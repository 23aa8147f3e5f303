//! A host from its creation to its end.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use metal3_api::metal3::hardware_data::HardwareData;
use metal3_ironic_sim::Runs;
use metal3_rpc::v1::{GetInventoryRequest, HostRef};
use metal3_testkit::{events, wait};
use serde_json::json;

use crate::world::{World, condition};

#[tokio::test]
async fn a_host_goes_all_the_way_and_leaves_nothing_behind() {
    let world = World::start("life").await;
    let states = world.record();
    world.create(&world.host("a")).await;
    let host = world.reaches("a", "available").await;
    // Nothing is to prepare: that state is counted, but not worth a write.
    assert_eq!(states.of("a"), ["registering", "inspecting", "available"]);
    assert_eq!(host.finalizers(), ["baremetalhost.metal3.io"]);
    assert_eq!(
        condition(&host, "AvailableForProvisioning").unwrap().status,
        "True"
    );
    let status = host.status.unwrap();
    assert!(!status.hardware.unwrap().nics.is_empty());

    let data: Api<HardwareData> = Api::namespaced(world.client(), &world.namespace);
    let data = data.get("a").await.unwrap();
    assert!(data.spec.hardware.unwrap().cpu.is_some());
    assert_eq!(data.metadata.owner_references.unwrap()[0].name, "a");
    let secret: Secret = world.secrets().get("a-bmc").await.unwrap();
    assert_eq!(secret.labels()["environment.metal3.io"], "baremetal");
    assert_eq!(secret.finalizers(), ["baremetalhost.metal3.io/secret"]);
    assert_eq!(secret.owner_references()[0].name, "a");
    let nodes = world.ironic.nodes().await;
    assert_eq!(nodes.len(), 1);
    assert_eq!(
        (nodes[0].name.as_str(), &nodes[0].uuid),
        ("life~a", &status.provisioning.id)
    );
    events::expect(&world.client(), &world.namespace, "a", "BMCAccessValidated").await;
    events::expect(&world.client(), &world.namespace, "a", "InspectionComplete").await;

    let mut hosts = world.caller("reader", &["get"]).await;
    let request = GetInventoryRequest {
        host: Some(HostRef::named("life", "a")),
        ..Default::default()
    };
    let inventory = hosts
        .get_inventory(request)
        .await
        .unwrap()
        .into_inner()
        .inventory
        .unwrap();
    assert!(
        inventory.cpu_count > 0 && inventory.ram_mebibytes > 0 && !inventory.nics.is_empty(),
        "{inventory:?}"
    );

    let image = json!({"url": "http://images.test/a.qcow2", "checksum": "d41d8cd98f00b204e9800998ecf8427e"});
    world.patch("a", json!({"spec": {"image": image}})).await;
    let host = world.reaches("a", "provisioned").await;
    assert_eq!(condition(&host, "Provisioned").unwrap().status, "True");
    assert_eq!(
        host.status.unwrap().provisioning.image.unwrap().url,
        "http://images.test/a.qcow2"
    );
    assert_eq!(world.ironic.node("life~a").await.provision_state, "active");

    world.patch("a", json!({"spec": {"image": null}})).await;
    let host = world.reaches("a", "available").await;
    assert!(host.status.unwrap().provisioning.image.is_none());

    world.delete("a").await;
    world.is_gone("a").await;
    assert!(world.ironic.nodes().await.is_empty());
    let secret: Secret = world.secrets().get("a-bmc").await.unwrap();
    assert!(secret.finalizers().is_empty(), "{:?}", secret.finalizers());
    assert_eq!(
        states.of("a"),
        [
            "registering",
            "inspecting",
            "available",
            "provisioning",
            "provisioned",
            "deprovisioning",
            "available",
            "powering off before delete",
            "deleting",
        ]
    );
    let metrics = world.bmo.metrics().await;
    assert!(
        metrics.contains(r#"prev_state="preparing",new_state="available""#),
        "{metrics}"
    );
    wait::until("the host to be forgotten", wait::LONG, async || {
        let metrics = world.bmo.metrics().await;
        let series = metrics.lines().find(|line| line.contains(r#"host="a""#));
        series.map_or(Ok(()), |line| Err(line.to_owned()))
    })
    .await;
}

#[tokio::test]
async fn a_running_host_that_is_deleted_is_deprovisioned_first() {
    let world = World::start("life-running").await;
    let states = world.record();
    world
        .create(&world.host("a").image("http://images.test/a.qcow2"))
        .await;
    world.reaches("a", "provisioned").await;
    world.delete("a").await;
    world.is_gone("a").await;
    assert!(world.ironic.nodes().await.is_empty());
    let states = states.of("a");
    assert_eq!(states[states.len() - 2..], ["deprovisioning", "deleting"]);
}

#[tokio::test]
async fn a_host_that_others_provisioned_never_boots_a_ramdisk() {
    let world = World::start("life-external").await;
    world.create(&world.host("a").externally_provisioned()).await;
    world.reaches("a", "externally provisioned").await;
    let node = "life-external~a";
    // The state comes first; the node is adopted in it.
    wait::until("the node to be adopted", wait::LONG, async || {
        let state = world.ironic.node(node).await.provision_state;
        if state == "active" { Ok(()) } else { Err(state) }
    })
    .await;
    wait::until("the host to be on", wait::LONG, async || {
        world.get("a").await.status.filter(|status| status.powered_on)
    })
    .await;
    world.delete("a").await;
    world.is_gone("a").await;
    assert!(world.ironic.nodes().await.is_empty());
    // Whatever touches a disk runs in one.
    let history = world.ironic.history(&world.host("a"));
    assert!(
        !history.is_empty() && !history.contains(&Runs::Agent),
        "{history:?}"
    );
}

#[tokio::test]
async fn power_follows_the_spec() {
    let world = World::start("life-power").await;
    world.create(&world.host("a").online(false)).await;
    let powered = async |on: bool| {
        let (hosts, word) = (world.hosts(), if on { "power on" } else { "power off" });
        wait::until(&format!("the machine to be {word}"), wait::LONG, async || {
            let status = hosts
                .get("a")
                .await
                .map_err(|error| error.to_string())?
                .status
                .unwrap_or_default();
            let node = world.ironic.node("life-power~a").await.power_state;
            let agree = status.powered_on == on && node.as_deref() == Some(word);
            if agree {
                Ok(())
            } else {
                Err(format!("status {}, Ironic {node:?}", status.powered_on))
            }
        })
        .await;
    };
    world.reaches("a", "available").await;
    powered(false).await;
    world.patch("a", json!({"spec": {"online": true}})).await;
    powered(true).await;
    world.patch("a", json!({"spec": {"online": false}})).await;
    powered(false).await;
}
