//! What is asked of the nodes in memory: one of them, how many are busy, which are named after hosts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use metal3_provisioner::HostKey;

use super::{Mirror, host_key};
use crate::client::Node;

/// How a node stands to the limit of those that are busy on the network at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Business {
    /// It counts.
    Busy,
    /// It does not count now, but the operation may go on: a clean node waits to be deployed.
    Paused,
    /// It does not count.
    Resting,
}

/// What is busy on the network.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Nodes that count.
    pub busy: u32,
    /// How those stand to it that were asked for, and when the reading began that showed it.
    pub of: HashMap<String, (Business, Instant)>,
}

/// A node that is named after a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Identifier of the node.
    pub node: String,
    /// The host of its name.
    pub key: HostKey,
    /// Where it is.
    pub provision_state: String,
}

impl Mirror {
    /// The node as of a moment after our own last write to it. `None`: ask Ironic.
    pub fn node(&self, uuid: &str) -> Option<Arc<Node>> {
        let state = self.lock();
        let entry = state.by_uuid.get(uuid)?;
        let outdated = state
            .written
            .get(uuid)
            .is_some_and(|written| *written >= entry.as_of);
        (!outdated).then(|| Arc::new(entry.row.node(uuid)))
    }

    /// How many nodes are busy and boot from the network, and how some of them stand to that. All at one moment.
    pub fn load<'a>(&self, nodes: impl IntoIterator<Item = &'a str>) -> Load {
        let state = self.lock();
        let of = |uuid: &str| {
            let entry = state.by_uuid.get(uuid)?;
            let business = if entry.row.is_busy_on_network() {
                Business::Busy
            } else if entry.row.provision_state.as_ref() == "available" {
                Business::Paused
            } else {
                Business::Resting
            };
            Some((uuid.to_owned(), (business, entry.as_of)))
        };
        Load {
            busy: state.busy,
            of: nodes.into_iter().filter_map(of).collect(),
        }
    }

    /// Nodes that are named after hosts that `wanted` picks.
    pub fn named(&self, wanted: impl Fn(&HostKey) -> bool) -> Vec<Named> {
        let state = self.lock();
        let named = state.by_uuid.iter().filter_map(|(uuid, entry)| {
            let key = entry.row.name.as_deref().and_then(host_key)?;
            wanted(&key).then(|| Named {
                node: uuid.as_ref().to_owned(),
                key,
                provision_state: entry.row.provision_state.as_ref().to_owned(),
            })
        });
        named.collect()
    }

    /// Whether a node may have a name that is not made from a host's namespace and name. Operators of today give none:
    /// what no listing has shown is not there.
    pub fn may_have_plain(&self, name: &str) -> bool {
        !*self.complete.borrow() || self.lock().plain.contains(name)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.lock().by_uuid.len()
    }

    /// There are none, or they were not read yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
