//! ClaimHost: the choice of a host and the writes that make it the consumer's.
//!
//! Two things must never happen, whatever replicas serve the calls and however old their view of the hosts is: one host
//! with two consumers, and one consumer with two hosts.
//!
//! **One host, one consumer** is the compare-and-swap of the write: it names the revision and the UID decided on.
//!
//! **One consumer, one host** cannot be had from one write, for the two hosts are two objects. So a claim is written first
//! and made sure of afterwards:
//!
//! 1. The claim is written: the consumer, labels, nothing that the host's controller would act on.
//! 2. The replica waits until its *watch* has come to the revision of that write. A watch tells changes in the order of their
//!    revisions, so all earlier claims of the namespace are known then, whoever made them. The answer to the own write
//!    proves nothing of the kind, and neither does a read of one host.
//! 3. If the consumer has another host by an earlier claim, this one is given back and the earlier one is the answer. Of two
//!    claims the later one always sees the earlier one, so at most the first is left, and the first is what was answered.
//! 4. Only then what is to run is recorded, by a second compare-and-swap.
//!
//! Which claim is earlier is known to the revision when the watch told of it. A listing (after the start, or when the watch
//! broke) tells only that it was made by then; in doubt the API server is asked whether the consumer had the host at the
//! revision of the own claim. An answer that there is a host already is held to the same: it waits until the watch has
//! shown that claim. A listing counts once all of it was read, deletions included, up to its newest host. Every namespace
//! that is watched has its own revision; a consumer has hosts in its own namespace only.
//!
//! A replica that dies, or loses the API server, between 1 and 3 leaves a second host behind, unused. It is freed when it was
//! there for some time and the consumer uses the other. The next claim of that consumer does not wait for that: it finds both
//! and frees one: the unused one, or the later one, or, when the order is not known any more, the one
//! whose name comes later. Hosts in use are never freed here: two of them are told to the user. A caller that hangs up
//! changes nothing, since a claim runs to its end. When the watch does not come on, the answer is UNAVAILABLE and the
//! claim stays: the next call finds it.
//!
//! * `allocator.rs` these steps; `settle.rs` which host stays, pure; `strays.rs` second hosts left behind; `locks.rs` who
//!   claims at the same time in this process; `tables.rs` why nothing fits

mod allocator;
mod locks;
mod settle;
mod strays;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use metal3_provisioner::HostKey;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::claim_host_response::Reason as Chosen;
use metal3_rpc::v1::{Consumer, Host};
use serde_json::Value;
use tonic::Status;
use tracing::Instrument as _;

pub(super) use self::allocator::reserved;
use self::allocator::{Allocator, Claimed};
use super::index::HostIndex;
use super::intent::{Seen, title};
use super::request::consumer;
use super::service::Service;
use super::store::Store;

/// How long a watch may lag behind a write until the caller is sent to try again: some deal less than a call may take.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// The same, for a claim that finds no host and whose caller has seen more. Half of what a client gives its first attempt: it
/// is to have an answer, and to ask nobody else, also when no watch comes to that revision any more.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// How long a second host is left to those who may still be at work on it: far longer than a call may take.
const STRAY_AFTER: Duration = Duration::from_secs(120);

/// What a claim needs of the API server. Every answer goes into the index.
pub(super) trait Records: Send + Sync + 'static {
    /// Compares and swaps. `None`: the host changed or went, and the index knows how it is now.
    fn write(
        &self,
        decided_on: &Host,
        patch: Value,
    ) -> impl Future<Output = Result<Option<Seen>, Status>> + Send;
    /// The host of that name as it is now.
    fn read(&self, host: &Host) -> impl Future<Output = Result<Option<Seen>, Status>> + Send;
    /// Whether the host was the consumer's at a revision; also when that is not known any more.
    fn had(
        &self,
        host: &Host,
        consumer: &Consumer,
        revision: u64,
    ) -> impl Future<Output = Result<bool, Status>> + Send;
    /// Whether the watch came to a revision in time.
    fn shown(
        &self,
        index: &HostIndex,
        namespace: &str,
        revision: u64,
        within: Duration,
    ) -> impl Future<Output = bool> + Send;
}

impl Records for Store {
    async fn write(&self, decided_on: &Host, patch: Value) -> Result<Option<Seen>, Status> {
        Self::write(self, decided_on, patch).await
    }

    async fn read(&self, host: &Host) -> Result<Option<Seen>, Status> {
        self.refresh(&key(host), host).await
    }

    async fn had(&self, host: &Host, consumer: &Consumer, revision: u64) -> Result<bool, Status> {
        self.had(&key(host), consumer, revision).await
    }

    async fn shown(&self, index: &HostIndex, namespace: &str, revision: u64, within: Duration) -> bool {
        let reached = index.reaches(namespace, revision);
        tokio::time::timeout(within, reached).await.is_ok()
    }
}

/// All claims of a replica; cheap to share.
#[derive(Clone)]
pub(super) struct Claims(Arc<Allocator<Store>>);

impl Claims {
    pub(super) fn new(index: Arc<HostIndex>, store: Arc<Store>) -> Self {
        Self(Arc::new(Allocator::new(index, store)))
    }

    /// Frees second hosts that claims left behind.
    pub(super) async fn tidy(&self) {
        Box::pin(self.0.tidy(STRAY_AFTER)).await;
    }
}

impl Service {
    pub(super) async fn claim(&self, request: v1::ClaimHostRequest) -> Result<v1::ClaimHostResponse, Status> {
        let consumer = consumer(request.consumer.as_ref())?.clone();
        let cluster = request.cluster_name.clone();
        let claims = self.claims.clone();
        // A task of its own: a caller that hangs up must not leave a claim half made.
        let claiming =
            tokio::spawn(async move { Box::pin(claims.0.claim(&request)).await }.in_current_span());
        let Claimed { seen, reason } = claiming.await.map_err(|_| {
            Reason::Backend.status(
                "the claim ended unexpectedly, see the log of the operator; try again",
                [],
            )
        })??;
        // Before anything else: the host's controller goes on at once, and tells of it.
        tracing::info!(host = %title(&seen.host), consumer = %consumer.name, ?reason, "host claimed");
        if reason != Chosen::Existing {
            self.store.tell(&seen.host, &consumer, "Claimed", "claimed");
        }
        self.store.label_credentials(&seen, &cluster).await?;
        Ok(v1::ClaimHostResponse {
            failure_domain: seen.host.failure_domain.clone(),
            host: Some(seen.host),
            reason: reason.into(),
        })
    }
}

fn key(host: &Host) -> HostKey {
    let (namespace, name) = host
        .r#ref
        .as_ref()
        .map_or(("", ""), |host| (host.namespace.as_str(), host.name.as_str()));
    HostKey::new(namespace, name)
}

/// Whether both are the same object, not only of the same name.
fn same(one: &Host, other: &Host) -> bool {
    one.r#ref == other.r#ref
}
