//! The only place that reads Secrets: beside the object that names them, never in a namespace of somebody's choice.
//!
//! `beside.rs` is the way to them, `claim.rs` and `usage.rs` decide what is written on them, `content.rs` and `pull/`
//! read them. Labelled ones are followed by their metadata; contents are kept of BMC Secrets only.

mod beside;
mod claim;
mod content;
mod data;
mod pull;
mod usage;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Client, Resource as _, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_kit::lease::Leadership;
use metal3_provisioner::HostKey;

pub(crate) use beside::Beside;
pub(crate) use claim::{Claim, claim};
pub(crate) use content::BmcCredentials;
pub(crate) use pull::Unusable;

use super::controller::reference;
use super::observe::key;
use super::reconcile::Failure;
use crate::follow::{Followed, follow, told};
use crate::metrics::HostMetrics;
use crate::watch::Guarded;
use usage::{needed, usage};

/// Hosts that let go are forgotten in this many; few are deleted at a time.
const GOING: usize = 1024;

/// Reads Secrets for hosts; clones share what they know.
#[derive(Clone)]
pub(crate) struct Secrets {
    client: Client,
    metrics: HostMetrics,
    leadership: Leadership,
    hosts: Store<Guarded>,
    /// Metadata of labelled Secrets.
    followed: Followed<PartialObjectMeta<Secret>>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// Contents of BMC Secrets as last read.
    contents: HashMap<HostKey, BmcCredentials>,
    /// What each host needed when it was last looked at, by UID.
    needed: HashMap<String, Vec<String>>,
    /// UIDs of hosts that need nothing any more. Two that share a Secret and go at once must not wait for each other.
    going: HashSet<String>,
}

impl Secrets {
    /// The reader, and the hosts to look at because of what happened to their Secrets.
    pub(crate) fn new(
        client: Client,
        metrics: HostMetrics,
        leadership: Leadership,
        hosts: Store<Guarded>,
        namespaces: &[String],
    ) -> (Self, BoxStream<'static, ObjectRef<Guarded>>) {
        let labels = format!("{}={}", names::LABEL_ENVIRONMENT, names::LABEL_ENVIRONMENT_VALUE);
        let config = watcher::Config::default().labels(&labels);
        let (followed, changed) = follow(&client, namespaces, &config);
        let secrets = Self {
            client,
            metrics,
            leadership,
            hosts,
            followed,
            known: Arc::default(),
        };
        let woken = told(changed, &secrets, |secrets, secret| async move {
            secrets.seen(&secret).await
        });
        (secrets, woken)
    }

    /// Looks at a Secret that changed; yields the hosts that it concerns.
    async fn seen(&self, secret: &PartialObjectMeta<Secret>) -> Vec<ObjectRef<Guarded>> {
        let secret_key = key(secret);
        if self.followed.get(&secret_key).is_none() {
            self.lock().contents.remove(&secret_key);
        }
        if let Err(error) = self.settle(secret).await
            && !error.is_conflict()
        {
            tracing::warn!(secret = %secret_key, %error, "a secret that no host needs keeps our finalizer for now");
        }
        let owners = secret.owner_references().iter();
        let mut hosts: Vec<_> = owners
            .filter(|owner| owner.kind == BareMetalHost::kind(&()))
            .map(|owner| reference(&HostKey::new(&secret_key.namespace, &owner.name)))
            .collect();
        if hosts.len() == 1 && self.current(&secret_key).is_some() {
            // The one that reads it did so, which may be how it changed.
            return Vec::new();
        }
        if hosts.is_empty() && claim::protected(&secret.metadata) {
            // Network data has no owner.
            let using = self.hosts.state_filter(|host| {
                let same = host.namespace().as_deref() == Some(&secret_key.namespace);
                let needs = |host: &BareMetalHost| needed(host).any(|name| name == secret_key.name);
                same && host.0.as_ref().is_ok_and(|host| needs(host))
            });
            hosts.extend(using.iter().map(|host| ObjectRef::from_obj(host.as_ref())));
        }
        hosts
    }

    /// Takes our marks off a Secret that has them for no reason any more.
    async fn settle(&self, secret: &PartialObjectMeta<Secret>) -> Result<(), Failure> {
        if !claim::protected(&secret.metadata) {
            return Ok(());
        }
        let secret_key = key(secret);
        let hosts = self
            .hosts
            .state_filter(|host| host.namespace().as_deref() == Some(&secret_key.namespace));
        let usage = usage(&secret_key, &hosts, &self.lock().going);
        if !usage.needed {
            self.lock().contents.remove(&secret_key);
        }
        let Some(patch) = claim::release(&secret.metadata, usage.needed, &usage.strangers) else {
            return Ok(());
        };
        if !self.leadership.held() {
            return Err(Failure::NotLeading);
        }
        self.metrics.wrote("secret");
        match Beside::of(&self.client, secret)
            .patch_metadata(&secret_key.name, &patch)
            .await
        {
            Ok(_) => {
                tracing::info!(secret = %secret_key, still_needed = usage.needed, "secret let go");
                Ok(())
            }
            Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of Secrets that the host named until now.
    pub(crate) async fn follow_names(&self, host: &BareMetalHost) -> Result<(), Failure> {
        if !host.finalizers().iter().any(|name| name == names::FINALIZER_HOST) {
            return Ok(());
        }
        let uid = host.uid().unwrap_or_default();
        let now: Vec<String> = needed(host).map(str::to_owned).collect();
        let before = self.lock().needed.get(&uid).cloned().unwrap_or_default();
        if before == now {
            return Ok(());
        }
        let beside = Beside::of(&self.client, host);
        for name in before.iter().filter(|name| !now.contains(name)) {
            if let Some(secret) = beside.metadata(name).await? {
                self.settle(&secret).await?;
            }
        }
        self.lock().needed.insert(uid, now);
        Ok(())
    }

    /// Lets go of everything that a host needed.
    pub(crate) async fn release(&self, host: &BareMetalHost) -> Result<(), Failure> {
        let uid = host.uid().unwrap_or_default();
        {
            let mut known = self.lock();
            known.needed.remove(&uid);
            if known.going.len() >= GOING {
                let there: HashSet<_> = self.hosts.state().iter().filter_map(|host| host.uid()).collect();
                known.going.retain(|uid| there.contains(uid));
            }
            known.going.insert(uid);
        }
        let beside = Beside::of(&self.client, host);
        for name in needed(host) {
            if let Some(secret) = beside.metadata(name).await? {
                self.settle(&secret).await?;
            }
        }
        Ok(())
    }

    /// The BMC credentials of a host; `None` when the Secret does not exist. A Secret seen for the first time gets our
    /// label, owner reference and finalizer.
    pub(crate) async fn credentials(&self, host: &BareMetalHost) -> Result<Option<BmcCredentials>, Failure> {
        let beside = Beside::of(&self.client, host);
        let name = &host.spec.bmc.credentials_name;
        let secret_key = beside.key(name);
        // A host that goes takes nothing new.
        let wanted = host.metadata.deletion_timestamp.is_none().then(|| Claim {
            owner: host.owner_ref(&()),
            protected: true,
        });
        // Known by another host that shares it, it still has to get the marks of this one.
        let unmarked = self.followed.get(&secret_key).is_some_and(|secret| {
            let missing = wanted.as_ref().and_then(|wanted| claim(&secret.metadata, wanted));
            missing.is_some()
        });
        if !unmarked && let Some(known) = self.current(&secret_key) {
            return Ok(Some(known));
        }
        let Some(secret) = self.claimed(&beside, name, wanted.as_ref()).await? else {
            return Ok(None);
        };
        let version = secret.resource_version().unwrap_or_default();
        let content = content::credentials(&secret_key, &secret);
        let known = self.lock().contents.get(&secret_key).cloned();
        let first = known.is_none();
        let mut found = BmcCredentials::after(known, version, content);
        if first {
            self.recall(&beside, host, &mut found).await;
        }
        self.lock().contents.insert(secret_key, found.clone());
        Ok(Some(found))
    }

    /// Asks the API server how a Secret came from the version that the host was verified with to the one of now. A
    /// process that was just started cannot know otherwise that only labels changed meanwhile. Nothing is stored for
    /// this: a digest of a password would have to be kept where not everybody may guess at it. What is older than the API
    /// server's memory counts as changed, and is verified once more.
    async fn recall(&self, beside: &Beside, host: &BareMetalHost, found: &mut BmcCredentials) {
        let name = &host.spec.bmc.credentials_name;
        let tried = host.status.as_ref().map(|status| &status.tried_credentials);
        let verified = tried.filter(|tried| {
            let secret = tried.credentials.as_ref();
            secret.and_then(|secret| secret.name.as_ref()) == Some(name)
        });
        let Some(verified) = verified.and_then(|tried| tried.credentials_version.as_deref()) else {
            return;
        };
        for _ in 0..content::REMEMBERED {
            if found.covers(verified) {
                return;
            }
            let Ok(version) = found.oldest().parse() else {
                return;
            };
            let Ok(Some(earlier)) = beside.before(name, version).await else {
                return;
            };
            let version = earlier.resource_version().unwrap_or_default();
            if !found.recall(version, &content::credentials(&beside.key(name), &earlier)) {
                return;
            }
        }
    }

    /// Reads a Secret and writes our marks on it.
    async fn claimed(
        &self,
        beside: &Beside,
        name: &str,
        wanted: Option<&Claim>,
    ) -> Result<Option<Secret>, Failure> {
        let Some(secret) = beside.get(name).await? else {
            return Ok(None);
        };
        match wanted.and_then(|wanted| claim(&secret.metadata, wanted)) {
            Some(patch) => {
                self.metrics.wrote("secret");
                Ok(Some(beside.patch(name, &patch).await?))
            }
            None => Ok(Some(secret)),
        }
    }

    /// The version of a Secret for a host whose ramdisk is built with it; it gets our marks. `None` when there is none.
    pub(crate) async fn version(&self, host: &BareMetalHost, name: &str) -> Result<Option<String>, Failure> {
        let beside = Beside::of(&self.client, host);
        let known = self.followed.get(&beside.key(name));
        let secret = match known {
            Some(known) => known,
            None => match beside.metadata(name).await? {
                Some(secret) => Arc::new(secret),
                None => return Ok(None),
            },
        };
        let wanted = Claim {
            owner: host.owner_ref(&()),
            protected: true,
        };
        let deleting = host.metadata.deletion_timestamp.is_some();
        let patch = (!deleting).then(|| claim(&secret.metadata, &wanted)).flatten();
        let Some(patch) = patch else {
            return Ok(secret.resource_version());
        };
        self.metrics.wrote("secret");
        Ok(beside.patch_metadata(name, &patch).await?.resource_version())
    }

    fn current(&self, key: &HostKey) -> Option<BmcCredentials> {
        let version = self.followed.get(key)?.resource_version();
        let known = self.lock();
        let content = known.contents.get(key);
        content
            .filter(|known| Some(&known.version) == version.as_ref())
            .cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
