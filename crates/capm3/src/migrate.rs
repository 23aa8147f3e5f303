//! Objects that older releases stored are stored anew in the version of today, so that the older version can go.
//!
//! It is done once for each generation of a CustomResourceDefinition, by the replica that leads, also when the definition
//! changes later; an annotation on it remembers that, under the name that Cluster API's own migration uses. Writing an
//! object without changing it makes the API server encode it anew; when that was done with all, `status.storedVersions`
//! names the one version. Entries of `managedFields` in versions that are no longer served would break server-side apply,
//! and are taken out.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use clap::ValueEnum;
use futures::TryStreamExt as _;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta, Time};
use kube::api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use metal3_kit::backoff::Backoff;
use metal3_kit::client::brief;
use metal3_kit::lease::Leadership;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::interruptions::Interruptions;

/// The generation of a definition for which everything was done; the name is that of Cluster API.
const DONE: &str = "crd-migration.cluster.x-k8s.io/observed-generation";
const MANAGER: &str = "capm3-crd-migration";
const PAGE: u32 = 500;
/// What all interruptions of these watches are counted as.
const DEFINITIONS: &str = "customresourcedefinitions";

/// Parts of the migration that can be left out.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Storing objects anew.
    #[value(name = "StorageVersionMigration")]
    Store,
    /// Taking out managedFields of versions that are not served.
    #[value(name = "CleanupManagedFields")]
    Clean,
}

#[derive(Debug, Error)]
enum Failure {
    #[error("cannot {doing}: {}", brief(.source))]
    Kubernetes { doing: String, source: kube::Error },
    #[error("this replica no longer leads")]
    NotLeading,
}

/// Migrates the objects of all kinds.
pub(crate) struct Migration {
    pub(crate) client: Client,
    pub(crate) leadership: Leadership,
    /// Names of the definitions.
    pub(crate) definitions: Vec<String>,
    pub(crate) skipped: Vec<Phase>,
}

impl Migration {
    /// Waits for leadership, and follows every definition until shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = self.leadership.acquired() => {}
            () = shutdown.cancelled() => return,
        }
        let (turn, interruptions) = (Mutex::new(()), Interruptions::default());
        let names = self.definitions.iter();
        let all = names.map(|name| self.follow(name, &turn, &interruptions));
        tokio::select! {
            _ = join_all(all) => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Migrates whenever a definition is another one than it was, as long as this replica leads.
    async fn follow(&self, name: &str, turn: &Mutex<()>, interruptions: &Interruptions) {
        let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(self.client.clone());
        let this = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = pin!(watcher(definitions, this));
        let backoff = Backoff::default();
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::Apply(crd) | watcher::Event::InitApply(crd))) => {
                    if !is_done(&crd.metadata) && !self.until_done(name, turn).await {
                        return;
                    }
                }
                // Each attempt begins with this one, also those that fail.
                Ok(Some(watcher::Event::Init)) => {}
                Ok(Some(watcher::Event::InitDone | watcher::Event::Delete(_))) => {
                    backoff.forget(&());
                    interruptions.over(DEFINITIONS);
                }
                Ok(None) => return,
                Err(error) => {
                    if interruptions.tell(DEFINITIONS) {
                        tracing::warn!(crd = name, %error, "definitions are not followed now");
                    }
                    let delay: Duration = backoff.next((), rand::random());
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    /// Migrates, however often it takes; false when this replica leads no more. Kinds take turns, and one that fails holds
    /// no other up.
    async fn until_done(&self, name: &str, turn: &Mutex<()>) -> bool {
        let backoff = Backoff::default();
        loop {
            let result = {
                let _turn = turn.lock().await;
                self.migrate(name).await
            };
            match result {
                Ok(()) => return true,
                Err(Failure::NotLeading) => return false,
                Err(error @ Failure::Kubernetes { .. }) => {
                    tracing::warn!(crd = name, %error, "objects are not migrated yet");
                    let delay: Duration = backoff.next((), rand::random());
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    async fn migrate(&self, name: &str) -> Result<(), Failure> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let crd = definitions
            .get(name)
            .await
            .map_err(|error| failed("get", name, error))?;
        let Some(work) = Work::of(&crd, &self.skipped) else {
            return Ok(());
        };
        let count = self.objects(&work).await?;
        if work.store {
            self.may_act()?;
            // Nobody may have begun to store another version meanwhile.
            let stored = json!({
                "metadata": {"resourceVersion": crd.resource_version()},
                "status": {"storedVersions": [work.resource.version]},
            });
            definitions
                .patch_status(name, &PatchParams::default(), &Patch::Merge(&stored))
                .await
                .map_err(|error| failed("patch the status of", name, error))?;
        }
        self.may_act()?;
        let done = json!({"metadata": {"annotations": {DONE: work.generation.to_string()}}});
        definitions
            .patch_metadata(name, &PatchParams::default(), &Patch::Merge(&done))
            .await
            .map_err(|error| failed("annotate", name, error))?;
        tracing::info!(
            crd = name,
            objects = count,
            version = work.resource.version,
            "objects are stored in the version of today"
        );
        Ok(())
    }

    /// Writes what has to be written; how many objects that were.
    async fn objects(&self, work: &Work) -> Result<usize, Failure> {
        let all: Api<DynamicObject> = Api::all_with(self.client.clone(), &work.resource);
        let mut page = ListParams::default().limit(PAGE);
        let mut count = 0;
        loop {
            let list = all
                .list_metadata(&page)
                .await
                .map_err(|error| failed("list", &work.resource.plural, error))?;
            for object in list.items {
                if let Some(patch) = work.patch(&object.metadata) {
                    self.may_act()?;
                    self.write(work, &object, &patch).await?;
                    count += 1;
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(count),
            }
        }
    }

    async fn write(
        &self,
        work: &Work,
        object: &PartialObjectMeta<DynamicObject>,
        patch: &Value,
    ) -> Result<(), Failure> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &namespace, &work.resource);
        let written = api
            .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        match written {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => {
                let what = format!("{} {namespace}/{name}", work.resource.kind);
                Err(failed("store", &what, error))
            }
        }
    }

    fn may_act(&self) -> Result<(), Failure> {
        self.leadership.held().then_some(()).ok_or(Failure::NotLeading)
    }
}

/// What was done is remembered by generation.
fn is_done(metadata: &ObjectMeta) -> bool {
    let generation = metadata.generation.unwrap_or_default().to_string();
    let annotations = metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(DONE)) == Some(&generation)
}

fn failed(verb: &str, what: &str, source: kube::Error) -> Failure {
    Failure::Kubernetes {
        doing: format!("{verb} {what}"),
        source,
    }
}

/// What has to be done with the objects of one definition.
#[derive(Debug)]
struct Work {
    resource: ApiResource,
    generation: i64,
    store: bool,
    /// The served versions, if fields of others are to be taken out.
    served: Option<BTreeSet<String>>,
}

impl Work {
    /// `None`: it was done, or there is nothing that may be done.
    fn of(crd: &CustomResourceDefinition, skipped: &[Phase]) -> Option<Self> {
        let generation = crd.metadata.generation.unwrap_or_default();
        if is_done(&crd.metadata) {
            return None;
        }
        let does = |phase| !skipped.contains(&phase);
        let versions = &crd.spec.versions;
        let version = versions.iter().find(|version| version.storage)?.name.clone();
        let group = &crd.spec.group;
        let stored = crd
            .status
            .as_ref()
            .and_then(|status| status.stored_versions.as_deref());
        let mixed = stored.is_some_and(|stored| stored.iter().any(|other| *other != version));
        let work = Self {
            store: does(Phase::Store) && mixed,
            served: does(Phase::Clean).then(|| {
                let served = versions.iter().filter(|version| version.served);
                served
                    .map(|version| format!("{group}/{}", version.name))
                    .collect()
            }),
            generation,
            resource: ApiResource {
                api_version: format!("{group}/{version}"),
                group: group.clone(),
                version,
                kind: crd.spec.names.kind.clone(),
                plural: crd.spec.names.plural.clone(),
            },
        };
        (work.store || work.served.is_some()).then_some(work)
    }

    /// How to write one object, if it has to be written.
    fn patch(&self, metadata: &ObjectMeta) -> Option<Value> {
        match self.kept(metadata.managed_fields.as_deref().unwrap_or_default()) {
            Some(kept) => Some(json!({
                "metadata": {"resourceVersion": metadata.resource_version, "managedFields": kept},
            })),
            None => self.store.then(|| json!({})),
        }
    }

    /// The entries that stay, if any has to go.
    fn kept(&self, entries: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
        let served = self.served.as_ref()?;
        let known = |entry: &&ManagedFieldsEntry| {
            let version = entry.api_version.as_ref();
            version.is_some_and(|version| served.contains(version))
        };
        let mut kept: Vec<_> = entries.iter().filter(known).cloned().collect();
        if kept.len() == entries.len() {
            return None;
        }
        if kept.is_empty() {
            // With none at all the API server would believe that whoever applies next was the owner of everything.
            kept.push(ManagedFieldsEntry {
                manager: Some(MANAGER.to_owned()),
                operation: Some("Apply".to_owned()),
                api_version: Some(self.resource.api_version.clone()),
                time: Some(Time(Timestamp::now())),
                fields_type: Some("FieldsV1".to_owned()),
                fields_v1: Some(FieldsV1(json!({"f:metadata": {"f:name": {}}}))),
                subresource: None,
            });
        }
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crd(observed: &str, stored: &[&str]) -> CustomResourceDefinition {
        let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage});
        serde_json::from_value(json!({
            "metadata": {"name": "things.g", "generation": 3, "annotations": {DONE: observed}},
            "spec": {
                "group": "g", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
                "versions": [version("v1", false), version("v2", true)],
            },
            "status": {"storedVersions": stored},
        }))
        .unwrap()
    }

    fn entry(version: &str) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some("m".into()),
            api_version: Some(version.into()),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn each_generation_is_worked_on_once_and_stored_only_where_versions_are_mixed() {
        assert!(Work::of(&crd("3", &["v1", "v2"]), &[]).is_none());
        for (observed, stored, skipped, store, clean) in [
            ("2", &["v1", "v2"][..], &[][..], true, true),
            ("", &["v2"], &[], false, true),
            ("2", &["v1", "v2"], &[Phase::Clean], true, false),
            ("2", &["v1"], &[Phase::Store], false, true),
        ] {
            let work = Work::of(&crd(observed, stored), skipped).unwrap();
            assert_eq!((work.store, work.served.is_some()), (store, clean), "{stored:?}");
            assert_eq!((work.resource.api_version.as_str(), work.generation), ("g/v2", 3));
        }
        let neither = [Phase::Store, Phase::Clean];
        assert!(Work::of(&crd("2", &["v1", "v2"]), &neither).is_none());
        assert!(Work::of(&crd("2", &["v2"]), &[Phase::Clean]).is_none());
    }

    #[test]
    fn an_object_is_written_without_a_change_unless_a_version_of_its_managers_is_gone() {
        let object = |versions: &[&str]| ObjectMeta {
            resource_version: Some("7".into()),
            managed_fields: Some(versions.iter().map(|version| entry(version)).collect()),
            ..ObjectMeta::default()
        };
        let work = Work::of(&crd("2", &["v1", "v2"]), &[]).unwrap();
        assert_eq!(work.patch(&object(&["g/v1", "g/v2"])), Some(json!({})));
        assert_eq!(work.patch(&object(&[])), Some(json!({})));
        let patch = work.patch(&object(&["g/v0", "g/v2"])).unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"resourceVersion": "7", "managedFields": [{"manager": "m", "apiVersion": "g/v2"}]}})
        );
        let emptied = work.patch(&object(&["g/v0"])).unwrap();
        let rest = &emptied["metadata"]["managedFields"];
        assert_eq!(
            (&rest[0]["manager"], &rest[0]["apiVersion"]),
            (&json!(MANAGER), &json!("g/v2"))
        );
        let clean = Work::of(&crd("2", &["v2"]), &[]).unwrap();
        assert_eq!(clean.patch(&object(&["g/v1"])), None);
    }
}
