//! Who is to be woken by a change of a host. Pure.

use std::sync::Arc;

use metal3_capm3_core::host::{Consumer, HostSummary};
use metal3_capm3_core::label_sync::Labels;
use metal3_capm3_core::remediation::HostFacts;
use metal3_rpc::v1::Host;

use super::labels::Lent;
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
    /// Machines that wait for a host in this namespace, where one is free since this revision.
    Freed { namespace: String, revision: u64 },
}

/// What is remembered of a host: a change of anything else wakes nobody.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    summary: HostSummary,
    power: HostFacts,
    /// While it is free, the revision that tells so.
    free: Option<u64>,
    /// Labels matter only where there may be a Node.
    pub(super) lent: Option<Arc<Lent>>,
}

impl Known {
    pub(super) fn of(host: Host) -> Option<Self> {
        // One that is not a number, which the service does not send, holds up no claim.
        let free = is_free(&host).then(|| host.revision.parse().unwrap_or_default());
        let power = care::facts(host.clone());
        let (paused, labels) = (host.paused_by.is_some(), Labels::with_prefix(&host.labels));
        let summary = translate::summary(host)?;
        let lent = consumer(&summary).map(|machine| {
            Arc::new(Lent {
                machine,
                paused,
                labels,
            })
        });
        Some(Self {
            summary,
            power,
            free,
            lent,
        })
    }

    /// All but the labels.
    fn facts(&self) -> (&HostSummary, &HostFacts, Option<u64>) {
        (&self.summary, &self.power, self.free)
    }
}

/// Whom a change concerns.
pub(super) fn wakes(before: Option<&Known>, after: Option<&Known>) -> Vec<Wake> {
    let consumer = |known: Option<&Known>| known.and_then(|known| consumer(&known.summary));
    let (left, machine) = (consumer(before), consumer(after));
    let left = left.filter(|left| Some(left) != machine.as_ref());
    let mut wakes = Vec::new();
    if before.map(Known::facts) != after.map(Known::facts) {
        wakes.extend(left.into_iter().chain(machine).map(Wake::Machine));
    }
    let lent = |known: Option<&Known>| known.and_then(|known| known.lent.clone());
    if let Some(lent) = lent(after).filter(|now| lent(before).as_ref() != Some(now)) {
        wakes.push(Wake::Labels(lent.machine.clone()));
    }
    let was_free = before.is_some_and(|before| before.free.is_some());
    if let Some((after, revision)) = after.and_then(|after| Some((after, after.free?)))
        && !was_free
    {
        wakes.push(Wake::Freed {
            namespace: after.summary.key.namespace.clone(),
            revision,
        });
    }
    wakes
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

/// Might be claimed. The host service decides; this only says whether asking it again makes sense.
fn is_free(host: &Host) -> bool {
    let kept = !host.reuse_key.is_empty();
    (host.consumer.is_none() || kept)
        && !host.deleting
        && !host.unhealthy
        && !host.externally_provisioned
        && host.paused_by.is_none()
        && host.error_message.is_empty()
        && matches!(host.provisioning_state.as_str(), "available" | "ready")
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::{self, HostRef};

    use super::*;

    fn known(edit: impl FnOnce(&mut Host)) -> Known {
        let mut host = Host {
            r#ref: Some(HostRef::named("ns", "h")),
            provisioning_state: "available".into(),
            revision: "7".into(),
            ..Host::default()
        };
        edit(&mut host);
        Known::of(host).unwrap()
    }

    fn used_by(name: &'static str) -> impl FnOnce(&mut Host) {
        move |host| {
            host.consumer = Some(v1::Consumer {
                api_version: format!("{GROUP}/v1beta1"),
                kind: "Metal3Machine".into(),
                namespace: "ns".into(),
                name: name.into(),
                uid: String::new(),
            });
        }
    }

    fn machine(name: &str) -> Wake {
        Wake::Machine(Key::new("ns", name))
    }

    fn labels(name: &str) -> Wake {
        Wake::Labels(Key::new("ns", name))
    }

    fn freed() -> Wake {
        Wake::Freed {
            namespace: "ns".into(),
            revision: 7,
        }
    }

    #[test]
    fn a_change_wakes_the_consumer_and_an_unchanged_host_nobody() {
        let used = known(used_by("m"));
        assert_eq!(wakes(None, Some(&used)), [machine("m"), labels("m")]);
        assert_eq!(wakes(Some(&used), Some(&used)), []);
        let provisioned = known(|host| {
            used_by("m")(host);
            host.provisioning_state = "provisioned".into();
        });
        assert_eq!(wakes(Some(&used), Some(&provisioned)), [machine("m")]);
        let on = known(|host| {
            used_by("m")(host);
            host.powered_on = true;
        });
        assert_eq!(wakes(Some(&used), Some(&on)), [machine("m")]);
        assert_eq!(
            wakes(Some(&used), Some(&known(used_by("n")))),
            [machine("m"), machine("n"), labels("n")]
        );
    }

    #[test]
    fn labels_that_a_cluster_could_ask_for_wake_only_label_sync() {
        let labelled = |key: &'static str| {
            known(move |host| {
                used_by("m")(host);
                host.labels.insert(key.into(), "b".into());
            })
        };
        let used = known(used_by("m"));
        assert_eq!(wakes(Some(&used), Some(&labelled("a.io/x"))), [labels("m")]);
        assert_eq!(wakes(Some(&labelled("a.io/x")), Some(&used)), [labels("m")]);
        assert_eq!(labelled("without-prefix"), used, "nobody can ask for it");
        let paused = known(|host| {
            used_by("m")(host);
            host.paused_by = Some(String::new());
        });
        assert_eq!(wakes(Some(&paused), Some(&used)), [labels("m")]);
        let free = known(|host| {
            host.labels.insert("a.io/x".into(), "b".into());
        });
        assert_eq!(free, known(|_| {}), "it has no Node");
    }

    #[test]
    fn a_host_given_back_wakes_its_former_machine_and_those_that_wait() {
        let (used, free) = (known(used_by("m")), known(|_| {}));
        assert_eq!(wakes(Some(&used), Some(&free)), [machine("m"), freed()]);
        let paused = known(|host| host.paused_by = Some(String::new()));
        assert_eq!(wakes(Some(&free), Some(&paused)), []);
        assert_eq!(wakes(Some(&paused), Some(&free)), [freed()]);
        let cleaned = known(|host| {
            host.provisioning_state = "ready".into();
            host.revision = "8".into();
        });
        assert_eq!(wakes(Some(&free), Some(&cleaned)), [], "it was free before");
    }

    #[test]
    fn a_host_that_is_kept_wakes_those_that_wait_when_it_is_available() {
        let kept = |state: &'static str| {
            known(move |host| {
                host.reuse_key = "md-d".into();
                host.consumer = Some(v1::Consumer {
                    kind: "Cluster".into(),
                    ..v1::Consumer::default()
                });
                host.provisioning_state = state.into();
            })
        };
        assert_eq!(
            wakes(Some(&kept("preparing")), Some(&kept("available"))),
            [freed()]
        );
        assert_eq!(wakes(None, Some(&kept("preparing"))), []);
    }

    #[test]
    fn a_deleted_host_wakes_its_machine() {
        assert_eq!(wakes(Some(&known(used_by("m"))), None), [machine("m")]);
        assert_eq!(wakes(Some(&known(|_| {})), None), []);
    }

    #[test]
    fn hosts_of_others_wake_nobody() {
        let claimed = known(|host| {
            used_by("m")(host);
            if let Some(consumer) = &mut host.consumer {
                consumer.kind = "HostClaim".into();
            }
        });
        assert_eq!(wakes(None, Some(&claimed)), []);
    }
}
