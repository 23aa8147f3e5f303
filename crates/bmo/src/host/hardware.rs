//! HardwareData: written when inspection found something, read when it says more than the host's own status.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::BoxStream;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use metal3_api::metal3::hardware_data::{HardwareData, HardwareDataSpec, HardwareDetails};
use metal3_api::metal3::host::{BareMetalHost, InspectionMode};
use metal3_api::names;
use metal3_kit::lease::Leadership;
use metal3_provisioner::HostKey;
use serde_json::{Value, json};

use super::controller::reference;
use super::observe::key;
use super::reconcile::Failure;
use crate::follow::{Followed, follow, told};
use crate::metrics::HostMetrics;
use crate::watch::Guarded;

/// Keeps the HardwareData of hosts; clones share what they know.
#[derive(Clone)]
pub(super) struct Hardware {
    client: Client,
    metrics: HostMetrics,
    leadership: Leadership,
    hosts: Store<Guarded>,
    followed: Followed<PartialObjectMeta<HardwareData>>,
    /// Versions that the host's status knows of.
    taken: Arc<Mutex<HashMap<HostKey, String>>>,
}

impl Hardware {
    /// The keeper, and the hosts to look at because somebody brought them HardwareData.
    pub(super) fn new(
        client: Client,
        metrics: HostMetrics,
        leadership: Leadership,
        hosts: Store<Guarded>,
        namespaces: &[String],
    ) -> (Self, BoxStream<'static, ObjectRef<Guarded>>) {
        let (followed, changed) = follow(&client, namespaces, &watcher::Config::default());
        let hardware = Self {
            client,
            metrics,
            leadership,
            hosts,
            followed,
            taken: Arc::default(),
        };
        let woken = told(changed, &hardware, |hardware, data| async move {
            hardware.seen(&data).await
        });
        (hardware, woken)
    }

    async fn seen(&self, data: &PartialObjectMeta<HardwareData>) -> Option<ObjectRef<Guarded>> {
        let key = key(data);
        let host = reference(&key);
        let Some(guarded) = self.hosts.get(&host) else {
            self.lock().remove(&key);
            self.let_go_without_host(data).await;
            return None;
        };
        let useful = guarded.0.as_ref().is_ok_and(|host| wanted(host));
        (useful && !self.is_taken(&key)).then_some(host)
    }

    /// Its host went without us.
    async fn let_go_without_host(&self, data: &PartialObjectMeta<HardwareData>) {
        if data.metadata.deletion_timestamp.is_none() || !self.leadership.held() {
            return;
        }
        if let Err(error) = self.free(data).await
            && !error.is_conflict()
        {
            tracing::warn!(host = %key(data), %error, "the HardwareData of a host that is gone keeps our finalizer for now");
        }
    }

    /// What is known of the hardware besides the host's status, if that is of use.
    pub(super) async fn load(&self, host: &BareMetalHost) -> Result<Option<HardwareData>, Failure> {
        let key = key(host);
        // What an annotation brings is taken over once: that must not depend on how far the watch is.
        let brings = [names::ANNOTATION_STATUS, names::ANNOTATION_HARDWARE_DETAILS];
        let once = brings.iter().any(|name| host.annotations().contains_key(*name));
        let there = || self.followed.get(&key).is_some() && !self.is_taken(&key);
        if once || (wanted(host) && there()) {
            return Ok(self.api(&key).get_opt(&key.name).await?);
        }
        Ok(None)
    }

    /// Remembers that the host's status, as it was written, knows of it.
    pub(super) fn taken(&self, data: &HardwareData) {
        let version = data.resource_version().unwrap_or_default();
        self.lock().insert(key(data), version);
    }

    fn is_taken(&self, key: &HostKey) -> bool {
        let there = self.followed.get(key).and_then(|data| data.resource_version());
        there.is_some_and(|version| self.lock().get(key) == Some(&version))
    }

    /// Records what inspection found, in place: labels and annotations of users stay.
    pub(super) async fn write(&self, host: &BareMetalHost, details: HardwareDetails) -> Result<(), Failure> {
        let key = key(host);
        let api = self.api(&key);
        self.metrics.wrote("hardwaredata");
        if self.followed.get(&key).is_none() {
            match api
                .create(&PostParams::default(), &fresh(host, details.clone()))
                .await
            {
                Ok(data) => {
                    self.taken(&data);
                    return Ok(());
                }
                Err(kube::Error::Api(error)) if error.reason == "AlreadyExists" => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(current) = api.get_metadata_opt(&key.name).await? else {
            self.taken(&api.create(&PostParams::default(), &fresh(host, details)).await?);
            return Ok(());
        };
        let operations = serde_json::from_value(update(&current.metadata, host, &details))
            .map_err(kube::Error::SerdeError)?;
        let written = api
            .patch(&key.name, &PatchParams::default(), &Patch::Json::<()>(operations))
            .await?;
        self.taken(&written);
        Ok(())
    }

    /// Takes our finalizer off the HardwareData of a host that goes; upstream's is the same.
    pub(super) async fn release(&self, host: &BareMetalHost) -> Result<(), Failure> {
        let key = key(host);
        self.lock().remove(&key);
        match self.api(&key).get_metadata_opt(&key.name).await? {
            Some(data) => self.free(&data).await,
            None => Ok(()),
        }
    }

    async fn free(&self, data: &PartialObjectMeta<HardwareData>) -> Result<(), Failure> {
        let ours = |name: &&String| *name == names::FINALIZER_HARDWARE_DATA;
        if !data.finalizers().iter().any(|name| ours(&name)) {
            return Ok(());
        }
        let rest: Vec<_> = data.finalizers().iter().filter(|name| !ours(name)).collect();
        let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": data.resource_version()}});
        self.metrics.wrote("hardwaredata");
        let api = self.api(&key(data));
        match api
            .patch_metadata(&data.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn api(&self, key: &HostKey) -> Api<HardwareData> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<HostKey, String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a decision on the host depends on it.
fn wanted(host: &BareMetalHost) -> bool {
    let disabled = host.spec.inspection_mode == Some(InspectionMode::Disabled)
        || host
            .annotations()
            .get(names::ANNOTATION_INSPECT)
            .map(String::as_str)
            == Some("disabled");
    let known = host
        .status
        .as_ref()
        .is_some_and(|status| status.hardware.is_some());
    !known || disabled
}

/// As inspection creates it: it goes with the host, and not before.
fn fresh(host: &BareMetalHost, details: HardwareDetails) -> HardwareData {
    HardwareData {
        metadata: ObjectMeta {
            name: host.metadata.name.clone(),
            namespace: host.metadata.namespace.clone(),
            owner_references: host.controller_owner_ref(&()).map(|owner| {
                vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
                    block_owner_deletion: Some(true),
                    ..owner
                }]
            }),
            finalizers: Some(vec![names::FINALIZER_HARDWARE_DATA.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: HardwareDataSpec {
            hardware: Some(details),
        },
    }
}

/// Replaces the hardware, all of it, and nothing else. What a user brought gets an owner, as it goes with the host, but no
/// finalizer.
fn update(current: &ObjectMeta, host: &BareMetalHost, details: &HardwareDetails) -> Value {
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": current.resource_version}),
        json!({"op": "add", "path": "/spec", "value": {"hardware": details}}),
    ];
    let owners = current.owner_references.as_deref().unwrap_or_default();
    let owned = owners
        .iter()
        .any(|owner| Some(&owner.uid) == host.metadata.uid.as_ref() || owner.controller == Some(true));
    if !owned {
        let fresh = fresh(host, HardwareDetails::default());
        let all: Vec<_> = owners
            .iter()
            .cloned()
            .chain(fresh.metadata.owner_references.into_iter().flatten())
            .collect();
        operations.push(json!({"op": "add", "path": "/metadata/ownerReferences", "value": all}));
    }
    Value::Array(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(spec: &Value, status: &Value) -> BareMetalHost {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "ns", "uid": "u"}, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    fn known() -> Value {
        let host = json!({"hardware": {"cpu": {"arch": "x86_64"}, "nics": [], "storage": []}});
        let mut status =
            serde_json::to_value(metal3_api::metal3::host::BareMetalHostStatus::default()).unwrap();
        status["hardware"] = host["hardware"].clone();
        status
    }

    #[test]
    fn it_is_read_only_where_it_can_say_more_than_the_status() {
        let plain = json!({"online": true});
        assert!(!wanted(&host(&plain, &known())));
        assert!(wanted(&host(&plain, &json!(null))));
        let disabled = json!({"online": true, "inspectionMode": "disabled"});
        assert!(wanted(&host(&disabled, &known())));
    }

    #[test]
    fn an_update_replaces_the_hardware_and_leaves_the_rest() {
        let host = host(&json!({"online": true}), &json!(null));
        let details = HardwareDetails::default();
        let own: ObjectMeta = serde_json::from_value(json!({
            "resourceVersion": "7",
            "ownerReferences": [{"apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost", "name": "a", "uid": "u"}],
        }))
        .unwrap();
        let operations = update(&own, &host, &details);
        let paths: Vec<_> = operations
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths, ["/metadata/resourceVersion", "/spec"]);
        let brought = update(&ObjectMeta::default(), &host, &details);
        let owner = &brought[2]["value"][0];
        assert_eq!((&owner["uid"], &owner["controller"]), (&json!("u"), &json!(true)));
    }
}
