//! What the stream of hosts told so far, and who is to be woken by the next message. Pure.

use std::collections::{HashMap, HashSet};

use metal3_capm3_core::host::{Consumer, HostKey, HostSummary};
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{Host, WatchHostsResponse};

use super::translate;
use crate::objects::Key;

/// The group whose Metal3Machines are ours.
const GROUP: &str = "infrastructure.cluster.x-k8s.io";

/// Who is to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The machine that uses a host, or did.
    Machine(Key),
    /// Machines that wait for a host in this namespace.
    Freed(String),
    /// The picture is complete.
    Synced,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    summary: HostSummary,
    free: bool,
}

/// The hosts as last seen; survives the connection.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    hosts: HashMap<HostKey, Known>,
    /// The revision to resume from; empty: from scratch.
    revision: String,
    /// Hosts of the snapshot that is being read; none when the stream was resumed.
    snapshot: Option<HashSet<HostKey>>,
}

impl Tracker {
    /// A new connection: the revision to resume from.
    pub(super) fn connect(&mut self) -> String {
        self.snapshot = self.revision.is_empty().then(HashSet::new);
        self.revision.clone()
    }

    /// The server cannot resume from here.
    pub(super) fn start_over(&mut self) {
        self.revision.clear();
    }

    /// One message.
    pub(super) fn take(&mut self, message: WatchHostsResponse) -> Vec<Wake> {
        let (kind, revision) = (message.r#type(), message.revision);
        let wakes = match (kind, message.host) {
            (Type::Added | Type::Modified, Some(host)) => self.upsert(host),
            (Type::Deleted, Some(host)) => self.remove(host),
            (Type::Synced, _) => self.synced(),
            // A message of a newer server is no reason to stop.
            _ => Vec::new(),
        };
        // A snapshot has no order: only its end can be resumed from.
        if self.snapshot.is_none() && !revision.is_empty() {
            self.revision = revision;
        }
        wakes
    }

    fn upsert(&mut self, host: Host) -> Vec<Wake> {
        let free = is_free(&host);
        let Some(summary) = translate::summary(host) else {
            return Vec::new();
        };
        let key = summary.key.clone();
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.insert(key.clone());
        }
        let machine = consumer(&summary);
        let new = Known { summary, free };
        let old = self.hosts.get(&key);
        if old == Some(&new) {
            return Vec::new();
        }
        let before = old.and_then(|old| consumer(&old.summary));
        let freed = free && !old.is_some_and(|old| old.free);
        let left = before.filter(|before| Some(before) != machine.as_ref());
        let mut wakes: Vec<Wake> = left.into_iter().chain(machine).map(Wake::Machine).collect();
        if freed {
            wakes.push(Wake::Freed(key.namespace.clone()));
        }
        self.hosts.insert(key, new);
        wakes
    }

    fn remove(&mut self, host: Host) -> Vec<Wake> {
        let Some(last) = translate::summary(host) else {
            return Vec::new();
        };
        let known = self.hosts.remove(&last.key);
        let consumers: HashSet<Key> = [Some(last), known.map(|known| known.summary)]
            .iter()
            .flatten()
            .filter_map(consumer)
            .collect();
        consumers.into_iter().map(Wake::Machine).collect()
    }

    fn synced(&mut self) -> Vec<Wake> {
        let mut wakes = Vec::new();
        if let Some(snapshot) = self.snapshot.take() {
            self.hosts.retain(|key, known| {
                let there = snapshot.contains(key);
                if !there {
                    wakes.extend(consumer(&known.summary).map(Wake::Machine));
                }
                there
            });
        }
        wakes.push(Wake::Synced);
        wakes
    }
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
    host.consumer.is_none()
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

    fn message(kind: Type, name: &str, revision: u64, edit: impl FnOnce(&mut Host)) -> WatchHostsResponse {
        let mut host = Host {
            r#ref: Some(HostRef::named("ns", name)),
            revision: revision.to_string(),
            provisioning_state: "available".into(),
            ..Host::default()
        };
        edit(&mut host);
        WatchHostsResponse {
            r#type: kind.into(),
            host: Some(host),
            revision: revision.to_string(),
        }
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

    fn marker(kind: Type, revision: &str) -> WatchHostsResponse {
        WatchHostsResponse {
            r#type: kind.into(),
            host: None,
            revision: revision.into(),
        }
    }

    fn machine(name: &str) -> Wake {
        Wake::Machine(Key::new("ns", name))
    }

    fn freed() -> Wake {
        Wake::Freed("ns".into())
    }

    #[test]
    fn a_change_wakes_the_consumer_and_an_unchanged_host_nobody() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.connect(), "");
        assert_eq!(
            tracker.take(message(Type::Added, "h", 1, used_by("m"))),
            [machine("m")]
        );
        let same = message(Type::Modified, "h", 2, used_by("m"));
        assert_eq!(tracker.take(same), []);
        let provisioned = message(Type::Modified, "h", 3, |host| {
            used_by("m")(host);
            host.provisioning_state = "provisioned".into();
        });
        assert_eq!(tracker.take(provisioned), [machine("m")]);
    }

    #[test]
    fn a_host_given_back_wakes_its_former_machine_and_those_that_wait() {
        let mut tracker = Tracker::default();
        tracker.connect();
        tracker.take(message(Type::Added, "h", 1, used_by("m")));
        let free = message(Type::Modified, "h", 2, |_| {});
        assert_eq!(tracker.take(free), [machine("m"), freed()]);
        let labelled = message(Type::Modified, "h", 3, |host| {
            host.labels.insert("a".into(), "b".into());
        });
        assert_eq!(tracker.take(labelled), [], "it was free before");
        let paused = message(Type::Modified, "h", 4, |host| {
            host.paused_by = Some(String::new())
        });
        assert_eq!(tracker.take(paused), []);
        assert_eq!(tracker.take(message(Type::Modified, "h", 5, |_| {})), [freed()]);
    }

    #[test]
    fn a_stream_is_resumed_after_its_last_message_but_never_within_a_snapshot() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.connect(), "");
        tracker.take(message(Type::Added, "h", 7, |_| {}));
        assert_eq!(tracker.connect(), "", "the snapshot was not complete");
        tracker.take(message(Type::Added, "h", 7, |_| {}));
        tracker.take(marker(Type::Synced, "9"));
        assert_eq!(tracker.connect(), "9");
        tracker.take(message(Type::Modified, "h", 10, used_by("m")));
        assert_eq!(tracker.connect(), "10");
        tracker.take(marker(Type::Bookmark, "12"));
        assert_eq!(tracker.connect(), "12");
        tracker.start_over();
        assert_eq!(tracker.connect(), "");
    }

    #[test]
    fn hosts_missing_from_a_new_snapshot_are_gone_but_not_when_resumed() {
        let mut tracker = Tracker::default();
        tracker.connect();
        tracker.take(message(Type::Added, "h", 1, used_by("m")));
        tracker.take(marker(Type::Synced, "1"));
        tracker.connect();
        assert_eq!(tracker.take(marker(Type::Synced, "1")), [Wake::Synced]);
        tracker.start_over();
        tracker.connect();
        assert_eq!(
            tracker.take(marker(Type::Synced, "2")),
            [machine("m"), Wake::Synced]
        );
    }

    #[test]
    fn a_deleted_host_wakes_its_machine_once() {
        let mut tracker = Tracker::default();
        tracker.connect();
        tracker.take(message(Type::Added, "h", 1, used_by("m")));
        assert_eq!(
            tracker.take(message(Type::Deleted, "h", 2, used_by("m"))),
            [machine("m")]
        );
    }

    #[test]
    fn hosts_of_others_wake_nobody() {
        let mut tracker = Tracker::default();
        tracker.connect();
        let claimed = message(Type::Added, "h", 1, |host| {
            used_by("m")(host);
            if let Some(consumer) = &mut host.consumer {
                consumer.kind = "HostClaim".into();
            }
        });
        assert_eq!(tracker.take(claimed), []);
    }
}
