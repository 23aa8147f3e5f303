//! Room for hosts that boot from the network: Ironic's TFTP, DHCP and image server carry only so many at once.

mod queue;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metal3_provisioner::{Capacity, CapacityArgs, Error, HostKey, HostRef, Kind};

pub use self::queue::QueueState;
use self::queue::{Asker, Queue};
use crate::client::Client;
use crate::mirror::Mirror;
use crate::orphans::Known;

/// Nobody is let through before all nodes were read once, because some may be busy; a call waits so long for that.
const FIRST_READING: Duration = Duration::from_secs(5);

/// The queue of one Ironic.
pub(crate) struct Slots {
    queue: Mutex<Queue>,
    known: OnceLock<Known>,
}

impl Slots {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            queue: Mutex::new(Queue::new(limit)),
            known: OnceLock::new(),
        }
    }

    pub(crate) fn set_known(&self, known: Known) {
        // Who said it first goes on saying it.
        self.known.set(known).ok();
    }

    /// Whether an operation of this host may begin or go on.
    pub(crate) async fn ask(
        &self,
        client: &Client,
        mirror: &Mirror,
        host: &HostRef,
        args: &CapacityArgs,
    ) -> Result<Capacity, Error> {
        if boots_by_itself(host) {
            self.lock().leave(&host.key);
            return Ok(Capacity::Free);
        }
        if !mirror.complete(FIRST_READING).await {
            return Err(Error::new(
                Kind::NotReady,
                "not_read",
                format!(
                    "whether Ironic has room for host {} is known once its node list was read; check that Ironic is up",
                    host.key
                ),
            ));
        }
        let asker = Asker {
            key: &host.key,
            node: host.node.as_ref().map(|node| node.0.as_str()),
            since: args.since,
        };
        let mut queue = self.lock();
        queue.begun(client.take_begun());
        let load = mirror.load(queue.nodes().chain(asker.node));
        Ok(queue.ask(asker, &load, Instant::now(), Timestamp::now()))
    }

    /// Calls those who are next, after a reading of all nodes.
    pub(crate) fn settle(&self, client: &Client, mirror: &Mirror) {
        let mut queue = self.lock();
        queue.begun(client.take_begun());
        let load = mirror.load(queue.nodes());
        let known = |key: &HostKey| self.known.get().is_none_or(|known| known(key));
        let called = queue.settle(&load, known, Instant::now());
        drop(queue);
        for key in called {
            mirror.tell(key);
        }
    }

    pub(crate) fn expect(&self, hosts: impl IntoIterator<Item = (HostKey, Timestamp)>) {
        self.lock().expect(hosts, Instant::now());
    }

    pub(crate) fn state(&self) -> QueueState {
        self.lock().state()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From virtual media or by HTTP, without the services of the provisioning network.
fn boots_by_itself(host: &HostRef) -> bool {
    host.bmc.as_ref().is_some_and(|bmc| {
        bmc.address
            .parse::<metal3_bmc::Bmc>()
            .is_ok_and(|bmc| bmc.driver.boots_iso)
    })
}
