//! Events about what callers did, told beside the calls: an Event is a write of its own, and nobody waits for it.

use futures::StreamExt as _;
use futures::stream;
use kube::Client;
use tokio::sync::mpsc;

use crate::events::{Events, Told};
use crate::metrics::HostMetrics;

/// Events that may wait: those of a cluster of a thousand machines that is made at once.
const WAITING: usize = 1024;
/// Told at the same time: few, so that calls come first at the API server.
const AT_ONCE: usize = 4;

/// Takes events, and tells them in the background as long as it lives.
pub(super) struct Teller(mpsc::Sender<Told>);

impl Teller {
    pub(super) fn start(client: Client, metrics: HostMetrics) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let events = Events::new(client, metrics);
        let waiting = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Told>| {
            receiver.recv().await.map(|told| (told, receiver))
        });
        tokio::spawn(async move {
            waiting
                .for_each_concurrent(AT_ONCE, |told| events.tell(told))
                .await;
        });
        Self(sender)
    }

    /// Events are told, not guaranteed: when too many wait, one more is only logged.
    pub(super) fn tell(&self, told: Told) {
        if let Err(error) = self.0.try_send(told) {
            let told = error.into_inner();
            tracing::warn!(
                host = told.about.name,
                reason = told.reason,
                "event not told: too many wait already"
            );
        }
    }
}
