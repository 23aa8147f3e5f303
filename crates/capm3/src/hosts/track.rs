//! Who is to be woken by a change of a host. Pure.

use std::collections::BTreeMap;

use metal3_capm3_core::host::{Consumer, HostKey, HostSummary};
use metal3_capm3_core::label_sync::Labels;
use metal3_capm3_core::remediation::HostFacts;
use metal3_rpc::claimable::NOT_AVAILABLE;
use metal3_rpc::v1::Host;

use super::{care, translate};
use crate::objects::Key;

/// The group whose Metal3Machines are ours.
const GROUP: &str = "infrastructure.cluster.x-k8s.io";

/// Who is to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The machine that uses a host, or did.
    Machine(Key),
    /// The machine that uses a host whose labels changed.
    Labels(Key),
    /// Machines that wait for a host, or those of them with this key: there is news of one that might be claimed.
    Offered {
        host: HostKey,
        reuse_key: String,
        revision: u64,
    },
    /// Nobody: a host cannot be claimed any more.
    Withdrawn(HostKey),
    /// Machines of the namespace with this key, which waited for a host that is kept for them, and may have any now.
    NotAwaited {
        namespace: String,
        reuse_key: String,
        revision: u64,
    },
}

/// What is remembered of a host: a change of anything else wakes nobody.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) summary: HostSummary,
    power: HostFacts,
    /// One that is not a number, which the service does not send, is none: it holds up no claim.
    pub(super) revision: u64,
    offer: Offer,
    /// Labels matter only where there may be a Node.
    pub(super) lent: Option<Lent>,
}

/// What label sync needs of a host that a machine uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lent {
    pub(super) machine: Key,
    /// Somebody paused it, whoever that was.
    pub(super) paused: bool,
    pub(super) labels: Labels,
}

/// What a host is to those who wait for one. The host service decides; this only says whether asking it again makes sense.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// It cannot be claimed.
    None,
    /// It might be claimed: by any machine, or by those with the key that it is kept under. Compared with its revision,
    /// because others may have had it since it was told last.
    Free { reuse_key: String, revision: u64 },
    /// Machines with this key, whose selectors these labels match, wait for it and take no other.
    Awaited {
        reuse_key: String,
        labels: BTreeMap<String, String>,
    },
}

impl Offer {
    fn of(host: &Host, revision: u64) -> Self {
        let kept = host.is_reserved();
        let reuse_key = host.reuse_key.clone();
        match host.obstacle() {
            _ if host.consumer.is_some() && !kept => Self::None,
            None => Self::Free { reuse_key, revision },
            Some(NOT_AVAILABLE) if kept => Self::Awaited {
                reuse_key,
                labels: host.labels.clone().into_iter().collect(),
            },
            Some(_) => Self::None,
        }
    }
}

impl Known {
    pub(super) fn of(host: Host) -> Option<Self> {
        let revision = host.revision.parse().unwrap_or_default();
        let offer = Offer::of(&host, revision);
        let power = care::facts(host.clone());
        let (paused, labels) = (host.paused_by.is_some(), Labels::with_prefix(&host.labels));
        let summary = translate::summary(host)?;
        let lent = consumer(&summary).map(|machine| Lent {
            machine,
            paused,
            labels,
        });
        Some(Self {
            summary,
            power,
            revision,
            offer,
            lent,
        })
    }

    /// What its consumer acts on.
    fn facts(&self) -> (&HostSummary, &HostFacts) {
        (&self.summary, &self.power)
    }
}

/// Revisions count for hosts that might be claimed only, see [`Offer`].
impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.facts() == other.facts() && self.offer == other.offer && self.lent == other.lent
    }
}

impl Eq for Known {}

/// Whom a change concerns.
pub(super) fn wakes(before: Option<&Known>, after: Option<&Known>) -> Vec<Wake> {
    let consumer = |known: Option<&Known>| known.and_then(|known| consumer(&known.summary));
    let (left, machine) = (consumer(before), consumer(after));
    let left = left.filter(|left| Some(left) != machine.as_ref());
    let mut wakes = Vec::new();
    if before.map(Known::facts) != after.map(Known::facts) {
        wakes.extend(left.into_iter().chain(machine).map(Wake::Machine));
    }
    if let Some(lent) = after.and_then(|after| after.lent.as_ref())
        && before.and_then(|before| before.lent.as_ref()) != Some(lent)
    {
        wakes.push(Wake::Labels(lent.machine.clone()));
    }
    wakes.extend(offers(before, after));
    wakes
}

/// Whom a change concerns of those who wait for a host.
fn offers(before: Option<&Known>, after: Option<&Known>) -> impl Iterator<Item = Wake> {
    let was = before.map_or(&Offer::None, |known| &known.offer);
    let is = after.map_or(&Offer::None, |known| &known.offer);
    let known = after.or(before).filter(|_| was != is);
    let offered = known.and_then(|known| match (was, is) {
        (_, Offer::Free { reuse_key, revision }) => Some(Wake::Offered {
            host: known.summary.key.clone(),
            reuse_key: reuse_key.clone(),
            revision: *revision,
        }),
        (Offer::Free { .. }, _) => Some(Wake::Withdrawn(known.summary.key.clone())),
        _ => None,
    });
    let ended = known.and_then(|known| match was {
        Offer::Awaited { reuse_key, .. } => Some(Wake::NotAwaited {
            namespace: known.summary.key.namespace.clone(),
            reuse_key: reuse_key.clone(),
            revision: known.revision,
        }),
        Offer::None | Offer::Free { .. } => None,
    });
    offered.into_iter().chain(ended)
}

/// The Metal3Machine that uses a host.
fn consumer(host: &HostSummary) -> Option<Key> {
    let Consumer {
        group,
        kind,
        namespace,
        name,
    } = host.consumer.as_ref()?;
    (group == GROUP && kind == "Metal3Machine").then(|| Key::new(namespace, name))
}

#[cfg(test)]
mod tests;
