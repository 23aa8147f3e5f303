//! The only place that reads Secrets: always in the namespace of the host, never by a free namespace.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _, future, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, SecretReference};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_provisioner::{ConfigDrive, Credentials, HostKey};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::controller::reference;
use super::observe::key;
use super::reconcile::Failure;
use crate::metrics::HostMetrics;
use crate::watch::Guarded;

/// The content of a BMC Secret, or what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct BmcCredentials {
    pub(super) version: String,
    /// Earlier versions with the same content, the newest last.
    pub(super) same: Vec<String>,
    pub(super) credentials: Result<Credentials, String>,
}

/// Versions of a Secret that are remembered: hosts that share it have not all looked at it since each change.
const REMEMBERED: usize = 16;

impl BmcCredentials {
    /// What is known once a version was read: who edits labels, as claims do, changes the version and nothing else.
    fn after(known: Option<Self>, version: String, credentials: Result<Credentials, String>) -> Self {
        let mut same = match known {
            Some(mut known) if known.gives(&credentials) => {
                if known.version != version {
                    known.same.push(known.version);
                }
                known.same
            }
            Some(_) | None => Vec::new(),
        };
        same.drain(..same.len().saturating_sub(REMEMBERED));
        Self {
            version,
            same,
            credentials,
        }
    }

    fn gives(&self, other: &Result<Credentials, String>) -> bool {
        match (&self.credentials, other) {
            (Ok(one), Ok(other)) => {
                one.username == other.username
                    && one.password.expose_secret() == other.password.expose_secret()
            }
            (Err(_), _) | (_, Err(_)) => false,
        }
    }
}

#[derive(Default)]
struct Cache {
    /// Current versions of labelled Secrets, from the watch.
    versions: HashMap<HostKey, String>,
    /// Contents as last read.
    contents: HashMap<HostKey, BmcCredentials>,
}

/// Reads Secrets for hosts; clones share one cache.
#[derive(Clone)]
pub(super) struct Secrets {
    client: Client,
    metrics: HostMetrics,
    cache: Arc<Mutex<Cache>>,
}

impl Secrets {
    pub(super) fn new(client: Client, metrics: HostMetrics) -> Self {
        Self {
            client,
            metrics,
            cache: Arc::default(),
        }
    }

    /// Follows the labelled Secrets by metadata alone; yields the hosts that own those that changed.
    pub(super) fn watch(self, namespaces: &[String]) -> impl Stream<Item = ObjectRef<Guarded>> + use<> {
        let labels = format!("{}={}", names::LABEL_ENVIRONMENT, names::LABEL_ENVIRONMENT_VALUE);
        let apis: Vec<Api<PartialObjectMeta<Secret>>> = if namespaces.is_empty() {
            vec![Api::all(self.client.clone())]
        } else {
            namespaces
                .iter()
                .map(|namespace| Api::namespaced(self.client.clone(), namespace))
                .collect()
        };
        let streams = apis.into_iter().map(move |api| {
            watcher(api, watcher::Config::default().labels(&labels))
                .default_backoff()
                .boxed()
        });
        stream::select_all(streams)
            .filter_map(|event| future::ready(event.ok()))
            .flat_map(move |event| stream::iter(self.take(event)))
    }

    fn take<K: kube::Resource>(&self, event: watcher::Event<K>) -> Vec<ObjectRef<Guarded>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let secret = match event {
            watcher::Event::InitApply(secret) | watcher::Event::Apply(secret) => {
                cache
                    .versions
                    .insert(key(&secret), secret.resource_version().unwrap_or_default());
                secret
            }
            watcher::Event::Delete(secret) => {
                cache.versions.remove(&key(&secret));
                cache.contents.remove(&key(&secret));
                secret
            }
            watcher::Event::Init | watcher::Event::InitDone => return Vec::new(),
        };
        let namespace = secret.namespace().unwrap_or_default();
        let owners = secret
            .owner_references()
            .iter()
            .filter(|owner| owner.kind == BareMetalHost::kind(&()));
        owners
            .map(|owner| reference(&HostKey::new(&namespace, &owner.name)))
            .collect()
    }

    /// The BMC credentials of a host; `None` when the Secret does not exist. A Secret seen for the first time gets our
    /// label, owner reference and finalizer.
    pub(super) async fn credentials(&self, host: &BareMetalHost) -> Result<Option<BmcCredentials>, Failure> {
        let namespace = host.namespace().unwrap_or_default();
        let name = &host.spec.bmc.credentials_name;
        let secret_key = HostKey::new(&namespace, name);
        if let Some(known) = self.known(&secret_key) {
            return Ok(Some(known));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let Some(secret) = api.get_opt(name).await? else {
            return Ok(None);
        };
        let secret = match claim(&secret, host) {
            Some(patch) => {
                self.metrics.wrote("secret");
                api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
                    .await?
            }
            None => secret,
        };
        let version = secret.resource_version().unwrap_or_default();
        let content = parse(&namespace, name, secret.data.as_ref());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let found = BmcCredentials::after(cache.contents.remove(&secret_key), version, content);
        cache.contents.insert(secret_key, found.clone());
        Ok(Some(found))
    }

    fn known(&self, key: &HostKey) -> Option<BmcCredentials> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache
            .contents
            .get(key)
            .filter(|known| cache.versions.get(key) == Some(&known.version))
            .cloned()
    }

    /// Takes our finalizer off the BMC Secret of a host that goes.
    pub(super) async fn release(&self, host: &BareMetalHost) -> Result<(), Failure> {
        let namespace = host.namespace().unwrap_or_default();
        let name = &host.spec.bmc.credentials_name;
        if name.is_empty() {
            return Ok(());
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let Some(secret) = api.get_metadata_opt(name).await? else {
            return Ok(());
        };
        let finalizers = secret.finalizers();
        if !finalizers
            .iter()
            .any(|finalizer| finalizer == names::FINALIZER_SECRET)
        {
            return Ok(());
        }
        let rest: Vec<_> = finalizers
            .iter()
            .filter(|finalizer| *finalizer != names::FINALIZER_SECRET)
            .collect();
        let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": secret.resource_version()}});
        self.metrics.wrote("secret");
        match api
            .patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The content of the config drive.
    ///
    /// # Errors
    /// The inner error says which Secret or key is missing.
    pub(super) async fn config_drive(
        &self,
        host: &BareMetalHost,
    ) -> Result<Result<ConfigDrive, String>, Failure> {
        let spec = &host.spec;
        let fallback = spec
            .preprovisioning_network_data_name
            .clone()
            .filter(|name| !name.is_empty());
        let network = spec.network_data.clone().or_else(|| {
            fallback.map(|name| SecretReference {
                name: Some(name),
                namespace: None,
            })
        });
        let mut drive = ConfigDrive::default();
        for (field, secret, required, slot) in [
            ("userData", &spec.user_data, true, &mut drive.user_data),
            ("metaData", &spec.meta_data, true, &mut drive.meta_data),
            ("networkData", &network, false, &mut drive.network_data),
        ] {
            match self.value(host, field, secret.as_ref(), required).await? {
                Ok(value) => *slot = value,
                Err(problem) => return Ok(Err(problem)),
            }
        }
        Ok(Ok(drive))
    }

    async fn value(
        &self,
        host: &BareMetalHost,
        field: &str,
        secret: Option<&SecretReference>,
        required: bool,
    ) -> Result<Result<Option<SecretString>, String>, Failure> {
        let Some(name) = secret
            .and_then(|secret| secret.name.as_deref())
            .filter(|name| !name.is_empty())
        else {
            return Ok(Ok(None));
        };
        let namespace = host.namespace().unwrap_or_default();
        let foreign = secret.and_then(|secret| secret.namespace.as_deref());
        if foreign.is_some_and(|foreign| !foreign.is_empty() && foreign != namespace) {
            return Ok(Err(format!(
                "{field} secret must be in same namespace as host {namespace}/{}",
                host.name_any()
            )));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let Some(secret) = api.get_opt(name).await? else {
            return Ok(Err(format!(
                "the {field} secret {namespace}/{name} does not exist"
            )));
        };
        let text = secret
            .data
            .as_ref()
            .and_then(|data| data.get(field).or_else(|| data.get("value")));
        Ok(match text.map(|ByteString(bytes)| std::str::from_utf8(bytes)) {
            Some(Ok(text)) => Ok(Some(text.to_owned().into())),
            Some(Err(_)) => Err(format!("the {field} secret {namespace}/{name} is not text")),
            None if required => Err(format!(
                "the {field} secret {namespace}/{name} has neither key {field} nor value"
            )),
            None => Ok(None),
        })
    }
}

/// What is missing on a Secret that the host uses.
fn claim(secret: &Secret, host: &BareMetalHost) -> Option<serde_json::Value> {
    let labelled = secret.labels().contains_key(names::LABEL_ENVIRONMENT);
    let uid = host.uid().unwrap_or_default();
    let owned = secret.owner_references().iter().any(|owner| owner.uid == uid);
    let finalized = secret
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == names::FINALIZER_SECRET);
    // A host that goes takes nothing new.
    if (labelled && owned && finalized) || host.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let mut metadata = json!({"resourceVersion": secret.resource_version()});
    if !labelled {
        metadata["labels"] = json!({names::LABEL_ENVIRONMENT: names::LABEL_ENVIRONMENT_VALUE});
    }
    if !owned {
        let mut owners = json!(secret.owner_references());
        if let Some(owners) = owners.as_array_mut() {
            owners.push(json!({
                "apiVersion": BareMetalHost::api_version(&()),
                "kind": BareMetalHost::kind(&()),
                "name": host.name_any(),
                "uid": uid,
            }));
        }
        metadata["ownerReferences"] = owners;
    }
    if !finalized {
        let mut finalizers = secret.finalizers().to_vec();
        finalizers.push(names::FINALIZER_SECRET.to_owned());
        metadata["finalizers"] = json!(finalizers);
    }
    Some(json!({"metadata": metadata}))
}

fn parse(
    namespace: &str,
    name: &str,
    data: Option<&BTreeMap<String, ByteString>>,
) -> Result<Credentials, String> {
    let field = |key: &str| {
        data.and_then(|data| data.get(key))
            .and_then(|ByteString(bytes)| std::str::from_utf8(bytes).ok())
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("the BMC secret {namespace}/{name} has no {key}"))
    };
    Ok(Credentials {
        username: field("username")?.to_owned(),
        password: field("password")?.to_owned().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(known: Option<BmcCredentials>, version: &str, password: &str) -> BmcCredentials {
        let credentials = Credentials {
            username: "admin".into(),
            password: password.into(),
        };
        BmcCredentials::after(known, version.into(), Ok(credentials))
    }

    #[test]
    fn versions_with_the_same_content_are_known_as_such() {
        let first = read(None, "1", "a");
        let again = read(Some(first), "1", "a");
        assert!(again.same.is_empty());
        let labelled = read(Some(again), "2", "a");
        let labelled = read(Some(labelled), "3", "a");
        assert_eq!(labelled.same, ["1", "2"]);
        let changed = read(Some(labelled.clone()), "4", "b");
        assert!(changed.same.is_empty());
        let broken = BmcCredentials::after(Some(labelled), "4".into(), Err("no password".into()));
        assert!(broken.same.is_empty());
        assert!(read(Some(broken), "5", "a").same.is_empty());
        let mut many = read(None, "0", "a");
        for version in 1..40 {
            many = read(Some(many), &version.to_string(), "a");
        }
        assert_eq!(
            (many.same.len(), many.same.last().map(String::as_str)),
            (REMEMBERED, Some("38"))
        );
    }
}
