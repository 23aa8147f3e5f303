//! What controllers read: one store per kind, filled by one watch each.

mod parents;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};
use metal3_api::capi::{Cluster, ContractVersionedObjectReference, Machine};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine, Metal3MachineTemplate, Metal3Remediation};
use metal3_api::names;
use metal3_capm3_core::{cluster, machine, template_sync};
use tokio::sync::watch;

pub(crate) use self::parents::Parents;
use crate::commit::Failure;

/// Label of Cluster API for several managers in one cluster.
const WATCH_FILTER: &str = "cluster.x-k8s.io/watch-filter";

/// The stores that must be complete before anything is decided.
const KINDS: usize = 6;

/// An object as it arrives: one that cannot be read must not stop the others.
pub(crate) type Guarded<K> = DeserializeGuard<K>;

/// An object of a known kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        let metadata = object.meta();
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }

    pub(crate) fn reference<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<Guarded<K>> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The stores; cheap to share.
#[derive(Clone)]
pub(crate) struct Objects {
    pub(crate) metal3_machines: Store<Guarded<Metal3Machine>>,
    pub(crate) metal3_clusters: Store<Guarded<Metal3Cluster>>,
    pub(crate) remediations: Store<Guarded<Metal3Remediation>>,
    pub(crate) templates: Store<Guarded<Metal3MachineTemplate>>,
    pub(crate) machines: Store<Guarded<Machine>>,
    pub(crate) clusters: Store<Guarded<Cluster>>,
    /// How many of them are complete.
    pub(crate) listed: watch::Sender<usize>,
}

impl Objects {
    /// Waits for the first listing of each kind: an object that was not read yet must not be taken for missing.
    ///
    /// The stores have a wait of their own, but it wakes only one of several waiters.
    pub(crate) async fn ready(&self) {
        // The sender is our own: it cannot be gone.
        let _ = self.listed.subscribe().wait_for(|listed| *listed >= KINDS).await;
    }

    /// One more kind was listed.
    pub(crate) fn listed(&self) {
        self.listed.send_modify(|listed| *listed += 1);
    }

    pub(crate) fn machine(&self, namespace: &str, name: &str) -> Result<Option<Machine>, Failure> {
        read(&self.machines, "Machine", namespace, name)
    }

    pub(crate) fn cluster(&self, namespace: &str, name: &str) -> Result<Option<Cluster>, Failure> {
        read(&self.clusters, "Cluster", namespace, name)
    }

    pub(crate) fn metal3_machine(&self, key: &Key) -> Result<Option<Metal3Machine>, Failure> {
        read(&self.metal3_machines, "Metal3Machine", &key.namespace, &key.name)
    }

    /// The Cluster that a Metal3Machine belongs to, if it is known and can be read.
    pub(crate) fn cluster_of(&self, machine: &Metal3Machine) -> Option<Cluster> {
        let namespace = machine.metadata.namespace.as_deref().unwrap_or_default();
        let owner = machine::owner_name(machine);
        let owner = owner.and_then(|name| self.machines.get(&Key::new(namespace, name).reference()));
        let owner = owner.as_deref().and_then(|owner| owner.0.as_ref().ok());
        let cluster = machine::cluster_name(machine, owner);
        self.cluster(namespace, cluster).ok().flatten()
    }

    /// The Metal3Machines that were cloned from a template.
    pub(crate) fn clones_of(&self, template: &Key) -> Vec<Arc<Guarded<Metal3Machine>>> {
        self.metal3_machines.state_filter(|machine| {
            let Ok(machine) = &machine.0 else { return false };
            machine.metadata.namespace.as_ref() == Some(&template.namespace)
                && template_sync::template_name(machine) == Some(&template.name)
        })
    }

    /// The template of a Metal3Machine, if the machine is not as the template has it.
    pub(crate) fn template_ahead_of(&self, machine: &Key) -> Option<Key> {
        let namespace = &machine.namespace;
        let machine = self.metal3_machines.get(&machine.reference())?;
        let machine = machine.0.as_ref().ok()?;
        let key = Key::new(namespace, template_sync::template_name(machine)?);
        let template = self.templates.get(&key.reference())?;
        template_sync::is_behind(template.0.as_ref().ok()?, machine).then_some(key)
    }

    /// The infrastructure that a Cluster refers to.
    pub(crate) fn infra_of(&self, cluster: &Cluster) -> Result<Option<Metal3Cluster>, Failure> {
        match infra_key(cluster) {
            None => Ok(None),
            Some(key) => read(&self.metal3_clusters, "Metal3Cluster", &key.namespace, &key.name),
        }
    }

    /// How many Machines a Cluster has.
    pub(crate) fn count_machines(&self, namespace: &str, cluster: &str) -> usize {
        let of_cluster = |machine: &Guarded<Machine>| {
            let metadata = machine.meta();
            metadata.namespace.as_deref() == Some(namespace)
                && metadata
                    .labels
                    .as_ref()
                    .and_then(|labels| labels.get(names::LABEL_CLUSTER_NAME))
                    .is_some_and(|name| name == cluster)
        };
        self.machines.state_filter(of_cluster).len()
    }

    /// How many machines that stay have a host, of those that hand on hosts under a key.
    pub(crate) fn count_settled(&self, namespace: &str, key: &str) -> usize {
        let settled = |machine: &Guarded<Metal3Machine>| {
            let Ok(machine) = &machine.0 else { return false };
            let metadata = &machine.metadata;
            if metadata.namespace.as_deref() != Some(namespace)
                || metadata.deletion_timestamp.is_some()
                || !machine.annotations().contains_key(names::ANNOTATION_HOST)
            {
                return false;
            }
            let owner = machine::owner_name(machine)
                .and_then(|name| self.machines.get(&Key::new(namespace, name).reference()));
            let owner = owner.as_deref().and_then(|owner| owner.0.as_ref().ok());
            owner.is_some_and(|owner| {
                owner.metadata.deletion_timestamp.is_none()
                    && machine::reuse_key(owner).as_deref() == Some(key)
            })
        };
        self.metal3_machines.state_filter(settled).len()
    }

    /// The Metal3Machines that belong to a Cluster, by owner or, when the owner is not there yet, by label.
    pub(crate) fn machines_of(&self, namespace: &str, cluster: &str) -> Vec<Key> {
        let belongs = |machine: &Guarded<Metal3Machine>| {
            let Ok(machine) = &machine.0 else { return false };
            if machine.metadata.namespace.as_deref() != Some(namespace) {
                return false;
            }
            let owner = machine::owner_name(machine).and_then(|name| {
                let key = Key::new(namespace, name);
                self.machines.get(&key.reference())
            });
            let owner = owner.as_deref().and_then(|owner| owner.0.as_ref().ok());
            machine::cluster_name(machine, owner) == cluster
        };
        let machines = self.metal3_machines.state_filter(belongs);
        machines.iter().map(|machine| Key::of(machine.as_ref())).collect()
    }

    /// The Metal3Cluster of a Cluster given by name.
    pub(crate) fn infra_key_of(&self, namespace: &str, cluster: &str) -> Option<Key> {
        infra_key(&self.cluster(namespace, cluster).ok()??)
    }
}

/// Whether an object is one of those that `--watch-filter` selects.
pub(crate) fn selected(labels: &BTreeMap<String, String>, filter: &str) -> bool {
    filter.is_empty() || labels.get(WATCH_FILTER).is_some_and(|value| value == filter)
}

/// What decides who looks at an object when replicas share the work: the cluster by the label that Cluster API sets, or else the
/// namespace.
pub(crate) fn share_key<K: Resource>(object: &K) -> String {
    let metadata = object.meta();
    let cluster = metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(names::LABEL_CLUSTER_NAME));
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", cluster.map_or("", String::as_str))
}

/// The Metal3Cluster that a Cluster refers to.
pub(crate) fn infra_key(cluster: &Cluster) -> Option<Key> {
    let reference = cluster.spec.infrastructure_ref.as_ref()?;
    of_kind(reference, "Metal3Cluster", &cluster.metadata)
}

/// The Metal3Machine that a Machine refers to.
pub(crate) fn metal3_machine_key(machine: &Machine) -> Option<Key> {
    of_kind(
        &machine.spec.infrastructure_ref,
        "Metal3Machine",
        &machine.metadata,
    )
}

/// The Cluster that owns a Metal3Cluster.
pub(crate) fn cluster_key(infra: &Metal3Cluster) -> Option<Key> {
    let namespace = infra.metadata.namespace.as_deref().unwrap_or_default();
    Some(Key::new(namespace, cluster::cluster_name(infra)?))
}

fn of_kind(reference: &ContractVersionedObjectReference, kind: &str, metadata: &ObjectMeta) -> Option<Key> {
    (reference.kind == kind)
        .then(|| Key::new(metadata.namespace.as_deref().unwrap_or_default(), &reference.name))
}

fn read<K>(
    store: &Store<Guarded<K>>,
    kind: &'static str,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, Failure>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let key = Key::new(namespace, name);
    match store.get(&key.reference()).as_deref() {
        None => Ok(None),
        Some(DeserializeGuard(Ok(object))) => Ok(Some(object.clone())),
        Some(DeserializeGuard(Err(error))) => Err(Failure::Malformed {
            kind,
            key,
            error: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use kube::runtime::{reflector, watcher};
    use serde_json::json;

    use super::*;

    fn store<K>(objects: &[serde_json::Value]) -> Store<Guarded<K>>
    where
        K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + 'static,
    {
        let (reader, mut writer) = reflector::store();
        for object in objects {
            let object = serde_json::from_value(object.clone()).unwrap();
            writer.apply_watcher_event(&watcher::Event::Apply(object));
        }
        reader
    }

    fn objects() -> Objects {
        let label = json!({"cluster.x-k8s.io/cluster-name": "c"});
        let owner =
            json!([{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "name": "m", "uid": "u"}]);
        let cloned = json!({
            "cluster.x-k8s.io/cloned-from-name": "t",
            "cluster.x-k8s.io/cloned-from-groupkind": "Metal3MachineTemplate.infrastructure.cluster.x-k8s.io",
        });
        let mode = json!({"automatedCleaningMode": "disabled"});
        Objects {
            metal3_machines: store(&[
                json!({"metadata": {
                    "namespace": "ns", "name": "owned", "ownerReferences": owner, "annotations": cloned}, "spec": {}}),
                json!({"metadata": {
                    "namespace": "ns", "name": "labelled", "labels": label, "annotations": cloned}, "spec": mode}),
                json!({"metadata": {
                    "namespace": "other", "name": "elsewhere", "labels": label, "annotations": cloned}, "spec": {}}),
            ]),
            metal3_clusters: store(&[]),
            remediations: store(&[]),
            templates: store(&[
                json!({"metadata": {"namespace": "ns", "name": "t"}, "spec": {"template": {"spec": mode}}}),
                json!({"metadata": {"namespace": "other", "name": "t"}, "spec": {"template": {"spec": {}}}}),
            ]),
            machines: store(&[json!({
                "metadata": {"namespace": "ns", "name": "m", "labels": label},
                "spec": {"clusterName": "c", "infrastructureRef": {"kind": "Metal3Machine", "name": "owned"}},
            })]),
            clusters: store(&[
                json!({"metadata": {"namespace": "ns", "name": "c"}, "spec": {
                    "infrastructureRef": {"kind": "Metal3Cluster", "name": "infra"}}}),
                json!({"metadata": {"namespace": "ns", "name": "bad"}, "spec": {"paused": "yes"}}),
            ]),
            listed: watch::Sender::default(),
        }
    }

    #[tokio::test]
    async fn all_who_wait_are_told_when_the_last_kind_is_complete() {
        let objects = objects();
        let mut waiters = [objects.ready().boxed(), objects.ready().boxed()];
        for _ in 1..KINDS {
            objects.listed();
        }
        for waiter in &mut waiters {
            assert_eq!(waiter.now_or_never(), None);
        }
        objects.listed();
        futures::future::join_all(waiters).await;
    }

    #[test]
    fn machines_of_a_cluster_are_found_by_owner_and_by_label() {
        let objects = objects();
        let mut names: Vec<_> = objects
            .machines_of("ns", "c")
            .into_iter()
            .map(|key| key.name)
            .collect();
        names.sort();
        assert_eq!(names, ["labelled", "owned"]);
        assert_eq!(objects.count_machines("ns", "c"), 1);
        assert_eq!(objects.count_machines("other", "c"), 0);
    }

    #[test]
    fn clones_are_found_and_those_that_are_not_like_their_template() {
        let objects = objects();
        let clones = objects.clones_of(&Key::new("ns", "t"));
        let mut clones: Vec<_> = clones.iter().map(|machine| machine.name_any()).collect();
        clones.sort();
        assert_eq!(clones, ["labelled", "owned"]);
        assert_eq!(objects.clones_of(&Key::new("ns", "u")).len(), 0);
        let ahead = |namespace, name| objects.template_ahead_of(&Key::new(namespace, name));
        assert_eq!(ahead("ns", "owned"), Some(Key::new("ns", "t")));
        for (namespace, name) in [("ns", "labelled"), ("other", "elsewhere"), ("ns", "missing")] {
            assert_eq!(ahead(namespace, name), None, "{name}");
        }
    }

    #[test]
    fn the_cluster_of_a_machine_is_found_by_its_owner_and_without_it_by_label() {
        let objects = objects();
        let cluster = |namespace, name| {
            let machine = objects
                .metal3_machine(&Key::new(namespace, name))
                .unwrap()
                .unwrap();
            objects.cluster_of(&machine).map(|cluster| cluster.name_any())
        };
        assert_eq!(cluster("ns", "owned").as_deref(), Some("c"));
        assert_eq!(cluster("ns", "labelled").as_deref(), Some("c"));
        assert_eq!(cluster("other", "elsewhere"), None);
    }

    #[test]
    fn references_lead_only_to_kinds_of_ours() {
        let objects = objects();
        assert_eq!(objects.infra_key_of("ns", "c"), Some(Key::new("ns", "infra")));
        let mut machine = objects.machine("ns", "m").unwrap().unwrap();
        assert_eq!(metal3_machine_key(&machine), Some(Key::new("ns", "owned")));
        machine.spec.infrastructure_ref.kind = "DockerMachine".into();
        assert_eq!(metal3_machine_key(&machine), None);
    }

    #[test]
    fn an_object_that_cannot_be_read_is_not_taken_for_missing() {
        let error = objects().cluster("ns", "bad").unwrap_err();
        assert!(error.to_string().contains("Cluster ns/bad"), "{error}");
    }
}
