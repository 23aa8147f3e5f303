//! How far the watches have come, and who waits for them to come further.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

#[derive(Default)]
pub(super) struct Shown {
    /// By the namespace that is watched; the empty one stands for all.
    scopes: Mutex<HashMap<String, Scope>>,
}

#[derive(Default)]
struct Scope {
    revision: u64,
    waiting: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
}

impl Shown {
    /// The watch of these hosts has shown everything up to this revision.
    pub(super) fn advance(&self, scope: &str, revision: u64) {
        let mut scopes = self.lock();
        let Some(scope) = scopes.get_mut(scope) else {
            let first = Scope {
                revision,
                ..Scope::default()
            };
            scopes.insert(scope.to_owned(), first);
            return;
        };
        if revision <= scope.revision {
            return;
        }
        scope.revision = revision;
        let later = scope.waiting.split_off(&revision.saturating_add(1));
        for reader in std::mem::replace(&mut scope.waiting, later)
            .into_values()
            .flatten()
        {
            // Fails when nobody waits any more.
            let _ = reader.send(());
        }
    }

    /// Waits until the watch that shows the hosts of a namespace has come to a revision; `None`: it has.
    pub(super) fn wait(&self, namespace: &str, revision: u64) -> Option<oneshot::Receiver<()>> {
        let mut scopes = self.lock();
        let name = if scopes.contains_key("") { "" } else { namespace };
        let scope = scopes.entry(name.to_owned()).or_default();
        if revision <= scope.revision {
            return None;
        }
        let (reader, told) = oneshot::channel();
        scope.waiting.entry(revision).or_default().push(reader);
        Some(told)
    }

    // Whole after every step, so a panic of another thread does not spoil it.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Scope>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_revision_is_told_when_the_watch_comes_there_and_not_before() {
        let shown = Shown::default();
        shown.advance("ns", 5);
        assert!(shown.wait("ns", 5).is_none(), "it was shown");
        let mut seven = shown.wait("ns", 7).unwrap();
        let mut nine = shown.wait("ns", 9).unwrap();
        let mut other = shown.wait("other", 6).unwrap();
        shown.advance("ns", 6);
        assert!(seven.try_recv().is_err());
        shown.advance("ns", 8);
        assert!(seven.try_recv().is_ok() && nine.try_recv().is_err() && other.try_recv().is_err());
        shown.advance("ns", 9);
        assert!(nine.try_recv().is_ok());
    }

    #[test]
    fn one_watch_of_all_namespaces_shows_each() {
        let shown = Shown::default();
        shown.advance("", 5);
        assert!(shown.wait("ns", 5).is_none() && shown.wait("other", 6).is_some());
    }
}
