//! Reads and compare-and-swap writes of BareMetalHosts on behalf of callers.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::api::{ListParams, Patch, PatchParams, VersionMatch};
use kube::{Api, Client, Resource as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_host_core::EventKind;
use metal3_kit::client::brief;
use metal3_kit::telemetry;
use metal3_provisioner::HostKey;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::{Consumer, Host, HostRef};
use serde_json::{Value, json};
use tonic::Status;

use super::index::HostIndex;
use super::intent::{Seen, title};
use super::project::project;
use super::request::same_uid;
use super::tell::Teller;
use crate::events::Told;
use crate::metrics::HostMetrics;
use crate::watch::Guarded;

/// Access to the Kubernetes API; every answer also goes into the index, so that own writes are seen at once.
pub(super) struct Store {
    client: Client,
    index: Arc<HostIndex>,
    teller: Teller,
}

impl Store {
    pub(super) fn new(client: Client, index: Arc<HostIndex>, metrics: HostMetrics) -> Self {
        Self {
            teller: Teller::start(client.clone(), metrics),
            client,
            index,
        }
    }

    /// Says on a host what its consumer did; nobody waits for that.
    pub(super) fn tell(&self, host: &Host, consumer: &Consumer, reason: &'static str, deed: &str) {
        let Some(reference) = &host.r#ref else { return };
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let about = ObjectReference {
            namespace: text(&reference.namespace),
            name: text(&reference.name),
            uid: text(&reference.uid),
            ..BareMetalHost::default().object_ref(&())
        };
        let related = ObjectReference {
            api_version: text(&consumer.api_version),
            kind: text(&consumer.kind),
            namespace: text(&consumer.namespace),
            name: text(&consumer.name),
            uid: text(&consumer.uid),
            ..ObjectReference::default()
        };
        let message = format!(
            "{deed} by {} {}/{}",
            consumer.kind, consumer.namespace, consumer.name
        );
        let told = Told {
            about,
            related: Some(related),
            kind: EventKind::Normal,
            reason,
            message,
        };
        self.teller.tell(told);
    }

    /// The host as it is now; `None` when it does not exist or has another UID than the reference.
    pub(super) async fn read(
        &self,
        key: &HostKey,
        reference: Option<&HostRef>,
    ) -> Result<Option<Seen>, Status> {
        let Some(host) = self.object(key).await? else {
            return Ok(None);
        };
        let seen = self.seen(host);
        Ok(Some(seen).filter(|seen| same_uid(reference, &seen.host)))
    }

    /// The hosts of a namespace that carry a reservation as they are now, whatever the index knows: under one key, or all.
    pub(super) async fn reserved(&self, namespace: &str, key: Option<&str>) -> Result<Vec<Seen>, Status> {
        let label = names::LABEL_NODE_REUSE;
        let selector = key.map_or_else(|| label.to_owned(), |key| format!("{label}={key}"));
        // One that cannot be read must not keep the others reserved.
        let hosts: Api<Guarded> = Api::namespaced(self.client.clone(), namespace);
        let listed = hosts.list(&ListParams::default().labels(&selector)).await;
        let listed = listed.map_err(|error| backend(&format!("namespace {namespace}"), &error))?;
        let readable = listed.items.into_iter().filter_map(|Guarded(host)| host.ok());
        Ok(readable
            .map(|host| self.seen(Arc::unwrap_or_clone(host)))
            .collect())
    }

    /// Writes a merge patch if the host is still the one decided on. `None`: it changed or went; decide again.
    pub(super) async fn write(&self, decided_on: &Host, patch: Value) -> Result<Option<Seen>, Status> {
        self.write_as(decided_on, patch, None).await
    }

    /// The same, by a manager of fields of its own.
    pub(super) async fn write_as(
        &self,
        decided_on: &Host,
        mut patch: Value,
        manager: Option<&str>,
    ) -> Result<Option<Seen>, Status> {
        let Some(reference) = &decided_on.r#ref else {
            return Ok(None);
        };
        let key = HostKey::new(&reference.namespace, &reference.name);
        // The API server compares both and answers 409 when another write came first.
        patch["metadata"]["resourceVersion"] = json!(decided_on.revision);
        patch["metadata"]["uid"] = json!(reference.uid);
        // In the write itself: what the host's controller does about it belongs to the trace of the call.
        if let Some(traceparent) = telemetry::traceparent() {
            patch["metadata"]["annotations"][names::ANNOTATION_TRACEPARENT] = json!(traceparent);
        }
        let params = PatchParams {
            field_manager: manager.map(str::to_owned),
            ..PatchParams::default()
        };
        let written = self
            .hosts(&key)
            .patch(&key.name, &params, &Patch::Merge(&patch))
            .await;
        match written {
            Ok(host) => Ok(Some(self.wrote(host))),
            Err(kube::Error::Api(error)) if error.code == 409 || error.code == 404 => {
                self.refresh(&key, decided_on).await?;
                Ok(None)
            }
            Err(kube::Error::Api(error)) if error.code == 403 || error.code == 422 => {
                Err(Reason::InvalidField.status(
                    format!("host {key} cannot be changed: {}", error.message),
                    [("host", &title(decided_on))],
                ))
            }
            Err(error) => Err(failed(&key, &error)),
        }
    }

    /// Looks at a host again; `last` is what was known of it.
    pub(super) async fn refresh(&self, key: &HostKey, last: &Host) -> Result<Option<Seen>, Status> {
        let object = self.object(key).await?;
        if object.is_none() {
            self.index.remove(key, last.clone());
        }
        Ok(object.map(|host| self.seen(host)))
    }

    /// Whether a host was a consumer's at a revision; also when Kubernetes does not know any more.
    pub(super) async fn had(
        &self,
        key: &HostKey,
        consumer: &Consumer,
        revision: u64,
    ) -> Result<bool, Status> {
        let then = ListParams::default()
            .fields(&format!("metadata.name={}", key.name))
            .at(&revision.to_string())
            .matching(VersionMatch::Exact);
        // One that cannot be read may be anybody's.
        let hosts: Api<Guarded> = Api::namespaced(self.client.clone(), &key.namespace);
        match hosts.list(&then).await {
            Ok(listed) => Ok(listed.items.iter().any(|Guarded(host)| {
                host.as_ref().map_or(true, |host| {
                    let owner = project(host).consumer;
                    owner.is_some_and(|owner| owner.same_object(consumer))
                })
            })),
            Err(kube::Error::Api(error)) if error.code == 410 => Ok(true),
            Err(error) => Err(failed(key, &error)),
        }
    }

    /// Labels the BMC Secret with the cluster's name, so that `clusterctl move` takes it along. One that has the label is
    /// not changed, at no more cost than a look.
    pub(super) async fn label_credentials(&self, seen: &Seen, cluster: &str) -> Result<(), Status> {
        match self.credentials(seen) {
            Some((secrets, name)) if !cluster.is_empty() => {
                relabel(&secrets, name, seen, json!(cluster)).await
            }
            _ => Ok(()),
        }
    }

    /// Takes the label off again if it is this cluster's.
    pub(super) async fn unlabel_credentials(&self, seen: &Seen, cluster: &str) -> Result<(), Status> {
        let Some((secrets, name)) = self.credentials(seen) else {
            return Ok(());
        };
        // Metadata is all that is needed; the content is not read.
        let secret = secrets.get_metadata_opt(name).await;
        let secret = secret.map_err(|error| failed(&seen.key(), &error))?;
        let labels = secret.and_then(|secret| secret.metadata.labels);
        match labels.and_then(|mut labels| labels.remove(names::LABEL_CLUSTER_NAME)) {
            Some(current) if current == cluster => relabel(&secrets, name, seen, Value::Null).await,
            _ => Ok(()),
        }
    }

    /// The BMC Secret of a host, if it names one.
    fn credentials<'a>(&self, seen: &'a Seen) -> Option<(Api<Secret>, &'a str)> {
        let name = seen.object.spec.bmc.credentials_name.as_str();
        let secrets = || Api::namespaced(self.client.clone(), &seen.key().namespace);
        (!name.is_empty()).then(|| (secrets(), name))
    }

    async fn object(&self, key: &HostKey) -> Result<Option<BareMetalHost>, Status> {
        self.hosts(key)
            .get_opt(&key.name)
            .await
            .map_err(|error| failed(key, &error))
    }

    fn seen(&self, host: BareMetalHost) -> Seen {
        let seen = Seen::of(host);
        if let Some(reference) = &seen.host.r#ref {
            self.index.upsert(
                HostKey::new(&reference.namespace, &reference.name),
                seen.host.clone(),
            );
        }
        seen
    }

    /// As [`Self::seen`], of a host that changed with this very answer.
    fn wrote(&self, host: BareMetalHost) -> Seen {
        let seen = Seen::of(host);
        if let Some(reference) = &seen.host.r#ref {
            let key = HostKey::new(&reference.namespace, &reference.name);
            self.index.changed(key, seen.host.clone());
        }
        seen
    }

    fn hosts(&self, key: &HostKey) -> Api<BareMetalHost> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

async fn relabel(secrets: &Api<Secret>, name: &str, seen: &Seen, value: Value) -> Result<(), Status> {
    let patch = json!({"metadata": {"labels": {names::LABEL_CLUSTER_NAME: value}}});
    let patched = secrets
        .patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    match patched {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => {
            // Reported on the host by its own controller.
            tracing::warn!(host = %seen.key(), secret = %name, "the BMC secret to label does not exist");
            Ok(())
        }
        Err(error) => Err(failed(&seen.key(), &error)),
    }
}

fn failed(key: &HostKey, error: &kube::Error) -> Status {
    backend(&format!("host {key}"), error)
}

fn backend(what: &str, error: &kube::Error) -> Status {
    tracing::warn!(%what, error = brief(error), "the kubernetes api failed");
    Reason::Backend.status(format!("the Kubernetes API failed on {what}; try again"), [])
}
