//! The API server asks webhooks as in a cluster, by URL instead of through a Service.

use std::fmt::Debug;

use anyhow::{Context as _, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use metal3_testkit::process::Program;
use metal3_testkit::{ControlPlane, scratch, tools, workspace};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The configurations of a chart of this workspace, as helm renders them.
pub(super) async fn of_chart(chart: &str) -> Result<Vec<Value>> {
    let rendered = Program::new(tools::find("helm")?)
        .args(["template", "bench"])
        .arg(workspace().join("charts").join(chart))
        .args(["--show-only", "templates/webhooks.yaml"])
        .env("HOME", scratch::dir("helm")?)
        .output()
        .await?;
    serde_saphyr::from_multiple(&rendered).with_context(|| format!("the webhooks of {chart}"))
}

/// Lets the API server ask at these URLs, which are made of the paths of the configurations.
pub(super) async fn register(
    plane: &ControlPlane,
    configurations: Vec<Value>,
    url: impl Fn(&str) -> String,
    ca: &str,
) -> Result<()> {
    for mut configuration in configurations {
        for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
            let path = webhook["clientConfig"]["service"]["path"].as_str();
            let path = path.context("a webhook that no Service serves")?;
            webhook["clientConfig"] =
                json!({"url": url(path), "caBundle": ByteString(ca.as_bytes().to_vec())});
        }
        match configuration["kind"].as_str() {
            Some("MutatingWebhookConfiguration") => {
                apply::<MutatingWebhookConfiguration>(plane, &configuration).await?;
            }
            _ => apply::<ValidatingWebhookConfiguration>(plane, &configuration).await?,
        }
    }
    Ok(())
}

async fn apply<K>(plane: &ControlPlane, configuration: &Value) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
    let params = PatchParams::apply("bench").force();
    Api::<K>::all(plane.client())
        .patch(name, &params, &Patch::Apply(configuration))
        .await
        .with_context(|| format!("cannot apply {} {name}", K::kind(&())))?;
    Ok(())
}
