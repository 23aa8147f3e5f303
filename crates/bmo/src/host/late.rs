//! Writes that can wait a moment.
//!
//! A claim is two writes of a host, a moment apart (see `grpc/claim.rs`). A status that says no more than that the first was
//! read would be written between them: the second would fail, and be read and written once more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metal3_provisioner::HostKey;
use tokio::time::Instant;

/// How long such a write waits at most; a claim takes far less, and nobody misses it so soon.
const WITHIN: Duration = Duration::from_secs(1);

/// The hosts whose status waits to be written, and since when.
#[derive(Default)]
pub(super) struct Late(Mutex<HashMap<HostKey, Instant>>);

impl Late {
    /// How much longer the write of this host can wait; `None` when it waited long enough.
    pub(super) fn left(&self, host: &HostKey) -> Option<Duration> {
        let now = Instant::now();
        let since = *self.hosts().entry(host.clone()).or_insert(now);
        let left = WITHIN.saturating_sub(now.duration_since(since));
        (!left.is_zero()).then_some(left)
    }

    /// Nothing of this host waits any more.
    pub(super) fn forget(&self, host: &HostKey) {
        self.hosts().remove(host);
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<HostKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_waits_once_however_often_it_is_asked_for() {
        let (late, host) = (Late::default(), HostKey::new("ns", "a"));
        assert_eq!(late.left(&host), Some(WITHIN));
        tokio::time::advance(WITHIN / 2).await;
        assert_eq!(late.left(&host), Some(WITHIN / 2));
        assert_eq!(late.left(&HostKey::new("ns", "b")), Some(WITHIN));
        tokio::time::advance(WITHIN / 2).await;
        assert_eq!(late.left(&host), None);
        late.forget(&host);
        assert_eq!(late.left(&host), Some(WITHIN));
    }
}
