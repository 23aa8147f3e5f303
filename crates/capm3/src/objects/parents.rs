//! What a Metal3Machine belongs to.

use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_capm3_core::machine::{cluster_name, owner_name};

use super::{Key, Objects};
use crate::commit::Failure;

/// As far as they are there: each is found by the one before.
pub(crate) struct Parents {
    pub(crate) owner: Option<Machine>,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) infra: Option<Metal3Cluster>,
}

impl Objects {
    /// The parents of a machine.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn parents(&self, key: &Key, machine: &Metal3Machine) -> Result<Parents, Failure> {
        let owner = match owner_name(machine) {
            Some(name) => self.machine(&key.namespace, name)?,
            None => None,
        };
        let cluster = match cluster_name(machine, owner.as_ref()) {
            "" => None,
            name => self.cluster(&key.namespace, name)?,
        };
        let infra = match &cluster {
            Some(cluster) => self.infra_of(cluster)?,
            None => None,
        };
        Ok(Parents {
            owner,
            cluster,
            infra,
        })
    }
}
