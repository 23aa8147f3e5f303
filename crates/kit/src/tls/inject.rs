//! Tells the CA bundle to those who have to trust it, and keeps it right.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::LOOK;
use super::keeper::LABEL;
use crate::client::brief;

/// Writes that others may get ahead of before the next look.
const ATTEMPTS: usize = 3;
const KEY: &str = "ca.crt";

/// Where a CA bundle belongs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Key `ca.crt` of a ConfigMap, which is made when there is none.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// All webhooks of a MutatingWebhookConfiguration.
    Mutating(String),
    /// All webhooks of a ValidatingWebhookConfiguration.
    Validating(String),
    /// The conversion webhook of a CustomResourceDefinition.
    Conversion(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMap { namespace, name } => write!(f, "ConfigMap {namespace}/{name}"),
            Self::Mutating(name) => write!(f, "MutatingWebhookConfiguration {name}"),
            Self::Validating(name) => write!(f, "ValidatingWebhookConfiguration {name}"),
            Self::Conversion(name) => write!(f, "CustomResourceDefinition {name}"),
        }
    }
}

/// What the last look at a target found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// It holds the bundle in this version.
    Right(String),
    Missing,
    Failed(String),
}

/// Writes the bundle to its targets.
pub struct Publisher {
    client: Client,
    targets: Vec<Target>,
    look: Duration,
    seen: HashMap<Target, Seen>,
}

impl Publisher {
    /// For these targets.
    pub fn new(client: Client, targets: Vec<Target>) -> Self {
        Self {
            client,
            targets,
            look: LOOK,
            seen: HashMap::new(),
        }
    }

    /// Looking at the targets this often.
    #[must_use]
    pub const fn looking_each(mut self, look: Duration) -> Self {
        self.look = look;
        self
    }

    /// Keeps the targets right until shutdown.
    ///
    /// # Errors
    /// Never; it has the form of a task.
    pub async fn follow(
        mut self,
        mut bundle: watch::Receiver<String>,
        shutdown: CancellationToken,
    ) -> Result<()> {
        loop {
            let wanted = bundle.borrow_and_update().clone();
            self.pass(&wanted).await;
            tokio::select! {
                () = tokio::time::sleep(self.look) => {}
                // The sender goes only at shutdown.
                Ok(()) = bundle.changed() => self.seen.clear(),
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    async fn pass(&mut self, bundle: &str) {
        for target in self.targets.clone() {
            let before = self.seen.get(&target);
            let known = match before {
                Some(Seen::Right(version)) => Some(version.as_str()),
                _ => None,
            };
            let seen = match publish(&self.client, &target, bundle, known).await {
                Ok(Some(version)) => Seen::Right(version),
                Ok(None) => Seen::Missing,
                Err(error) => Seen::Failed(format!("{error:#}")),
            };
            // Once, not at each look.
            if before != Some(&seen) {
                match &seen {
                    Seen::Right(_) => {}
                    Seen::Missing => {
                        tracing::warn!(object = %target, "nothing to write the CA bundle to; it is not installed");
                    }
                    Seen::Failed(error) => tracing::warn!(object = %target, error, "CA bundle not written"),
                }
            }
            self.seen.insert(target, seen);
        }
    }
}

/// Answers the version that holds the bundle, or `None` when there is no such object. `known` is a version that does.
async fn publish(
    client: &Client,
    target: &Target,
    bundle: &str,
    known: Option<&str>,
) -> Result<Option<String>> {
    let (api, name) = api(client, target);
    // Whole definitions are large, and they hardly ever change.
    if let Some(known) = known
        && let Some(metadata) = api
            .get_metadata_opt(name)
            .await
            .map_err(|error| refused(&error))?
        && metadata.metadata.resource_version.as_deref() == Some(known)
    {
        return Ok(Some(known.to_owned()));
    }
    for _ in 0..ATTEMPTS {
        let Some(object) = api.get_opt(name).await.map_err(|error| refused(&error))? else {
            if !matches!(target, Target::ConfigMap { .. }) {
                return Ok(None);
            }
            match api
                .create(&PostParams::default(), &config_map(name, bundle)?)
                .await
            {
                Ok(created) => return Ok(created.metadata.resource_version),
                Err(kube::Error::Api(error)) if error.code == 409 => continue,
                Err(error) => return Err(refused(&error)),
            }
        };
        let mut patch = changes(target, &object, bundle)?;
        let version = object.metadata.resource_version.unwrap_or_default();
        if patch.is_empty() {
            return Ok(Some(version));
        }
        // What was read may have changed since: a webhook may have another index now.
        patch.insert(
            0,
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}),
        );
        let patch = Patch::Json::<()>(serde_json::from_value(Value::Array(patch))?);
        match api.patch(name, &PatchParams::default(), &patch).await {
            Ok(patched) => {
                tracing::info!(object = %target, "CA bundle written");
                return Ok(patched.metadata.resource_version);
            }
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409 | 422) => {}
            Err(error) => return Err(refused(&error)),
        }
    }
    bail!("it is changed by others all the time: see who else writes it")
}

fn refused(error: &kube::Error) -> anyhow::Error {
    anyhow::anyhow!("{}; grant get and patch on it by a role", brief(error))
}

fn api<'a>(client: &Client, target: &'a Target) -> (Api<DynamicObject>, &'a str) {
    let client = client.clone();
    match target {
        Target::ConfigMap { namespace, name } => {
            let kind = ApiResource::erase::<ConfigMap>(&());
            (Api::namespaced_with(client, namespace, &kind), name)
        }
        Target::Mutating(name) => {
            let kind = ApiResource::erase::<MutatingWebhookConfiguration>(&());
            (Api::all_with(client, &kind), name)
        }
        Target::Validating(name) => {
            let kind = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
            (Api::all_with(client, &kind), name)
        }
        Target::Conversion(name) => {
            let kind = ApiResource::erase::<CustomResourceDefinition>(&());
            (Api::all_with(client, &kind), name)
        }
    }
}

fn config_map(name: &str, bundle: &str) -> Result<DynamicObject> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {LABEL.0: LABEL.1}},
        "data": {KEY: bundle},
    }))?)
}

/// The JSON patch that makes it right; empty when it is.
fn changes(target: &Target, object: &DynamicObject, bundle: &str) -> Result<Vec<Value>> {
    let data = &object.data;
    let encoded = json!(ByteString(bundle.as_bytes().to_vec()));
    let injected = |client: &Value, path: &str| {
        (client.is_object() && client["caBundle"] != encoded)
            .then(|| json!({"op": "add", "path": format!("{path}/caBundle"), "value": encoded}))
    };
    Ok(match target {
        Target::ConfigMap { .. } => {
            let labels = object.metadata.labels.as_ref();
            if labels.and_then(|labels| labels.get(LABEL.0)).map(String::as_str) != Some(LABEL.1) {
                bail!(
                    "it is not ours: it has no label {}={}; remove it, or let us write it by adding the label, or \
                     choose another name",
                    LABEL.0,
                    LABEL.1
                );
            }
            if data["data"][KEY] == bundle {
                Vec::new()
            } else if data["data"].is_object() {
                vec![json!({"op": "add", "path": format!("/data/{KEY}"), "value": bundle})]
            } else {
                vec![json!({"op": "add", "path": "/data", "value": {KEY: bundle}})]
            }
        }
        Target::Mutating(_) | Target::Validating(_) => {
            let webhooks = data["webhooks"].as_array();
            webhooks
                .into_iter()
                .flatten()
                .enumerate()
                .filter_map(|(index, webhook)| {
                    let path = format!("/webhooks/{index}/clientConfig");
                    injected(&webhook["clientConfig"], &path)
                })
                .collect()
        }
        Target::Conversion(_) => {
            let conversion = data
                .get("spec")
                .and_then(|spec| spec.get("conversion"))
                .context("it says nothing about conversion")?;
            let path = "/spec/conversion/webhook/clientConfig";
            let client = &conversion["webhook"]["clientConfig"];
            injected(client, path).into_iter().collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(mut content: Value) -> DynamicObject {
        content["apiVersion"] = json!("v1");
        content["kind"] = json!("X");
        if content["metadata"].is_null() {
            content["metadata"] = json!({});
        }
        serde_json::from_value(content).unwrap()
    }

    #[test]
    fn only_what_is_wrong_is_written() {
        let target = Target::Validating("v".into());
        let object = |second: &Value| {
            object(json!({"webhooks": [
                {"clientConfig": {"caBundle": "Yg=="}},
                {"clientConfig": second},
            ]}))
        };
        let right = object(&json!({"caBundle": "Yg=="}));
        assert_eq!(changes(&target, &right, "b").unwrap(), Vec::<Value>::new());
        for wrong in [json!({}), json!({"caBundle": ""}), json!({"caBundle": "YQ=="})] {
            assert_eq!(
                changes(&target, &object(&wrong), "b").unwrap(),
                [json!({"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "Yg=="})]
            );
        }
    }

    #[test]
    fn a_definition_without_webhook_is_left_alone() {
        let target = Target::Conversion("c".into());
        let none = object(json!({"spec": {"conversion": {"strategy": "None"}}}));
        assert_eq!(changes(&target, &none, "b").unwrap(), Vec::<Value>::new());
        let webhook = object(
            json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"service": {}}}}}}),
        );
        assert_eq!(
            changes(&target, &webhook, "b").unwrap()[0]["path"],
            "/spec/conversion/webhook/clientConfig/caBundle"
        );
    }

    #[test]
    fn a_foreign_config_map_is_left_alone() {
        let target = Target::ConfigMap {
            namespace: "n".into(),
            name: "c".into(),
        };
        let error = changes(&target, &object(json!({"data": {"ca.crt": "a"}})), "b").unwrap_err();
        assert!(error.to_string().contains("not ours"), "{error}");
        let labels = json!({"labels": {LABEL.0: LABEL.1}});
        for (data, path) in [(json!({"ca.crt": "a"}), "/data/ca.crt"), (Value::Null, "/data")] {
            let ours = object(json!({"metadata": labels, "data": data}));
            assert_eq!(changes(&target, &ours, "b").unwrap()[0]["path"], path);
        }
        let right = object(json!({"metadata": labels, "data": {"ca.crt": "b"}}));
        assert_eq!(changes(&target, &right, "b").unwrap(), Vec::<Value>::new());
    }
}
