//! What goes wrong: a condition and an event say what and what to do, and once that is done the host goes on by itself.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::{ControlPlane, events, wait, workspace};
use serde_json::json;

use crate::ironic::Ironic;
use crate::program::Launch;
use crate::world::{World, bmo_account, new_host, reaches};

#[tokio::test]
async fn a_malformed_address_is_named_and_once_corrected_the_host_goes_on() {
    let world = World::start("bad-address").await;
    world.create(&world.host("a").bmc("carrier-pigeon://a")).await;
    world.create(&world.host("b")).await;
    let waiting = world.condition("a", "Waiting", "True", "RetryBackoff").await;
    assert!(waiting.message.contains("carrier-pigeon"), "{}", waiting.message);
    assert!(waiting.message.contains("to help: "), "{}", waiting.message);
    let event = events::expect(&world.client(), &world.namespace, "a", "RegistrationError").await;
    assert!(event.contains("carrier-pigeon"), "{event}");
    let status = world.get("a").await.status.unwrap();
    assert_eq!(status.error_type.unwrap().as_str(), "registration error");
    world.reaches("b", "available").await;
    let address = world.host("a").spec.bmc.address;
    world
        .patch("a", json!({"spec": {"bmc": {"address": address}}}))
        .await;
    let host = world.reaches("a", "available").await;
    assert_eq!(host.status.unwrap().error_message, "");
}

#[tokio::test]
async fn wrong_credentials_are_named_and_the_right_ones_are_taken_at_once() {
    let world = World::start("bad-password").await;
    world
        .create(&world.host("a").credentials("admin", "hunter2"))
        .await;
    world.create(&world.host("b")).await;
    let waiting = world.condition("a", "Waiting", "True", "RetryBackoff").await;
    let event = events::expect(&world.client(), &world.namespace, "a", "RegistrationError").await;
    for text in [&waiting.message, &event] {
        assert!(
            text.contains("401") || text.to_lowercase().contains("credential"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(
        world.condition("a", "Ready", "False", "Error").await.status,
        "False"
    );
    world.reaches("b", "available").await;
    let patch = json!({"stringData": {"password": "password"}});
    world
        .secrets()
        .patch("a-bmc", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    world.reaches("a", "available").await;
    let log = world.bmo.process.log();
    assert!(!log.contains("hunter2"), "a password is in the log");
}

#[tokio::test]
async fn a_missing_secret_is_named_and_used_once_it_is_there() {
    let world = World::start("no-secret").await;
    let host = world.host("a");
    host.create_host(&world.client(), &world.namespace).await.unwrap();
    let waiting = world.condition("a", "Waiting", "True", "BMCSecretMissing").await;
    for part in ["no-secret/a-bmc", "create the Secret"] {
        assert!(
            waiting.message.contains(part),
            "{part} is missing in {}",
            waiting.message
        );
    }
    let event = events::expect(&world.client(), &world.namespace, "a", "BMCCredentialError").await;
    assert!(event.contains("no-secret/a-bmc"), "{event}");
    world
        .secrets()
        .create(&PostParams::default(), &host.secret())
        .await
        .unwrap();
    world.reaches("a", "available").await;
}

#[tokio::test]
async fn an_incomplete_secret_is_named_and_used_once_it_is_complete() {
    let world = World::start("half-secret").await;
    let host = world.host("a");
    let mut secret = host.secret();
    secret.string_data.as_mut().unwrap().remove("password");
    world
        .secrets()
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    host.create_host(&world.client(), &world.namespace).await.unwrap();
    let waiting = world
        .condition("a", "Waiting", "True", "BMCAccessIncomplete")
        .await;
    assert!(waiting.message.contains("has no password"), "{}", waiting.message);
    let patch = json!({"stringData": {"password": "password"}});
    world
        .secrets()
        .patch("a-bmc", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    world.reaches("a", "available").await;
}

#[tokio::test]
async fn an_ironic_that_does_not_answer_is_named_and_the_hosts_go_on_when_it_is_back() {
    let world = World::start("no-ironic").await;
    world.ironic.fault("down", "api-unavailable");
    world.create(&world.host("a")).await;
    let waiting = world.condition("a", "Waiting", "True", "BackendNotReady").await;
    assert!(waiting.message.contains("IRONIC_ENDPOINT"), "{}", waiting.message);
    let event = events::expect(&world.client(), &world.namespace, "a", "BackendNotReady").await;
    assert!(event.contains("503") || event.contains("Ironic"), "{event}");
    world.ironic.heal("down");
    world.reaches("a", "available").await;
}

#[tokio::test]
async fn a_missing_user_data_secret_is_named_and_used_once_it_is_there() {
    let world = World::start("no-user-data").await;
    world.available(&["a"]).await;
    let spec = json!({
        "image": {"url": "http://images.test/a.qcow2", "checksum": "d41d8cd98f00b204e9800998ecf8427e"},
        "userData": {"name": "user-data", "namespace": "no-user-data"},
    });
    world.patch("a", json!({"spec": spec})).await;
    let waiting = world.condition("a", "Waiting", "True", "ConfigDataMissing").await;
    for part in ["userData", "no-user-data/user-data"] {
        assert!(
            waiting.message.contains(part),
            "{part} is missing in {}",
            waiting.message
        );
    }
    events::expect(&world.client(), &world.namespace, "a", "ConfigDataMissing").await;
    let mut secret = world.host("a").secret();
    secret.metadata.name = Some("user-data".into());
    secret.metadata.labels = Some([("environment.metal3.io".to_owned(), "baremetal".to_owned())].into());
    secret.string_data = Some([("userData".to_owned(), "#cloud-config".to_owned())].into());
    world
        .secrets()
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    world.reaches("a", "provisioned").await;
}

#[tokio::test]
async fn a_host_that_hangs_does_not_stall_the_others_nor_its_own_deletion() {
    let world = World::start("hangs").await;
    world.ironic.fault("stuck", "hang:inspect@hangs~a");
    world.create(&world.host("a")).await;
    world.condition("a", "Waiting", "True", "InspectionRunning").await;
    world.available(&["b"]).await;
    world.ironic.heal("stuck");
    world.delete("b").await;
    world.is_gone("b").await;
}

#[tokio::test]
async fn a_host_that_never_worked_can_be_deleted() {
    let world = World::start("never").await;
    world.ironic.fault("dead", "bmc-unreachable@never~a");
    world.create(&world.host("a")).await;
    world.create(&world.host("b").bmc("carrier-pigeon://b")).await;
    world
        .host("c")
        .create_host(&world.client(), &world.namespace)
        .await
        .unwrap();
    for host in ["a", "b"] {
        world.condition(host, "Waiting", "True", "RetryBackoff").await;
    }
    world.condition("c", "Waiting", "True", "BMCSecretMissing").await;
    for host in ["a", "b", "c"] {
        world.delete(host).await;
    }
    for host in ["a", "b", "c"] {
        world.is_gone(host).await;
    }
    assert!(world.ironic.nodes().await.is_empty());
}

/// Objects in etcd may be older, or newer, than the schema; here the schema is opened to let one in.
#[tokio::test]
async fn an_object_that_cannot_be_read_stalls_no_other() {
    let plane = ControlPlane::start().await.unwrap();
    plane
        .install_crds(&workspace().join("charts/metal3-crds/templates"))
        .await
        .unwrap();
    let namespace = plane.namespace("malformed").await.unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(plane.client());
    let crd = crds.get("baremetalhosts.metal3.io").await.unwrap();
    let mut open = serde_json::to_value(&crd).unwrap();
    open["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["bmc"] =
        json!({"x-kubernetes-preserve-unknown-fields": true});
    let open: CustomResourceDefinition = serde_json::from_value(open).unwrap();
    crds.replace("baremetalhosts.metal3.io", &PostParams::default(), &open)
        .await
        .unwrap();
    let raw: Api<DynamicObject> = Api::namespaced_with(
        plane.client(),
        &namespace,
        &ApiResource::erase::<BareMetalHost>(&()),
    );
    let malformed = |name: &str| {
        let object = json!({
            "apiVersion": "metal3.io/v1alpha1",
            "kind": "BareMetalHost",
            "metadata": {"name": name},
            "spec": {"online": true, "bmc": "a text"},
        });
        serde_json::from_value::<DynamicObject>(object).unwrap()
    };
    wait::until("the API server to take the open schema", wait::LONG, async || {
        raw.create(&PostParams::default(), &malformed("early"))
            .await
            .map_err(|error| error.to_string())
    })
    .await;

    let ironic = Ironic::start().await;
    let account = bmo_account(&plane, "metal3").await;
    let endpoint = ironic.endpoint();
    let launch = Launch {
        kubeconfig: &account.kubeconfig,
        watch: "",
        home: "metal3",
        ironic: &endpoint,
        leader_election: false,
    };
    let bmo = launch.start();
    bmo.ready().await;
    raw.create(&PostParams::default(), &malformed("late"))
        .await
        .unwrap();
    let hosts: Api<BareMetalHost> = Api::namespaced(plane.client(), &namespace);
    new_host(&namespace, "good")
        .create(&plane.client(), &namespace)
        .await
        .unwrap();
    reaches(&hosts, "good", "available").await;
    assert!(bmo.process.ended().is_none());
    for name in ["early", "late"] {
        wait::until("the log to name the object", wait::LONG, async || {
            bmo.process
                .log()
                .lines()
                .any(|line| line.contains("cannot be read") && line.contains(name))
                .then_some(())
        })
        .await;
    }
    // Corrected, it is a host like any other.
    let host = new_host(&namespace, "early");
    let mut secret = host.secret();
    secret.metadata.namespace = Some(namespace.clone());
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(plane.client(), &namespace);
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let patch = json!({"spec": {"bmc": host.spec.bmc, "bootMACAddress": host.spec.boot_mac_address}});
    raw.patch("early", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    let host = reaches(&hosts, "early", "available").await;
    assert_eq!(host.name_any(), "early");
    assert_eq!(plane.denied_to(&account.user()).unwrap(), Vec::<String>::new());
}
