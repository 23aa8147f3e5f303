//! What the stream of hosts told so far. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::identity::HostKey;
use crate::v1::watch_hosts_response::Type;
use crate::v1::{Host, WatchHostsResponse};

/// What one message, or the end of a snapshot, changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News<T> {
    /// A host came, changed or went; what is kept of it is not the same as before.
    Changed {
        /// Which one.
        key: HostKey,
        /// None: it is new.
        before: Option<Arc<T>>,
        /// None: it is gone.
        after: Option<Arc<T>>,
    },
    /// The picture is complete.
    Synced,
}

/// The hosts as last seen; survives the connection. `T` is what is kept of each.
#[derive(Debug)]
pub(super) struct View<T> {
    hosts: HashMap<HostKey, Arc<T>>,
    /// The revision to resume from; empty: from the beginning.
    revision: String,
    /// Hosts of the snapshot that is being read; none when the stream was resumed.
    snapshot: Option<HashSet<HostKey>>,
}

impl<T> Default for View<T> {
    fn default() -> Self {
        Self {
            hosts: HashMap::new(),
            revision: String::new(),
            snapshot: None,
        }
    }
}

impl<T: PartialEq> View<T> {
    pub(super) const fn hosts(&self) -> &HashMap<HostKey, Arc<T>> {
        &self.hosts
    }

    /// A new connection: the revision to resume from.
    pub(super) fn connect(&mut self) -> String {
        self.snapshot = self.revision.is_empty().then(HashSet::new);
        self.revision.clone()
    }

    /// The server cannot resume from here.
    pub(super) fn start_over(&mut self) {
        self.revision.clear();
    }

    /// One message; `keep` says what is kept of a host, and `None` for one that does not matter.
    pub(super) fn take(
        &mut self,
        message: WatchHostsResponse,
        keep: impl Fn(Host) -> Option<T>,
    ) -> Vec<News<T>> {
        let (kind, revision) = (message.r#type(), message.revision);
        let news = match (kind, message.host) {
            (Type::Added | Type::Modified, Some(host)) => self.put(host, keep).into_iter().collect(),
            (Type::Deleted, Some(host)) => self.remove(host, keep),
            (Type::Synced, _) => self.synced(),
            // A message of a newer server is no reason to stop.
            _ => Vec::new(),
        };
        // A snapshot has no order: only its end can be resumed from.
        if self.snapshot.is_none() && !revision.is_empty() {
            self.revision = revision;
        }
        news
    }

    fn put(&mut self, host: Host, keep: impl Fn(Host) -> Option<T>) -> Option<News<T>> {
        let key = HostKey::of(&host)?;
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.insert(key.clone());
        }
        let after = keep(host).map(Arc::new);
        if self.hosts.get(&key) == after.as_ref() {
            return None;
        }
        let before = match &after {
            Some(after) => self.hosts.insert(key.clone(), Arc::clone(after)),
            None => self.hosts.remove(&key),
        };
        Some(News::Changed { key, before, after })
    }

    /// The last content may be news, too.
    fn remove(&mut self, host: Host, keep: impl Fn(Host) -> Option<T>) -> Vec<News<T>> {
        let Some(key) = HostKey::of(&host) else {
            return Vec::new();
        };
        let mut news: Vec<_> = self.put(host, keep).into_iter().collect();
        news.extend(self.hosts.remove(&key).map(|before| News::Changed {
            key,
            before: Some(before),
            after: None,
        }));
        news
    }

    fn synced(&mut self) -> Vec<News<T>> {
        let mut news = Vec::new();
        if let Some(snapshot) = self.snapshot.take() {
            let gone = self.hosts.extract_if(|key, _| !snapshot.contains(key));
            news.extend(gone.map(|(key, before)| News::Changed {
                key,
                before: Some(before),
                after: None,
            }));
        }
        news.push(News::Synced);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::HostRef;

    fn message(kind: Type, name: &str, revision: &str, state: &str) -> WatchHostsResponse {
        WatchHostsResponse {
            r#type: kind.into(),
            host: Some(Host {
                r#ref: Some(HostRef::named("ns", name)),
                provisioning_state: state.into(),
                ..Host::default()
            }),
            revision: revision.into(),
        }
    }

    fn marker(kind: Type, revision: &str) -> WatchHostsResponse {
        WatchHostsResponse {
            r#type: kind.into(),
            host: None,
            revision: revision.into(),
        }
    }

    /// The state is kept; hosts without one do not matter.
    fn keep(host: Host) -> Option<String> {
        Some(host.provisioning_state).filter(|state| !state.is_empty())
    }

    /// In short: `name before>after`.
    fn take(view: &mut View<String>, message: WatchHostsResponse) -> Vec<String> {
        let short = |state: Option<Arc<String>>| state.map_or_else(String::new, |state| (*state).clone());
        view.take(message, keep)
            .into_iter()
            .map(|news| match news {
                News::Changed { key, before, after } => {
                    format!("{} {}>{}", key.name, short(before), short(after))
                }
                News::Synced => "synced".into(),
            })
            .collect()
    }

    #[test]
    fn a_snapshot_is_resumed_only_from_its_end() {
        let mut view = View::default();
        assert_eq!(view.connect(), "");
        assert_eq!(
            take(&mut view, message(Type::Added, "a", "7", "available")),
            ["a >available"]
        );
        assert_eq!(view.connect(), "", "the snapshot broke off");
        assert_eq!(
            take(&mut view, message(Type::Added, "a", "7", "available")),
            [] as [&str; 0]
        );
        assert_eq!(take(&mut view, marker(Type::Synced, "9")), ["synced"]);
        assert_eq!(view.connect(), "9");
        take(&mut view, marker(Type::Bookmark, "12"));
        assert_eq!(view.connect(), "12");
        take(&mut view, message(Type::Modified, "a", "13", "provisioned"));
        assert_eq!(view.connect(), "13");
        view.start_over();
        assert_eq!(view.connect(), "");
    }

    #[test]
    fn hosts_that_a_new_snapshot_lacks_are_gone_and_those_of_a_resumed_stream_stay() {
        let mut view = View::default();
        view.connect();
        take(&mut view, message(Type::Added, "a", "1", "available"));
        take(&mut view, marker(Type::Synced, "1"));
        view.connect();
        assert_eq!(take(&mut view, marker(Type::Synced, "1")), ["synced"]);
        view.start_over();
        view.connect();
        assert_eq!(
            take(&mut view, marker(Type::Synced, "2")),
            ["a available>", "synced"]
        );
        assert!(view.hosts().is_empty());
    }

    #[test]
    fn only_what_is_kept_of_a_host_is_news() {
        let mut view = View::default();
        view.connect();
        take(&mut view, marker(Type::Synced, "1"));
        assert_eq!(
            take(&mut view, message(Type::Added, "a", "2", "")),
            [] as [&str; 0]
        );
        assert_eq!(take(&mut view, message(Type::Modified, "a", "3", "x")), ["a >x"]);
        assert_eq!(
            take(&mut view, message(Type::Modified, "a", "4", "x")),
            [] as [&str; 0]
        );
        assert_eq!(take(&mut view, message(Type::Modified, "a", "5", "")), ["a x>"]);
    }

    #[test]
    fn a_deleted_host_tells_its_last_content_first() {
        let mut view = View::default();
        view.connect();
        take(&mut view, message(Type::Added, "a", "1", "x"));
        assert_eq!(
            take(&mut view, message(Type::Deleted, "a", "2", "y")),
            ["a x>y", "a y>"]
        );
        take(&mut view, message(Type::Added, "a", "3", "x"));
        assert_eq!(take(&mut view, message(Type::Deleted, "a", "4", "x")), ["a x>"]);
    }
}
