//! Secrets that hosts need: they stay as long as somebody needs them, and no longer.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use metal3_testkit::{events, http, wait};
use serde_json::{Value, json};

use crate::world::World;

const FINALIZER: &str = "baremetalhost.metal3.io/secret";

pub(crate) async fn get(world: &World, name: &str) -> Option<Secret> {
    world.secrets().get_opt(name).await.unwrap()
}

async fn patch(world: &World, name: &str, patch: &Value) {
    world
        .secrets()
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

pub(crate) async fn create(world: &World, name: &str, type_: &str, data: &[(&str, &str)]) {
    let data = data.iter();
    let secret = Secret {
        metadata: kube::api::ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        type_: Some(type_.to_owned()),
        data: Some(
            data.map(|(key, value)| ((*key).to_owned(), ByteString((*value).into())))
                .collect(),
        ),
        ..Secret::default()
    };
    world
        .secrets()
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
}

/// Waits until a Secret has the finalizer, or has it no more.
async fn protected(world: &World, name: &str, wanted: bool) -> Secret {
    wait::until(
        &format!("the finalizer of secret {name} to be there: {wanted}"),
        wait::LONG,
        async || {
            let secret = get(world, name).await.ok_or("it is gone")?;
            let protected = secret.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
            if protected == wanted {
                Ok(secret)
            } else {
                Err(format!("{:?}", secret.metadata.finalizers))
            }
        },
    )
    .await
}

fn owners(secret: &Secret) -> Vec<String> {
    let mut names: Vec<_> = secret
        .owner_references()
        .iter()
        .map(|owner| owner.name.clone())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_shared_secret_is_held_until_the_last_host_is_gone() {
    let world = World::start("secret-shared").await;
    world.create(&world.host("a")).await;
    let mut b = world.host("b");
    b.spec.bmc.credentials_name = "a-bmc".into();
    b.create_host(&world.client(), &world.namespace).await.unwrap();
    for host in ["a", "b"] {
        world.reaches(host, "available").await;
    }
    assert_eq!(owners(&protected(&world, "a-bmc", true).await), ["a", "b"]);
    world.delete("a").await;
    world.is_gone("a").await;
    protected(&world, "a-bmc", true).await;
    world.delete("b").await;
    world.is_gone("b").await;
    protected(&world, "a-bmc", false).await;
}

#[tokio::test]
async fn hosts_that_go_at_once_do_not_hold_their_secret_for_each_other() {
    let world = World::start("secret-at-once").await;
    world.create(&world.host("a")).await;
    for name in ["b", "c"] {
        let mut host = world.host(name);
        host.spec.bmc.credentials_name = "a-bmc".into();
        host.create_host(&world.client(), &world.namespace).await.unwrap();
    }
    for host in ["a", "b", "c"] {
        world.reaches(host, "available").await;
    }
    for host in ["a", "b", "c"] {
        world.delete(host).await;
    }
    for host in ["a", "b", "c"] {
        world.is_gone(host).await;
    }
    protected(&world, "a-bmc", false).await;
}

#[tokio::test]
async fn a_host_that_names_another_secret_lets_go_of_the_first() {
    let world = World::start("secret-renamed").await;
    world.available(&["a"]).await;
    create(
        &world,
        "other",
        "Opaque",
        &[("username", "admin"), ("password", "password")],
    )
    .await;
    protected(&world, "a-bmc", true).await;
    world
        .patch("a", json!({"spec": {"bmc": {"credentialsName": "other"}}}))
        .await;
    assert_eq!(owners(&protected(&world, "other", true).await), ["a"]);
    assert!(owners(&protected(&world, "a-bmc", false).await).is_empty());
    let host = world.reaches("a", "available").await;
    let good = host.status.unwrap().good_credentials.credentials.unwrap();
    assert_eq!(good.name.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_secret_that_became_useless_does_not_outlive_its_host() {
    let world = World::start("secret-useless").await;
    world.available(&["a"]).await;
    patch(&world, "a-bmc", &json!({"data": {"password": null}})).await;
    world
        .condition("a", "Waiting", "True", "BMCAccessIncomplete")
        .await;
    world.delete("a").await;
    world.is_gone("a").await;
    protected(&world, "a-bmc", false).await;
}

/// A namespace that is deleted deletes everything in it at once.
#[tokio::test]
async fn everything_goes_when_everything_is_deleted_at_once() {
    let world = World::start("secret-namespace").await;
    create(
        &world,
        "net",
        "Opaque",
        &[("networkData", "links: []\nnetworks: []\nservices: []")],
    )
    .await;
    let mut a = world.host("a");
    a.spec.preprovisioning_network_data_name = Some("net".into());
    world.create(&a).await;
    world.reaches("a", "available").await;
    let secret = protected(&world, "net", true).await;
    assert!(owners(&secret).is_empty(), "it is the user's");
    for name in ["net", "a-bmc"] {
        world
            .secrets()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    world.delete("a").await;
    world.is_gone("a").await;
    for name in ["net", "a-bmc"] {
        wait::until(
            &format!("secret {name} to be gone"),
            wait::LONG,
            async || match get(&world, name).await {
                None => Ok(()),
                Some(secret) => Err(format!("{:?}", secret.metadata.finalizers)),
            },
        )
        .await;
    }
}

/// Somebody took the host away by force while bmo was down.
#[tokio::test]
async fn what_was_left_behind_is_swept_at_the_start() {
    let world = World::start("secret-swept").await;
    world.available(&["a"]).await;
    protected(&world, "a-bmc", true).await;
    world.bmo.process.kill();
    world.patch("a", json!({"metadata": {"finalizers": null}})).await;
    world.delete("a").await;
    let _again = world.bmo_again().await;
    protected(&world, "a-bmc", false).await;
}

#[tokio::test]
async fn a_label_set_while_bmo_was_down_is_no_change_of_credentials() {
    let world = World::start("secret-label").await;
    world.available(&["a"]).await;
    let before = world.get("a").await.status.unwrap().good_credentials;
    world.bmo.process.kill();
    for label in ["one", "two"] {
        patch(&world, "a-bmc", &json!({"metadata": {"labels": {label: "x"}}})).await;
    }
    let version = get(&world, "a-bmc").await.unwrap().resource_version();
    assert_ne!(before.credentials_version, version);
    let _again = world.bmo_again().await;
    wait::until("the new version to be recorded", wait::LONG, async || {
        let good = world.get("a").await.status.unwrap().good_credentials;
        if good.credentials_version == version {
            Ok(())
        } else {
            Err(format!("{good:?}"))
        }
    })
    .await;
    let told = events::about(&world.client(), &world.namespace, "a")
        .await
        .unwrap();
    let validated = told
        .iter()
        .filter(|event| event.reason.as_deref() == Some("BMCAccessValidated"));
    assert_eq!(validated.count(), 1);
}

#[tokio::test]
async fn network_data_of_the_ramdisk_reaches_ironic_and_what_is_wrong_with_it_the_user() {
    let world = World::start("secret-network").await;
    let mut a = world.host("a");
    a.spec.preprovisioning_network_data_name = Some("net".into());
    world.create(&a).await;
    let waiting = world.condition("a", "Waiting", "True", "RetryBackoff").await;
    for part in [
        "preprovisioningNetworkData",
        "secret-network/net",
        "does not exist",
    ] {
        assert!(
            waiting.message.contains(part),
            "{part} is missing in {}",
            waiting.message
        );
    }
    create(
        &world,
        "net",
        "Opaque",
        &[(
            "value",
            r#"{"links": [], "networks": [], "services": [{"type": "dns", "address": "192.0.2.7"}]}"#,
        )],
    )
    .await;
    let mut b = world.host("b");
    b.spec.preprovisioning_network_data_name = Some("net".into());
    world.create(&b).await;
    world.reaches("b", "available").await;
    let url = format!("{}/nodes/secret-network~b", world.ironic.endpoint());
    let node = http::json(&url, &[("x-openstack-ironic-api-version", "1.95")])
        .await
        .unwrap();
    assert_eq!(node["network_data"]["services"][0]["address"], "192.0.2.7");
    protected(&world, "net", true).await;
    world
        .patch("b", json!({"spec": {"preprovisioningNetworkDataName": null}}))
        .await;
    world
        .patch("a", json!({"spec": {"preprovisioningNetworkDataName": null}}))
        .await;
    protected(&world, "net", false).await;
}

#[tokio::test]
async fn an_image_of_a_registry_is_pulled_with_its_login() {
    let world = World::start("secret-pull").await;
    world.available(&["a", "b"]).await;
    let auths =
        json!({"auths": {"registry.test": {"username": "puller", "password": "hunter2"}}}).to_string();
    create(
        &world,
        "pull",
        "kubernetes.io/dockerconfigjson",
        &[(".dockerconfigjson", &auths)],
    )
    .await;
    create(&world, "odd", "Opaque", &[("password", "hunter2")]).await;
    let image = |secret: &str| json!({"spec": {"image": {"url": "oci://registry.test/node:1", "ociAuthSecretName": secret}}});
    world.patch("a", image("pull")).await;
    world.patch("b", image("odd")).await;
    world.reaches("a", "provisioned").await;
    let event = events::expect(
        &world.client(),
        &world.namespace,
        "b",
        "ImageAuthFormatUnsupported",
    )
    .await;
    assert!(event.contains("secret-pull/odd"), "{event}");
    assert!(!event.contains("hunter2"), "{event}");
    // It waits where it is, and goes on with a secret that can be used.
    let waiting = world
        .condition("b", "Waiting", "True", "PullSecretUnusable")
        .await;
    assert!(waiting.message.contains("secret-pull/odd"), "{}", waiting.message);
    world.patch("b", image("pull")).await;
    world.reaches("b", "provisioned").await;
    let status = world.get("b").await.status.unwrap();
    assert_eq!(
        status.operation_history.deprovision.start, None,
        "it was deprovisioned meanwhile"
    );
    let log = world.bmo.process.log();
    assert!(!log.contains("hunter2"), "a password is in the log");
}
