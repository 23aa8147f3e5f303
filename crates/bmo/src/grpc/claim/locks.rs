//! Who claims what in this process at this moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use metal3_provisioner::HostKey;
use metal3_rpc::v1::{Consumer, Host};
use tokio::sync::watch;

use super::super::allocate::{Choice, fingerprint};
use super::key;

/// One claim at a time per consumer: a repeated call that overtakes the first one must not choose a second host. And one
/// claim at a time per host, which spares the API server the conflicts.
#[derive(Default)]
pub(super) struct Locks {
    /// Two consumers with the same fingerprint wait for each other, which does no harm.
    consumers: Mutex<HashMap<u64, Weak<tokio::sync::Mutex<()>>>>,
    taking: Arc<Taking>,
}

#[derive(Default)]
struct Taking(Mutex<HashMap<HostKey, watch::Receiver<()>>>);

impl Taking {
    fn lock(&self) -> MutexGuard<'_, HashMap<HostKey, watch::Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, nobody else in this process takes the host.
pub(super) struct Taken {
    host: HostKey,
    taking: Arc<Taking>,
    /// Its end tells those who wait.
    _told: watch::Sender<()>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.taking.lock().remove(&self.host);
    }
}

/// Ends when the claim of a host that was going on is over.
pub(super) struct Over(watch::Receiver<()>);

impl Over {
    pub(super) async fn wait(mut self) {
        // Nothing is ever sent: the end of the sender is the news.
        let _ = self.0.changed().await;
    }
}

impl Locks {
    pub(super) fn consumer(&self, consumer: &Consumer) -> Arc<tokio::sync::Mutex<()>> {
        let key = fingerprint(consumer);
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = consumers.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        if consumers.len() == consumers.capacity() {
            consumers.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        consumers.insert(key, Arc::downgrade(&lock));
        lock
    }

    /// Lets choose among the hosts that nobody is taking, and marks the chosen one. When all that fit are being taken, the
    /// end of the claim to wait for comes with the choice.
    pub(super) fn choose(
        &self,
        choose: impl FnOnce(&dyn Fn(&Host) -> bool) -> Choice,
    ) -> (Choice, Option<Taken>, Option<Over>) {
        let mut taking = self.taking.lock();
        let choice = choose(&|host| !taking.is_empty() && taking.contains_key(&key(host)));
        let (mut taken, mut over) = (None, None);
        match &choice {
            Choice::Take(host, _) => {
                let (sender, receiver) = watch::channel(());
                taking.insert(key(host), receiver);
                taken = Some(Taken {
                    host: key(host),
                    taking: Arc::clone(&self.taking),
                    _told: sender,
                });
            }
            Choice::Busy(host) => over = taking.get(&key(host)).cloned().map(Over),
            Choice::Wait(_) | Choice::None => {}
        }
        (choice, taken, over)
    }
}
