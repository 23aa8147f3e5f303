//! Why a watch does not go on, told neither too often nor never.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::watcher;

/// Between two lines in the log about the same.
const SILENCE: Duration = Duration::from_secs(60);

/// When watches were last said to be interrupted, by group and version: their kinds mostly come and go together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interruptions(Arc<Mutex<HashMap<String, Instant>>>);

impl Interruptions {
    /// Whether to say it now.
    pub(crate) fn tell(&self, version: &str) -> bool {
        let (now, mut told) = (
            Instant::now(),
            self.0.lock().unwrap_or_else(PoisonError::into_inner),
        );
        let recent = told
            .get(version)
            .is_some_and(|last| now.duration_since(*last) < SILENCE);
        if !recent {
            told.insert(version.to_owned(), now);
        }
        !recent
    }

    /// The next one is news.
    pub(crate) fn over(&self, version: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(version);
    }
}

/// The kind is not served, at least not in our version.
pub(crate) fn is_absent(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else {
        return false;
    };
    matches!(cause, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_told_once_a_minute_and_group_and_again_after_it_was_over() {
        let interruptions = Interruptions::default();
        assert!(interruptions.tell("a/v1"));
        assert!(!interruptions.tell("a/v1"));
        assert!(interruptions.tell("b/v1"));
        interruptions.over("a/v1");
        assert!(interruptions.tell("a/v1"));
        assert!(!interruptions.tell("b/v1"));
    }
}
