//! What of each kind decisions depend on, and who looks again when it changes.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hash as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine, Metal3MachineTemplate, Metal3Remediation};
use metal3_capm3_core::machine::{infrastructure_provisioned, reuse_key};

use super::Watched;
use crate::objects::{Key, Objects, cluster_key, infra_key, metal3_machine_key};
use crate::wake::Wakes;

fn mark_metadata(metadata: &ObjectMeta, hasher: &mut DefaultHasher) {
    (
        &metadata.uid,
        &metadata.generation,
        &metadata.annotations,
        &metadata.labels,
        &metadata.finalizers,
    )
        .hash(hasher);
    metadata.deletion_timestamp.is_some().hash(hasher);
    for owner in metadata.owner_references.iter().flatten() {
        (&owner.api_version, &owner.kind, &owner.name).hash(hasher);
    }
}

impl Watched for Metal3Machine {
    fn mark(&self, hasher: &mut DefaultHasher) {
        mark_metadata(&self.metadata, hasher);
    }

    fn wake(&self, objects: &Objects, wakes: &Wakes) {
        let key = Key::of(self);
        if let Some(template) = objects.template_ahead_of(&key) {
            wakes.template(template);
        }
        wakes.all_of(key);
    }
}

impl Watched for Metal3MachineTemplate {
    fn mark(&self, hasher: &mut DefaultHasher) {
        mark_metadata(&self.metadata, hasher);
    }

    fn wake(&self, _: &Objects, wakes: &Wakes) {
        wakes.template(Key::of(self));
    }
}

impl Watched for Metal3Cluster {
    fn mark(&self, hasher: &mut DefaultHasher) {
        mark_metadata(&self.metadata, hasher);
    }

    fn wake(&self, objects: &Objects, wakes: &Wakes) {
        wakes.cluster(Key::of(self));
        if let Some(cluster) = cluster_key(self) {
            for machine in objects.machines_of(&cluster.namespace, &cluster.name) {
                wakes.all_of(machine);
            }
        }
    }
}

impl Watched for Metal3Remediation {
    fn mark(&self, hasher: &mut DefaultHasher) {
        mark_metadata(&self.metadata, hasher);
    }

    fn wake(&self, _: &Objects, wakes: &Wakes) {
        wakes.remediation(Key::of(self));
    }

    fn gone(&self, _: &Objects, wakes: &Wakes) {
        wakes.following.forget(&Key::of(self));
    }
}

impl Watched for Machine {
    fn mark(&self, hasher: &mut DefaultHasher) {
        let status = self.status.as_ref();
        let node = status.and_then(|status| Some(&status.node_ref.as_ref()?.name));
        let spec = &self.spec;
        (
            &self.metadata.uid,
            self.metadata.deletion_timestamp.is_some(),
            node,
        )
            .hash(hasher);
        (
            &spec.cluster_name,
            &spec.failure_domain,
            &spec.bootstrap.data_secret_name,
        )
            .hash(hasher);
        (spec.bootstrap.config_ref.is_some(), &spec.infrastructure_ref.name).hash(hasher);
        // Which of the hosts that are kept it may have.
        reuse_key(self).hash(hasher);
    }

    fn wake(&self, _: &Objects, wakes: &Wakes) {
        if let Some(key) = metal3_machine_key(self) {
            wakes.all_of(key);
        }
    }

    /// A Metal3Cluster that is deleted waits for the last Machine.
    fn gone(&self, objects: &Objects, wakes: &Wakes) {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        if let Some(key) = objects.infra_key_of(namespace, &self.spec.cluster_name) {
            wakes.cluster(key);
        }
    }
}

impl Watched for Cluster {
    fn mark(&self, hasher: &mut DefaultHasher) {
        let provisioned = infrastructure_provisioned(self);
        let infra = self
            .spec
            .infrastructure_ref
            .as_ref()
            .map(|reference| &reference.name);
        (
            &self.metadata.uid,
            self.metadata.deletion_timestamp.is_some(),
            self.spec.paused,
        )
            .hash(hasher);
        (infra, provisioned).hash(hasher);
    }

    fn wake(&self, objects: &Objects, wakes: &Wakes) {
        if let Some(key) = infra_key(self) {
            wakes.cluster(key);
        }
        let key = Key::of(self);
        for machine in objects.machines_of(&key.namespace, &key.name) {
            // It may have waited for the end of a pause.
            if let Some(template) = objects.template_ahead_of(&machine) {
                wakes.template(template);
            }
            wakes.all_of(machine);
        }
    }
}
