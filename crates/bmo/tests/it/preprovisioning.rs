//! A ramdisk for each host: asked for by a PreprovisioningImage, built by bmo itself or by somebody else.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use metal3_api::metal3::preprovisioning_image::PreprovisioningImage;
use metal3_testkit::{ControlPlane, Rules, http, wait, workspace};
use serde_json::{Value, json};

use crate::ironic::Ironic;
use crate::program::Launch;
use crate::world::World;

const ISO: &str = "http://images.test/ipa.iso";

/// A bmo that has ramdisks built, with the rules that the chart adds for it.
async fn start(name: &str, variables: &[(&str, &str)]) -> World {
    let plane = ControlPlane::shared().await;
    let ironic = Ironic::start().await;
    let rbac = workspace().join("charts/metal3-bmo/rbac");
    let more = Rules::read(
        &rbac.join("preprovisioning-rules.yaml"),
        &rbac.join("namespace-rules.yaml"),
    )
    .unwrap();
    let mut rules = Rules::of_chart("metal3-bmo").unwrap();
    rules.cluster.extend(more.cluster);
    let account = plane.account(name, "bmo", &rules).await.unwrap();
    let endpoint = ironic.endpoint();
    let launch = Launch {
        kubeconfig: &account.kubeconfig,
        watch: name,
        home: name,
        ironic: &endpoint,
        leader_election: false,
    };
    let bmo = launch.start_in(&["--build-preprov-image"], variables);
    bmo.ready().await;
    World {
        plane,
        namespace: name.to_owned(),
        account,
        ironic,
        bmo,
    }
}

fn images(world: &World) -> Api<PreprovisioningImage> {
    Api::namespaced(world.client(), &world.namespace)
}

async fn driver_info(world: &World, host: &str) -> Value {
    let url = format!("{}/nodes/{}~{host}", world.ironic.endpoint(), world.namespace);
    let node = http::json(&url, &[("x-openstack-ironic-api-version", "1.95")])
        .await
        .unwrap();
    node["driver_info"].clone()
}

async fn condition(world: &World, host: &str, type_: &str, status: &str) -> PreprovisioningImage {
    wait::until(
        &format!("{type_} of the image of {host} to be {status}"),
        wait::LONG,
        async || {
            let image = images(world).get(host).await.map_err(|error| error.to_string())?;
            let conditions = image.status.iter().flat_map(|status| &status.conditions);
            let mut named = conditions.filter(|condition| condition.type_ == type_);
            if named.any(|condition| condition.status == status) {
                Ok(image)
            } else {
                Err(format!("{:?}", image.status))
            }
        },
    )
    .await
}

#[tokio::test]
async fn the_ramdisk_of_the_environment_becomes_that_of_each_host() {
    let world = start("ppi-default", &[("DEPLOY_ISO_URL_X86_64", ISO)]).await;
    let mut host = world.host("a");
    host.spec.architecture = Some("x86_64".into());
    world.create(&host).await;
    world
        .patch("a", json!({"metadata": {"labels": {"rack": "7"}}}))
        .await;
    world.reaches("a", "available").await;
    let image = condition(&world, "a", "Ready", "True").await;
    assert_eq!(image.labels()["rack"], "7");
    assert_eq!(image.owner_references()[0].name, "a");
    let mut finalizers = image.finalizers().to_vec();
    finalizers.sort();
    assert_eq!(
        finalizers,
        [
            "baremetalhost.metal3.io/preprovisioningImage",
            "preprovisioningimage.metal3.io"
        ]
    );
    assert_eq!(image.status.unwrap().image_url.as_deref(), Some(ISO));
    assert_eq!(driver_info(&world, "a").await["deploy_iso"], ISO);
    world.delete("a").await;
    world.is_gone("a").await;
    // Nothing is garbage collected here; only its builder holds the image still.
    let image = images(&world).get("a").await.unwrap();
    assert_eq!(image.finalizers(), ["preprovisioningimage.metal3.io"]);
    images(&world).delete("a", &Default::default()).await.unwrap();
    wait::until("the image to be gone", wait::LONG, async || {
        match images(&world).get_opt("a").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn somebody_else_may_build() {
    let world = start("ppi-external", &[]).await;
    world.create(&world.host("a")).await;
    let waiting = world
        .condition("a", "Waiting", "True", "WaitingForPreprovisioningImage")
        .await;
    assert!(
        waiting.message.contains("no builder has looked at it"),
        "{}",
        waiting.message
    );
    let image = images(&world).get("a").await.unwrap();
    let say = |image: &PreprovisioningImage, ready: &str, error: &str, message: &str| {
        let condition = |type_: &str, status: &str| {
            json!({
                "type": type_, "status": status, "reason": "Test", "message": message,
                "observedGeneration": image.metadata.generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        json!({"status": {
            "imageUrl": ISO,
            "format": "iso",
            "architecture": image.spec.architecture,
            "conditions": [condition("Ready", ready), condition("Error", error)],
        }})
    };
    let patch = async |patch: &Value| {
        images(&world)
            .patch_status("a", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap()
    };
    patch(&say(&image, "False", "False", "compiling the kernel")).await;
    wait::until("the host to show what the builder says", wait::LONG, async || {
        let waiting = world
            .condition("a", "Waiting", "True", "WaitingForPreprovisioningImage")
            .await;
        if waiting.message.contains("compiling the kernel") {
            Ok(())
        } else {
            Err(waiting.message)
        }
    })
    .await;
    patch(&say(&image, "True", "False", "")).await;
    world.reaches("a", "available").await;
    assert_eq!(driver_info(&world, "a").await["deploy_iso"], ISO);
    world.create(&world.host("b")).await;
    world
        .condition("b", "Waiting", "True", "WaitingForPreprovisioningImage")
        .await;
    let image = images(&world).get("b").await.unwrap();
    let broken = say(&image, "False", "True", "the disk of the builder is full");
    images(&world)
        .patch_status("b", &PatchParams::default(), &Patch::Merge(&broken))
        .await
        .unwrap();
    let waiting = world.condition("b", "Waiting", "True", "RetryBackoff").await;
    assert!(
        waiting.message.contains("the disk of the builder is full"),
        "{}",
        waiting.message
    );
    let status = world.get("b").await.status.unwrap();
    assert_eq!(status.error_type.unwrap().as_str(), "registration error");
}

#[tokio::test]
async fn missing_network_data_is_named_on_both_sides_and_used_once_it_is_there() {
    let world = start("ppi-network", &[("DEPLOY_ISO_URL", ISO)]).await;
    let mut host = world.host("a");
    host.spec.preprovisioning_network_data_name = Some("net".into());
    world.create(&host).await;
    let waiting = world
        .condition("a", "Waiting", "True", "WaitingForPreprovisioningImage")
        .await;
    assert!(
        waiting.message.contains("secret net does not exist"),
        "{}",
        waiting.message
    );
    let image = condition(&world, "a", "Error", "True").await;
    let status = image.status.unwrap();
    let error = status.conditions.iter().find(|one| one.type_ == "Error").unwrap();
    assert_eq!(error.reason, "MissingNetworkData");
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some("net".into()),
            labels: Some([("environment.metal3.io".to_owned(), "baremetal".to_owned())].into()),
            ..ObjectMeta::default()
        },
        string_data: Some([("networkData".to_owned(), "{}".to_owned())].into()),
        ..Secret::default()
    };
    world
        .secrets()
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    world.reaches("a", "available").await;
    let secret: Secret = world.secrets().get("net").await.unwrap();
    let mut owners: Vec<_> = secret
        .owner_references()
        .iter()
        .map(|owner| owner.kind.as_str())
        .collect();
    owners.sort_unstable();
    assert_eq!(owners, ["BareMetalHost", "PreprovisioningImage"]);
    let image = condition(&world, "a", "Ready", "True").await;
    let network = image.status.unwrap().network_data.unwrap();
    assert_eq!(network.version, secret.resource_version());
}
