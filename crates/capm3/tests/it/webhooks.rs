//! A control plane whose API server really calls the provider's webhooks: the conversion of the CRDs and the
//! configurations of the chart, by URL instead of through a Service.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use metal3_testkit::process::Program;
use metal3_testkit::{Account, ControlPlane, scratch, tools, wait, workspace};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::hosts::Hosts;
use crate::lab::Lab;
use crate::program::{Capm3, Launch, Place, token_file};

pub(crate) const GROUP: &str = "infrastructure.cluster.x-k8s.io";
/// Namespace of what was stored before the webhooks came.
pub(crate) const BEFORE: &str = "before";
/// Objects with this value of the label are worked on; the others are only converted and admitted.
const FILTER: &str = "worked-on";

pub(crate) struct Webhooks {
    pub(crate) plane: ControlPlane,
    pub(crate) account: Account,
    pub(crate) capm3: Capm3,
    /// Nobody is there unless a test opens it.
    pub(crate) place: Place,
}

/// Started by the first test that needs it. Tests keep apart by namespaces.
pub(crate) async fn shared() -> &'static Webhooks {
    static SHARED: OnceCell<Webhooks> = OnceCell::const_new();
    SHARED.get_or_init(start).await
}

async fn start() -> Webhooks {
    let plane = ControlPlane::start().await.unwrap();
    let crds = workspace().join("charts/metal3-crds/templates");
    plane.install_crds(&crds).await.unwrap();
    plane.install_capi_crds().await.unwrap();
    store_bad_objects(&plane).await;
    plane.install_crds(&crds).await.unwrap();

    // It looks at all namespaces, and therefore migrates.
    let rules = crate::migrate::rules();
    let account = plane
        .account("capm3-system", "capm3-manager", &rules)
        .await
        .unwrap();
    let place = Place::new();
    let launch = Launch {
        kubeconfig: &account.kubeconfig,
        token: &token_file(&plane, &account).await,
        watch: "",
        home: "capm3-system",
        place: &place,
        flags: &["--watch-filter", FILTER],
    };
    let capm3 = launch.start();
    capm3.ready().await;
    let ca = &capm3.certificates.ca;
    plane
        .convert_by_url(GROUP, &capm3.webhook("/convert"), ca)
        .await
        .unwrap();
    register(&plane, &capm3).await;
    let webhooks = Webhooks {
        plane,
        account,
        capm3,
        place,
    };
    webhooks.in_force().await;
    webhooks
}

/// What an older release, or a hand that went past all checks, may have left: objects that today's schema does not
/// allow, and one that the schema allows and the webhooks refuse.
async fn store_bad_objects(plane: &ControlPlane) {
    plane.namespace(BEFORE).await.unwrap();
    let client = plane.client();
    for kind in ["metal3machines", "metal3clusters"] {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let mut crd = api.get(&format!("{kind}.{GROUP}")).await.unwrap();
        crd.metadata.managed_fields = None;
        let mut loose = json!(crd);
        loose["metadata"] = json!({"name": crd.metadata.name});
        loose["status"].take();
        loose["apiVersion"] = json!("apiextensions.k8s.io/v1");
        loose["kind"] = json!("CustomResourceDefinition");
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        for version in loose["spec"]["versions"].as_array_mut().unwrap() {
            version["schema"]["openAPIV3Schema"] = anything.clone();
        }
        let params = PatchParams::apply("testkit").force();
        api.patch(&format!("{kind}.{GROUP}"), &params, &Patch::Apply(&loose))
            .await
            .unwrap();
    }
    let machine = |name: &str, spec: Value| {
        json!({
            "apiVersion": format!("{GROUP}/v1beta2"), "kind": "Metal3Machine",
            "metadata": {"name": name, "namespace": BEFORE}, "spec": spec,
        })
    };
    for (plural, object) in [
        ("metal3machines", machine("malformed", json!({"image": 3}))),
        (
            "metal3machines",
            machine("unsound", json!({"image": {"url": "http://a/i.qcow2"}})),
        ),
        (
            "metal3machines",
            machine("sound", json!({"customDeploy": {"method": "m"}})),
        ),
        (
            "metal3clusters",
            json!({
                "apiVersion": format!("{GROUP}/v1beta2"), "kind": "Metal3Cluster",
                "metadata": {"name": "malformed", "namespace": BEFORE},
                "spec": {"controlPlaneEndpoint": ["192.0.2.1", 6443]},
            }),
        ),
    ] {
        let path = path("v1beta2", BEFORE, plural);
        wait::until("a loose schema", wait::LONG, async || {
            send(&client, "POST", &path, &object)
                .await
                .map_err(|error| error.to_string())
        })
        .await;
    }
}

/// The configurations of the chart, as helm renders them.
pub(crate) async fn rendered() -> Vec<Value> {
    let home = scratch::dir("helm").unwrap();
    let rendered = Program::new(tools::find("helm").unwrap())
        .args(["template", "capm3"])
        .arg(workspace().join("charts/metal3-capm3"))
        .args([
            "--namespace",
            "capm3-system",
            "--show-only",
            "templates/webhooks.yaml",
        ])
        .env("HOME", home)
        .output()
        .await
        .unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    assert_eq!(documents.len(), 2);
    documents
}

async fn register(plane: &ControlPlane, capm3: &Capm3) {
    for mut document in rendered().await {
        for webhook in document["webhooks"].as_array_mut().unwrap() {
            let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
            webhook["clientConfig"] = json!({
                "url": capm3.webhook(path),
                "caBundle": ByteString(capm3.certificates.ca.as_bytes().to_vec()),
            });
        }
        apply_configuration(plane, &document).await;
    }
}

pub(crate) async fn apply_configuration(plane: &ControlPlane, document: &Value) {
    if document["kind"] == "MutatingWebhookConfiguration" {
        apply::<MutatingWebhookConfiguration>(plane, document).await;
    } else {
        apply::<ValidatingWebhookConfiguration>(plane, document).await;
    }
}

async fn apply<K>(plane: &ControlPlane, document: &Value)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let name = document["metadata"]["name"].as_str().unwrap();
    let params = PatchParams::apply("test").force();
    Api::<K>::all(plane.client())
        .patch(name, &params, &Patch::Apply(document))
        .await
        .unwrap();
}

impl Webhooks {
    /// The API server learns of configurations by a watch of its own.
    async fn in_force(&self) {
        let client = self.plane.client();
        for (plural, kind) in [
            ("metal3machines", "Metal3Machine"),
            ("metal3clusters", "Metal3Cluster"),
        ] {
            for version in ["v1beta1", "v1beta2"] {
                let object = json!({
                    "apiVersion": format!("{GROUP}/{version}"), "kind": kind,
                    "metadata": {"generateName": "probe-", "namespace": BEFORE}, "spec": {},
                });
                let path = format!("{}?dryRun=All", path(version, BEFORE, plural));
                wait::until("the webhooks to be asked", wait::LONG, async || {
                    match send(&client, "POST", &path, &object).await {
                        Err(kube::Error::Api(status)) if status.message.contains("denied the request") => {
                            Ok(())
                        }
                        other => Err(format!("{other:?}")),
                    }
                })
                .await;
            }
        }
    }

    /// A namespace for a test whose objects are worked on.
    pub(crate) async fn lab(&'static self, namespace: &str) -> Lab {
        self.plane.namespace(namespace).await.unwrap();
        let mut lab = Lab::new(&self.plane, namespace, Hosts::new(namespace));
        lab.labels = vec![("cluster.x-k8s.io/watch-filter".into(), FILTER.into())];
        lab
    }
}

/// Where the objects of a kind are.
pub(crate) fn path(version: &str, namespace: &str, plural: &str) -> String {
    format!("/apis/{GROUP}/{version}/namespaces/{namespace}/{plural}")
}

/// One request with objects of any version.
pub(crate) async fn send(
    client: &Client,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Value, kube::Error> {
    let bytes = match body {
        Value::Null => Vec::new(),
        body => serde_json::to_vec(body).unwrap(),
    };
    let content = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(bytes)
        .unwrap();
    client.request(request).await
}

pub(crate) async fn get(client: &Client, path: &str) -> Result<Value, kube::Error> {
    send(client, "GET", path, &Value::Null).await
}
