//! The certificate of the webhooks that bmo makes itself: the API server is told its authority, under the rights of the
//! chart for this.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use metal3_testkit::{ControlPlane, Rules, wait, workspace};
use serde_json::json;

use crate::ironic::Ironic;
use crate::program::Launch;
use crate::webhook::{apply, configured};

const HOME: &str = "wh-self-signed";
const CONFIGURATION: &str = "baremetal-operator-validating-webhook-configuration";
const SERVICE: &str = "baremetal-operator-webhook-service";

#[tokio::test]
async fn the_api_server_is_told_the_authority_of_the_webhooks_and_told_again() {
    let plane = ControlPlane::shared().await;
    plane.namespace(HOME).await.unwrap();
    let rbac = workspace().join("charts/metal3-bmo/rbac");
    let files = ["self-signed-cluster-rules.yaml", "self-signed-rules.yaml"].map(|file| rbac.join(file));
    let own = Rules::read(&files[0], &files[1]).unwrap();
    let mut rules = Rules::of_chart("metal3-bmo").unwrap();
    rules.cluster.extend(own.cluster);
    rules.namespace.extend(own.namespace);
    let account = plane.account(HOME, "bmo", &rules).await.unwrap();
    let ironic = Ironic::start().await;
    let endpoint = ironic.endpoint();
    let launch = Launch {
        kubeconfig: &account.kubeconfig,
        watch: HOME,
        home: HOME,
        ironic: &endpoint,
        leader_election: false,
    };
    let bmo = launch.start_with(&["--webhook-cert-secret=bmo-webhook-server-cert"]);
    bmo.ready().await;

    // There is no network of Services; a name that leads here is as good.
    let port = bmo.webhook;
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": SERVICE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }))
    .unwrap();
    let services: Api<Service> = Api::namespaced(plane.client(), HOME);
    services.create(&PostParams::default(), &service).await.unwrap();
    let document = configured(
        HOME,
        |path| json!({"service": {"name": SERVICE, "namespace": HOME, "port": port, "path": path}}),
    )
    .await;
    assert_eq!(document["metadata"]["name"], CONFIGURATION);
    apply(plane.client(), &document).await;
    let first = told(plane).await;
    called(plane).await;

    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(plane.client());
    let mut emptied = configurations.get(CONFIGURATION).await.unwrap();
    for webhook in emptied.webhooks.iter_mut().flatten() {
        webhook.client_config.ca_bundle = None;
    }
    configurations
        .replace(CONFIGURATION, &PostParams::default(), &emptied)
        .await
        .unwrap();
    assert_eq!(told(plane).await, first);
    called(plane).await;
    assert_eq!(plane.denied_to(&account.user()).unwrap(), Vec::<String>::new());
    let requests = plane.requests_of(&account.user()).unwrap();
    for verb in ["get", "patch"] {
        let used = requests.iter().any(|request| {
            let object = request.object_ref.as_ref();
            request.verb == verb
                && object.is_some_and(|object| object.resource == "validatingwebhookconfigurations")
        });
        assert!(used, "{verb} is granted and not used");
    }
}

/// The bundle that all six webhooks have.
async fn told(plane: &ControlPlane) -> Vec<u8> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(plane.client());
    wait::until("all webhooks to have the CA", wait::LONG, async || {
        let configuration = configurations.get(CONFIGURATION).await.unwrap();
        let mut bundles = configuration
            .webhooks
            .unwrap_or_default()
            .into_iter()
            .map(|webhook| webhook.client_config.ca_bundle.map(|bundle| bundle.0))
            .collect::<Vec<_>>();
        assert_eq!(bundles.len(), 6);
        bundles.dedup();
        match bundles.as_slice() {
            [Some(bundle)] if !bundle.is_empty() => Ok(bundle.clone()),
            _ => Err(format!("{} different", bundles.len())),
        }
    })
    .await
}

async fn called(plane: &ControlPlane) {
    let bad = json!({
        "apiVersion": "metal3.io/v1alpha1", "kind": "DataImage",
        "metadata": {"generateName": "x-"}, "spec": {"url": "smb://a"},
    });
    wait::until("the webhooks to be called", wait::LONG, async || {
        let request = http::Request::post(format!("/apis/metal3.io/v1alpha1/namespaces/{HOME}/dataimages"))
            .header("content-type", "application/json")
            .body(bad.to_string().into_bytes())
            .unwrap();
        match plane.client().request::<serde_json::Value>(request).await {
            Err(kube::Error::Api(status)) if status.message.contains("denied the request") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
