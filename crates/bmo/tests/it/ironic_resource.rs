//! Ironic as an `ironics.ironic.metal3.io` object tells where it is.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::{ControlPlane, Rules, wait, workspace};
use serde_json::{Value, json};

use crate::ironic::Ironic;
use crate::program::Launch;
use crate::world::{World, condition, summary};

/// The kind, as far as it matters here; the operator of Ironic installs it.
async fn install(client: &Client) {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    let definition = json!({
        "metadata": {"name": "ironics.ironic.metal3.io"},
        "spec": {
            "group": "ironic.metal3.io",
            "scope": "Namespaced",
            "names": {"kind": "Ironic", "listKind": "IronicList", "plural": "ironics", "singular": "ironic"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = serde_json::from_value(definition).unwrap();
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
}

fn ironics(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("ironic.metal3.io", "v1alpha1", "Ironic");
    let kind = ApiResource::from_gvk_with_plural(&kind, "ironics");
    Api::namespaced_with(client, namespace, &kind)
}

/// More than a host finds out within [`wait::LONG`] by looking every 15 s.
const CAUSES: u32 = 12;

/// What the host waits for.
fn condition_of(host: &BareMetalHost) -> Option<String> {
    condition(host, "Waiting").map(|waiting| waiting.message)
}

/// Waits until the host says why Ironic cannot be asked.
async fn says(world: &World, why: &str) {
    let hosts = world.hosts();
    wait::until(&format!("host a to say {why:?}"), wait::LONG, async || {
        let host = hosts.get("a").await.map_err(|error| error.to_string())?;
        condition(&host, "Waiting")
            .filter(|waiting| waiting.reason == "BackendNotReady" && waiting.message.contains(why))
            .map(|_| ())
            .ok_or_else(|| summary(&host))
    })
    .await;
}

#[tokio::test]
async fn a_host_waits_for_the_ironic_resource_and_goes_on_once_it_is_ready() {
    let name = "ironic-resource";
    let plane = ControlPlane::shared().await;
    install(&plane.client()).await;
    let ironic = Ironic::start().await;
    let rbac = workspace().join("charts/metal3-bmo/rbac");
    let more = Rules::read(
        &rbac.join("ironic-resource-rules.yaml"),
        &rbac.join("namespace-rules.yaml"),
    )
    .unwrap();
    let mut rules = Rules::of_chart("metal3-bmo").unwrap();
    rules.cluster.extend(more.cluster);
    let account = plane.account(name, "bmo", &rules).await.unwrap();
    let launch = Launch {
        kubeconfig: &account.kubeconfig,
        watch: name,
        home: name,
        ironic: "",
        leader_election: false,
    };
    // There are no Services here: whatever is asked of Ironic's goes to the simulation.
    let endpoint = ironic.endpoint();
    let proxy = endpoint.trim_end_matches("/v1");
    let variables = [
        ("IRONIC_NAME", "ironic"),
        ("IRONIC_NAMESPACE", name),
        ("HTTP_PROXY", proxy),
    ];
    let bmo = launch.start_in(&[], &variables);
    bmo.ready().await;
    let world = World {
        plane,
        namespace: name.to_owned(),
        account,
        ironic,
        bmo,
    };
    world.create(&world.host("a")).await;
    says(&world, "does not exist").await;

    let api = ironics(world.client(), name);
    let object = json!({
        "apiVersion": "ironic.metal3.io/v1alpha1",
        "kind": "Ironic",
        "metadata": {"name": "ironic"},
        "spec": {"apiCredentialsName": "ironic-login"},
    });
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    says(&world, "its operator has not said so yet").await;

    // Each change wakes the host: if it looked by itself only, so many would take longer than the wait.
    let mut cause = 0;
    let (hosts, parameters) = (world.hosts(), PatchParams::default());
    wait::until("host a to say each cause", wait::LONG, async || {
        let message = format!("cause {cause} of many;");
        let condition = json!({"type": "Ready", "status": "False", "message": message});
        let status = json!({"status": {"conditions": [condition]}});
        let patched = api
            .patch_status("ironic", &parameters, &Patch::Merge(&status))
            .await;
        patched.map_err(|error| error.to_string())?;
        let host = hosts.get("a").await.map_err(|error| error.to_string())?;
        if condition_of(&host).is_some_and(|told| told.contains(&message)) {
            cause += 1;
        }
        if cause == CAUSES {
            Ok(())
        } else {
            Err(summary(&host))
        }
    })
    .await;

    let login: Secret = serde_json::from_value(json!({
        "metadata": {"name": "ironic-login"},
        "stringData": {"username": "ironic", "password": "secret"},
    }))
    .unwrap();
    world
        .secrets()
        .create(&PostParams::default(), &login)
        .await
        .unwrap();
    let ready = |generation: i64| -> Value {
        json!({"status": {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": generation}]}})
    };
    api.patch_status("ironic", &parameters, &Patch::Merge(&ready(1)))
        .await
        .unwrap();
    world.reaches("a", "available").await;
    assert_eq!(world.ironic.nodes().await.len(), 1);
}
