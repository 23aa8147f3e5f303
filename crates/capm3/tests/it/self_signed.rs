//! The certificate that capm3 makes itself: the API server calls the webhooks by their Service, with what capm3 told it.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use metal3_testkit::{Account, ControlPlane, Rules, wait, workspace};
use serde_json::{Value, json};

use crate::program::{Capm3, Launch, Place, token_file};
use crate::webhooks::{GROUP, apply_configuration, path, rendered, send};

const HOME: &str = "capm3-system";
const SERVICE: &str = "capm3-webhook-service";
const SECRET: &str = "capm3-webhook-service-cert";

/// The rights besides those of any capm3.
fn own_rules() -> Rules {
    let rbac = workspace().join("charts/metal3-capm3/rbac");
    let [cluster, namespace] = ["self-signed-cluster-rules.yaml", "self-signed-rules.yaml"];
    Rules::read(&rbac.join(cluster), &rbac.join(namespace)).unwrap()
}

async fn account(plane: &ControlPlane, namespace: &str) -> Account {
    let (mut rules, own) = (Rules::of_chart("metal3-capm3").unwrap(), own_rules());
    rules.cluster.extend(own.cluster);
    rules.namespace.extend(own.namespace);
    plane.account(namespace, "capm3-manager", &rules).await.unwrap()
}

async fn start(plane: &ControlPlane, account: &Account) -> Capm3 {
    let launch = Launch {
        kubeconfig: &account.kubeconfig,
        token: &token_file(plane, account).await,
        watch: &account.namespace,
        home: &account.namespace,
        place: &Place::new(),
        flags: &["--webhook-cert-secret", SECRET],
    };
    launch.start()
}

/// There is no network of Services; a name that leads here is as good.
async fn lead_service_to(plane: &ControlPlane, port: u16) {
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": SERVICE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }))
    .unwrap();
    let services: Api<Service> = Api::namespaced(plane.client(), HOME);
    services.create(&PostParams::default(), &service).await.unwrap();
    let service = json!({"name": SERVICE, "namespace": HOME, "port": port});
    let patch = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"service": service}}}}});
    for name in definitions() {
        let api: Api<CustomResourceDefinition> = Api::all(plane.client());
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
}

/// Names of what has a conversion webhook, according to the chart.
fn definitions() -> Vec<String> {
    let rules = own_rules().cluster.into_iter();
    let mut rules = rules.filter(|rule| rule.resources.as_ref().unwrap()[0] == "customresourcedefinitions");
    rules.next().unwrap().resource_names.unwrap()
}

/// All CA bundles: of two webhook configurations and of the definitions.
async fn bundles(client: &Client) -> Result<BTreeSet<String>, String> {
    let mut clients = Vec::new();
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    for configuration in [
        json!(
            mutating
                .get("capm3-mutating-webhook-configuration")
                .await
                .unwrap()
        ),
        json!(
            validating
                .get("capm3-validating-webhook-configuration")
                .await
                .unwrap()
        ),
    ] {
        for webhook in configuration["webhooks"].as_array().unwrap() {
            clients.push(webhook["clientConfig"].clone());
        }
    }
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for name in definitions() {
        let crd = json!(crds.get(&name).await.unwrap());
        clients.push(crd["spec"]["conversion"]["webhook"]["clientConfig"].clone());
    }
    assert_eq!(clients.len(), 2 + 9 + 9);
    clients
        .into_iter()
        .map(|client| match client["caBundle"].as_str() {
            Some(bundle) if !bundle.is_empty() => Ok(bundle.to_owned()),
            _ => Err(client.to_string()),
        })
        .collect()
}

async fn told(client: &Client) -> String {
    let mut bundles = wait::until("all to know the CA", wait::LONG, async || bundles(client).await).await;
    assert_eq!(bundles.len(), 1, "{bundles:?}");
    bundles.pop_first().unwrap()
}

/// The API server converts and asks for admission: v1beta1 is not stored, and the object is not allowed.
async fn are_called(client: &Client) {
    let object = json!({
        "apiVersion": format!("{GROUP}/v1beta1"), "kind": "Metal3Machine",
        "metadata": {"generateName": "x-", "namespace": HOME}, "spec": {},
    });
    let path = path("v1beta1", HOME, "metal3machines");
    wait::until("the webhooks to be called", wait::LONG, async || {
        match send(client, "POST", &path, &object).await {
            Err(kube::Error::Api(status)) if status.message.contains("denied the request") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn empty(client: &Client) {
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let name = "capm3-validating-webhook-configuration";
    let mut configuration = validating.get(name).await.unwrap();
    for webhook in configuration.webhooks.iter_mut().flatten() {
        webhook.client_config.ca_bundle = None;
    }
    validating
        .replace(name, &PostParams::default(), &configuration)
        .await
        .unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let patch = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": null}}}}});
    crds.patch(
        &format!("metal3machines.{GROUP}"),
        &PatchParams::default(),
        &Patch::Merge(&patch),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn the_api_server_is_told_the_authority_and_told_again() {
    let plane = ControlPlane::start().await.unwrap();
    plane
        .install_crds(&workspace().join("charts/metal3-crds/templates"))
        .await
        .unwrap();
    plane.install_capi_crds().await.unwrap();
    let account = account(&plane, HOME).await;
    let capm3 = start(&plane, &account).await;
    capm3.ready().await;
    lead_service_to(&plane, capm3.webhook).await;
    let client = plane.client();

    // They come later than capm3 here, and only capm3 knows the CA.
    wait::until("what is missing to be named", wait::LONG, async || {
        let log = capm3.process.log();
        log.contains("nothing to write the CA bundle to").then_some(())
    })
    .await;
    for mut document in rendered().await {
        for webhook in document["webhooks"].as_array_mut().unwrap() {
            webhook["clientConfig"]["caBundle"] = Value::Null;
            webhook["clientConfig"]["service"]["port"] = json!(capm3.webhook);
        }
        apply_configuration(&plane, &document).await;
    }
    let bundle = told(&client).await;
    are_called(&client).await;

    empty(&client).await;
    assert!(bundles(&client).await.is_err());
    assert_eq!(told(&client).await, bundle);
    are_called(&client).await;

    capm3.was_well(&plane, &account);
    let requests = plane.requests_of(&account.user()).unwrap();
    let written = |resource: &str, name: &str, verb: &str| {
        let object = |request: &metal3_testkit::audit::Request| {
            let object = request.object_ref.as_ref();
            object.is_some_and(|object| object.resource == resource && object.name == name)
        };
        requests
            .iter()
            .filter(|request| request.verb == verb && object(request))
            .count()
    };
    for rule in own_rules().cluster {
        let resource = &rule.resources.unwrap()[0];
        for name in rule.resource_names.unwrap() {
            for verb in ["get", "patch"] {
                assert!(
                    written(resource, &name, verb) > 0,
                    "{verb} {resource} {name} is not used"
                );
            }
        }
    }
    // Nobody has touched this one, and it was looked at again and again.
    let untouched = format!("metal3datas.{GROUP}");
    let crds = "customresourcedefinitions";
    assert!(written(crds, &untouched, "get") > 2);
    assert!(written(crds, &untouched, "patch") <= 2);
    assert_eq!(
        (
            written("secrets", SECRET, "update"),
            written("secrets", SECRET, "patch")
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone_and_named() {
    let plane = ControlPlane::shared().await;
    let account = account(plane, "self-foreign").await;
    let secrets: Api<Secret> = Api::namespaced(plane.client(), "self-foreign");
    let foreign: Secret = serde_json::from_value(json!({
        "metadata": {"name": format!("{SECRET}-ca"), "labels": {"app.kubernetes.io/managed-by": "Helm"}},
        "stringData": {"tls.crt": "theirs", "tls.key": "theirs"},
    }))
    .unwrap();
    let foreign = secrets.create(&PostParams::default(), &foreign).await.unwrap();
    let capm3 = start(plane, &account).await;
    wait::until("capm3 to give up", wait::LONG, async || capm3.process.ended()).await;
    let log = capm3.process.log();
    for part in [
        &format!("Secret self-foreign/{SECRET}-ca is not ours"),
        "app.kubernetes.io/managed-by=metal3",
        "--webhook-cert-secret",
    ] {
        assert!(log.contains(part), "{part} is missing in {log}");
    }
    assert_eq!(secrets.get(&format!("{SECRET}-ca")).await.unwrap(), foreign);
}
