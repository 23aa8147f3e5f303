//! Plays the users and Cluster API, and looks at what comes of it.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt as _};
use metal3_api::capi::{Cluster, ContractVersionedObjectReference, Machine};
use metal3_api::infra::v1beta2::{APIEndpoint, Metal3Cluster, Metal3Machine};
use metal3_rpc::v1::{Consumer, InventorySummary, Nic};
use metal3_testkit::{ControlPlane, build, wait};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::hosts::Hosts;

/// Condition types of Metal3Machines.
pub(crate) const ASSOCIATED: &str = "AssociateBareMetalHost";
pub(crate) const PROVISIONED: &str = "HostProvisioned";
pub(crate) const META_DATA: &str = "AssociateMetal3MachineMetaData";
/// Condition type of Metal3Clusters.
pub(crate) const INFRASTRUCTURE: &str = "BaremetalInfrastructureReady";

/// A kind of a namespace.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

/// A namespace and the hosts that are lent to it.
pub(crate) struct Lab {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
    pub(crate) hosts: Hosts,
    /// Labels of what is made here.
    pub(crate) labels: Vec<(String, String)>,
}

impl Lab {
    pub(crate) fn new(plane: &'static ControlPlane, namespace: &str, hosts: Hosts) -> Self {
        Self {
            plane,
            namespace: namespace.to_owned(),
            hosts,
            labels: Vec::new(),
        }
    }

    pub(crate) fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.plane.client(), &self.namespace)
    }

    pub(crate) async fn create<K: Kind>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).unwrap();
        self.make(object).await
    }

    async fn make<K: Kind>(&self, mut object: K) -> K {
        object.labels_mut().extend(self.labels.iter().cloned());
        self.api().create(&Default::default(), &object).await.unwrap()
    }

    pub(crate) async fn get<K: Kind>(&self, name: &str) -> K {
        self.api().get(name).await.unwrap()
    }

    pub(crate) async fn patch<K: Kind>(&self, name: &str, patch: Value) {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub(crate) async fn delete<K: Kind>(&self, name: &str) {
        self.api::<K>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    pub(crate) async fn is_gone<K: Kind>(&self, name: &str) {
        let api = self.api::<K>();
        let what = format!("{} {name} to be gone", K::kind(&()));
        wait::until(&what, wait::LONG, async || match api.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => Err(json!(object)["status"].to_string()),
            Err(error) => Err(error.to_string()),
        })
        .await;
    }

    /// Waits until a condition is as wanted, and answers its message.
    pub(crate) async fn condition<K: Kind>(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> String {
        self.condition_saying::<K>(name, [type_, status, reason], "")
            .await
    }

    /// As [`Self::condition`], with a part of the message; several causes share a reason.
    pub(crate) async fn condition_saying<K: Kind>(
        &self,
        name: &str,
        [type_, status, reason]: [&str; 3],
        text: &str,
    ) -> String {
        let api = self.api::<K>();
        let what = format!("{type_}={status} {reason} {text:?} of {} {name}", K::kind(&()));
        wait::until(&what, wait::LONG, async || {
            let object = api.get(name).await.map_err(|error| error.to_string())?;
            let object = json!(object);
            let conditions = object["status"]["conditions"].as_array();
            let found = conditions
                .into_iter()
                .flatten()
                .find(|condition| condition["type"] == type_)
                .ok_or_else(|| object["status"].to_string())?;
            let message = found["message"].as_str().unwrap_or_default();
            if found["status"] == status && found["reason"] == reason && message.contains(text) {
                Ok(message.to_owned())
            } else {
                Err(found.to_string())
            }
        })
        .await
    }

    /// Waits for a host, and answers its name.
    pub(crate) async fn claimed(&self, machine: &str) -> String {
        self.condition::<Metal3Machine>(machine, ASSOCIATED, "True", "AssociateBareMetalHostSuccess")
            .await;
        let machine: Metal3Machine = self.get(machine).await;
        let host = &machine.annotations()["metal3.io/BareMetalHost"];
        let (namespace, host) = host.split_once('/').unwrap();
        assert_eq!(namespace, self.namespace);
        host.to_owned()
    }

    /// A Cluster and its infrastructure.
    pub(crate) async fn cluster(&self, name: &str) {
        let cluster = self.make(build::cluster(name).build()).await;
        let mut infra = build::metal3_cluster(&cluster);
        infra.spec.control_plane_endpoint = Some(APIEndpoint {
            host: Some("192.0.2.9".into()),
            port: Some(6443),
        });
        self.make(infra).await;
    }

    /// What Cluster API does once the infrastructure says that it is provisioned.
    pub(crate) async fn infrastructure_is_ready(&self, cluster: &str) {
        self.condition::<Metal3Cluster>(cluster, "Ready", "True", "Ready")
            .await;
        let infra: Metal3Cluster = self.get(cluster).await;
        let initialization = infra.status.and_then(|status| status.initialization);
        assert_eq!(initialization.and_then(|done| done.provisioned), Some(true));
        let patch = json!({"status": {"initialization": {"infrastructureProvisioned": true}}});
        self.api::<Cluster>()
            .patch_status(cluster, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// A Cluster that is ready for machines.
    pub(crate) async fn ready_cluster(&self, name: &str) {
        self.cluster(name).await;
        self.infrastructure_is_ready(name).await;
    }

    /// A Machine without bootstrap data, and its Metal3Machine.
    pub(crate) async fn bare_machine(&self, name: &str, cluster: &str) -> Metal3Machine {
        let mut machine = build::machine(name, cluster).build();
        machine.spec.bootstrap.config_ref = Some(ContractVersionedObjectReference {
            api_group: "bootstrap.cluster.x-k8s.io".into(),
            kind: "KubeadmConfig".into(),
            name: name.into(),
        });
        let machine = self.make(machine).await;
        self.make(build::metal3_machine(&machine)).await
    }

    /// What the bootstrap provider does.
    pub(crate) async fn bootstrap(&self, machine: &str) {
        let secret = format!("{machine}-bootstrap");
        self.create::<Secret>(
            json!({"metadata": {"name": secret}, "stringData": {"value": "#cloud-config"}}),
        )
        .await;
        let patch = json!({"spec": {"bootstrap": {"dataSecretName": secret}}});
        self.patch::<Machine>(machine, patch).await;
    }

    pub(crate) async fn machine(&self, name: &str, cluster: &str) -> Metal3Machine {
        let machine = self.bare_machine(name, cluster).await;
        self.bootstrap(name).await;
        machine
    }

    /// A host that nobody uses.
    pub(crate) fn free_host(&self, name: &str) {
        self.hosts.change(name, |_| {});
    }

    /// A host that something else uses.
    pub(crate) fn busy_host(&self, name: &str) {
        let namespace = self.namespace.clone();
        self.hosts.change(name, |host| {
            host.consumer = Some(Consumer {
                api_version: "example.com/v1".into(),
                kind: "Other".into(),
                namespace,
                name: "other".into(),
                uid: String::new(),
            });
        });
    }

    /// What the operator tells when a host runs its image.
    pub(crate) fn host_is_provisioned(&self, name: &str) {
        self.hosts.change(name, |host| {
            host.provisioning_state = "provisioned".into();
            host.inventory = Some(InventorySummary {
                hostname: format!("{name}.test"),
                nics: vec![Nic {
                    ip: "192.0.2.7".into(),
                    ..Nic::default()
                }],
                ..InventorySummary::default()
            });
        });
    }

    /// From a claimed host to a Node of the workload cluster.
    pub(crate) async fn becomes_a_node(&self, machine: &str) {
        let host = self.claimed(machine).await;
        self.host_is_provisioned(&host);
        let node = self.node(&host).await;
        self.condition::<Metal3Machine>(machine, "Ready", "True", "Ready")
            .await;
        let id = format!("metal3://{}/{host}/{machine}", self.namespace);
        assert_eq!(self.linked(&node).await, id);
        let machine: Metal3Machine = self.get(machine).await;
        assert_eq!(machine.spec.provider_id, Some(id));
    }
}
