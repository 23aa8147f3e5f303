//! Clusters and machines, both Cluster API's and Metal3's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use metal3_api::capi::{
    Bootstrap, Cluster, ClusterSpec, ContractVersionedObjectReference, Machine, MachineSpec,
};
use metal3_api::infra::v1beta2::{Image, Metal3Cluster, Metal3Machine};
use metal3_api::names;

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";

/// A Cluster whose infrastructure is the Metal3Cluster of the same name.
pub fn cluster(name: &str) -> ClusterBuilder {
    let infrastructure = reference("Metal3Cluster", name);
    let spec = ClusterSpec {
        infrastructure_ref: Some(infrastructure),
        ..ClusterSpec::default()
    };
    ClusterBuilder {
        cluster: Cluster {
            metadata: named(name),
            spec,
            status: None,
        },
    }
}

/// A Cluster in the making.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    cluster: Cluster,
}

impl ClusterBuilder {
    /// Nobody may work on it.
    #[must_use]
    pub fn paused(mut self) -> Self {
        self.cluster.spec.paused = Some(true);
        self
    }

    /// The Cluster.
    pub fn build(self) -> Cluster {
        self.cluster
    }
}

/// A Machine of a Cluster whose infrastructure is the Metal3Machine of the same name.
pub fn machine(name: &str, cluster: &str) -> MachineBuilder {
    let mut metadata = named(name);
    metadata.labels = Some([(names::LABEL_CLUSTER_NAME.to_owned(), cluster.to_owned())].into());
    let spec = MachineSpec {
        cluster_name: cluster.to_owned(),
        infrastructure_ref: reference("Metal3Machine", name),
        ..MachineSpec::default()
    };
    MachineBuilder {
        machine: Machine {
            metadata,
            spec,
            status: None,
        },
    }
}

/// A Machine in the making.
#[derive(Clone, Debug)]
pub struct MachineBuilder {
    machine: Machine,
}

impl MachineBuilder {
    /// Its bootstrap data is in this Secret.
    #[must_use]
    pub fn bootstrap(mut self, secret: &str) -> Self {
        self.machine.spec.bootstrap = Bootstrap {
            data_secret_name: Some(secret.to_owned()),
            ..Bootstrap::default()
        };
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.machine.labels_mut().insert(key.to_owned(), value.to_owned());
        self
    }

    /// The Machine.
    pub fn build(self) -> Machine {
        self.machine
    }
}

/// The Metal3Cluster of a Cluster that was created.
pub fn metal3_cluster(owner: &Cluster) -> Metal3Cluster {
    let name = owner.name_any();
    let mut metadata = named(&name);
    metadata.labels = Some([(names::LABEL_CLUSTER_NAME.to_owned(), name)].into());
    metadata.owner_references = Some(vec![owned_by(owner)]);
    Metal3Cluster {
        metadata,
        ..Metal3Cluster::default()
    }
}

/// The Metal3Machine of a Machine that was created, with an image.
pub fn metal3_machine(owner: &Machine) -> Metal3Machine {
    let mut metadata = named(&owner.name_any());
    let cluster = owner.spec.cluster_name.clone();
    metadata.labels = Some([(names::LABEL_CLUSTER_NAME.to_owned(), cluster)].into());
    metadata.owner_references = Some(vec![owned_by(owner)]);
    let mut machine = Metal3Machine {
        metadata,
        ..Metal3Machine::default()
    };
    machine.spec.image = Some(Image {
        url: "http://images.test/node.qcow2".into(),
        checksum: Some("d41d8cd98f00b204e9800998ecf8427e".into()),
        checksum_type: Some("md5".into()),
        disk_format: Some("qcow2".into()),
    });
    machine
}

/// As Cluster API sets it: owner, but not controller.
fn owned_by<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }
}

fn reference(kind: &str, name: &str) -> ContractVersionedObjectReference {
    ContractVersionedObjectReference {
        api_group: INFRASTRUCTURE.into(),
        kind: kind.into(),
        name: name.into(),
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}
