//! CRDs and webhooks.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::{Condition as _, await_condition};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::{ControlPlane, wait};

/// Where our services are by convention.
const NAMESPACE: &str = "capm3-system";

/// Kinds of Cluster API that the provider reads: group, kind, plural.
const CAPI: [(&str, &str, &str); 6] = [
    ("cluster.x-k8s.io", "Cluster", "clusters"),
    ("cluster.x-k8s.io", "Machine", "machines"),
    ("cluster.x-k8s.io", "MachineSet", "machinesets"),
    ("cluster.x-k8s.io", "MachineDeployment", "machinedeployments"),
    (
        "controlplane.cluster.x-k8s.io",
        "KubeadmControlPlane",
        "kubeadmcontrolplanes",
    ),
    ("bootstrap.cluster.x-k8s.io", "KubeadmConfig", "kubeadmconfigs"),
];

impl ControlPlane {
    /// Applies all CRDs of a chart's folder, as for a release in the usual namespace, and waits until they are served.
    ///
    /// # Errors
    /// When a file is not a CRD or Kubernetes refuses it.
    pub async fn install_crds(&self, folder: &Path) -> Result<()> {
        let mut crds = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&path)?.replace("{{ .Release.Namespace }}", NAMESPACE);
                let crd: Value =
                    serde_saphyr::from_str(&text).with_context(|| format!("{}", path.display()))?;
                crds.push(crd);
            }
        }
        ensure!(!crds.is_empty(), "{} holds no CRD", folder.display());
        self.install(crds).await
    }

    /// The kinds of Cluster API, accepting anything.
    ///
    /// # Errors
    /// When Kubernetes refuses.
    pub async fn install_capi_crds(&self) -> Result<()> {
        self.install(
            CAPI.into_iter()
                .map(|(group, kind, plural)| permissive(group, kind, plural))
                .collect(),
        )
        .await
    }

    async fn install(&self, crds: Vec<Value>) -> Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        let api = &api;
        try_join_all(crds.iter().map(async |crd| {
            let name = crd["metadata"]["name"].as_str().context("a CRD without name")?;
            let params = PatchParams::apply("testkit").force();
            api.patch(name, &params, &Patch::Apply(crd))
                .await
                .with_context(|| format!("cannot apply CRD {name}"))?;
            let established = tokio::time::timeout(
                wait::LONG,
                await_condition(api.clone(), name, is_crd_established()),
            );
            established
                .await
                .with_context(|| format!("CRD {name} is not served"))??;
            Ok::<_, anyhow::Error>(())
        }))
        .await?;
        // Established is said a moment before the paths answer.
        let client = self.client();
        let client = &client;
        try_join_all(crds.iter().map(async |crd| {
            for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
                if version["served"] == json!(true) && version["storage"] == json!(true) {
                    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let path = format!(
                        "/apis/{}/{}/{}?limit=1",
                        word(&crd["spec"]["group"]),
                        word(&version["name"]),
                        word(&crd["spec"]["names"]["plural"])
                    );
                    wait::try_until(&path, wait::LONG, async || {
                        let request = http::Request::get(&path)
                            .body(Vec::new())
                            .map_err(|error| error.to_string())?;
                        client
                            .request_text(request)
                            .await
                            .map_err(|error| error.to_string())
                    })
                    .await?;
                }
            }
            Ok::<_, anyhow::Error>(())
        }))
        .await?;
        Ok(())
    }

    /// Whether a CRD is served.
    ///
    /// # Errors
    /// When Kubernetes cannot be asked.
    pub async fn serves_crd(&self, name: &str) -> Result<bool> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        let crd = api.get_opt(name).await?;
        Ok(is_crd_established().matches_object(crd.as_ref()))
    }

    /// Lets the conversion webhook of all CRDs of a group answer at a URL instead of through a Service.
    ///
    /// # Errors
    /// When Kubernetes refuses.
    pub async fn convert_by_url(&self, group: &str, url: &str, ca: &str) -> Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        for crd in api.list(&kube::api::ListParams::default()).await? {
            let webhook = crd
                .spec
                .conversion
                .as_ref()
                .is_some_and(|conversion| conversion.strategy == "Webhook");
            if crd.spec.group == group && webhook {
                let client = by_url(url, ca);
                let patch = json!({"spec": {"conversion": {"webhook": {"clientConfig": client}}}});
                api.patch(&crd.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
                    .await?;
            }
        }
        Ok(())
    }
}

fn by_url(url: &str, ca: &str) -> Value {
    json!({"service": null, "url": url, "caBundle": ByteString(ca.as_bytes().to_vec())})
}

fn permissive(group: &str, kind: &str, plural: &str) -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "labels": {"cluster.x-k8s.io/v1beta2": "v1beta2"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
            "versions": [{
                "name": "v1beta2",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": anything, "status": anything},
                }},
            }],
        },
    })
}
