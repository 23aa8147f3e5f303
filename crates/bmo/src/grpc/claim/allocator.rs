//! The steps of a claim, see the module above.

use std::sync::Arc;

use jiff::Timestamp;
use metal3_rpc::reason::{self, Reason};
use metal3_rpc::v1::claim_host_response::Reason as Chosen;
use metal3_rpc::v1::{ClaimHostRequest, Consumer, Host};
use tokio::sync::Semaphore;
use tonic::Status;

use super::super::allocate::{self, Choice, Wish, name};
use super::super::calls::WRITE_ATTEMPTS;
use super::super::index::HostIndex;
use super::super::intent::{self, Seen, title};
use super::super::pool::Holding;
use super::super::request::{conflict, consumer, revision, wish};
use super::locks::{Locks, Taken};
use super::settle::{Kept, Verdict, kept, verdict};
use super::strays::Strays;
use super::tables::Tables;
use super::{Records, SEEN_WITHIN, SHOWN_WITHIN, same};

/// Claims written at the same time: more only queue at the API server, which turns some away then.
const WRITERS: usize = 32;

/// Who gets which host.
pub(super) struct Allocator<R> {
    pub(super) index: Arc<HostIndex>,
    pub(super) records: Arc<R>,
    pub(super) locks: Locks,
    writers: Semaphore,
    tables: Tables,
    pub(super) strays: Strays,
}

/// A host that is its consumer's.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) seen: Seen,
    pub(super) reason: Chosen,
}

/// One call.
struct Call<'a> {
    request: &'a ClaimHostRequest,
    consumer: &'a Consumer,
    wish: Wish,
}

impl<R: Records> Allocator<R> {
    pub(super) fn new(index: Arc<HostIndex>, records: Arc<R>) -> Self {
        Self {
            index,
            records,
            locks: Locks::default(),
            writers: Semaphore::new(WRITERS),
            tables: Tables::default(),
            strays: Strays::default(),
        }
    }

    /// Finds the consumer's host, or takes one.
    ///
    /// # Errors
    /// See `ClaimHost` in the contract.
    pub(super) async fn claim(&self, request: &ClaimHostRequest) -> Result<Claimed, Status> {
        let consumer = consumer(request.consumer.as_ref())?;
        let call = Call {
            request,
            consumer,
            wish: wish(request, consumer)?,
        };
        let lock = self.locks.consumer(consumer);
        let _one_at_a_time = lock.lock().await;
        let mut seen: Option<u64> = request.seen_revision.parse().ok();
        for _ in 0..WRITE_ATTEMPTS {
            let claimed = if self.index.holdings(consumer).is_empty() {
                let taken = self.take(&call).await;
                if taken.as_ref().is_err_and(finds_nothing)
                    && let Some(seen) = seen.take()
                {
                    // Perhaps this replica has only not been told yet what the caller was. When that takes too long, or was
                    // about a host that is gone, what is known counts.
                    let (index, namespace) = (&self.index, &request.namespace);
                    self.records.shown(index, namespace, seen, SEEN_WITHIN).await;
                    continue;
                }
                taken?
            } else {
                self.find(&call).await?
            };
            if let Some(claimed) = claimed {
                return Ok(claimed);
            }
        }
        Err(conflict(&format!("hosts of namespace {}", request.namespace)))
    }

    /// The host that the consumer has, of which there should be one. `None`: decide again.
    async fn find(&self, call: &Call<'_>) -> Result<Option<Claimed>, Status> {
        let holdings = self.index.holdings(call.consumer);
        let newest = holdings.iter().map(|holding| holding.since.by).max();
        // Only then is it certain that no earlier claim is hidden.
        self.shown(call, newest.unwrap_or(0)).await?;
        let holdings = self.index.holdings(call.consumer);
        let (one, rest) = match kept(&holdings) {
            None => return Ok(None),
            Some(Kept::One(one, rest)) => (one, rest),
            Some(Kept::Several(several)) => return Err(ambiguous(call.consumer, &several)),
        };
        for other in rest {
            tracing::warn!(host = %title(&other.host), kept = %title(&one.host), consumer = %call.consumer.name,
                "a second host of the consumer is freed");
            let patch = intent::retract(&other.host, None, &call.request.cluster_name);
            if self.records.write(&other.host, patch).await?.is_none() {
                return Ok(None);
            }
        }
        match self.again(call, &one.host).await? {
            Some(seen) => self.record(call, seen, Chosen::Existing).await,
            None => Ok(None),
        }
    }

    /// The consumer's host as it is now, if it is still the consumer's.
    async fn again(&self, call: &Call<'_>, host: &Host) -> Result<Option<Seen>, Status> {
        let now = self.records.read(host).await?;
        Ok(now.filter(|now| same(&now.host, host) && owns(call.consumer, &now.host)))
    }

    /// Takes a host for a consumer that has none. `None`: somebody else was faster; decide again.
    async fn take(&self, call: &Call<'_>) -> Result<Option<Claimed>, Status> {
        // Never closed, so a failure to get a place cannot happen; one writer more would do no harm.
        let place = self.writers.acquire().await;
        let (host, reason, taken) = self.choose(call).await?;
        let written = match intent::claim(&host, call.request, call.consumer) {
            Ok(patch) => self.records.write(&host, patch).await,
            Err(status) => Err(status),
        };
        drop((taken, place));
        match written? {
            Some(mine) => self.settle(call, &host, mine, reason).await,
            None => Ok(None),
        }
    }

    async fn choose(&self, call: &Call<'_>) -> Result<(Arc<Host>, Chosen, Option<Taken>), Status> {
        let (namespace, wish) = (call.request.namespace.as_str(), &call.wish);
        loop {
            let now = Timestamp::now();
            let (choice, taken, over) = self
                .locks
                .choose(|busy| self.index.choose(namespace, wish, now, busy));
            match choice {
                Choice::Take(host, reason) => return Ok((host, reason, taken)),
                Choice::Busy(_) => {
                    if let Some(over) = over {
                        over.wait().await;
                    }
                }
                Choice::Wait(awaited) => return Err(reserved(wish, &awaited)),
                Choice::None => {
                    let version = self.index.version(namespace);
                    let make = || self.index.rejections(namespace, wish, now);
                    let table = self.tables.of(namespace, wish, version, make);
                    let message = allocate::explain(namespace, &table);
                    return Err(reason::no_host_available(message, &table));
                }
            }
        }
    }

    /// Makes sure that a host just claimed is the only one. `None`: it is not, and was given back.
    async fn settle(
        &self,
        call: &Call<'_>,
        before: &Host,
        mine: Seen,
        reason: Chosen,
    ) -> Result<Option<Claimed>, Status> {
        let claimed_at = revision(&mine.host);
        self.shown(call, claimed_at).await?;
        let (own, others): (Vec<_>, Vec<_>) = self
            .index
            .holdings(call.consumer)
            .into_iter()
            .partition(|holding| same(&holding.host, &mine.host));
        let Some(own) = own.into_iter().next() else {
            return Ok(None);
        };
        let stays = match verdict(claimed_at, &others) {
            Verdict::Stay => true,
            Verdict::Yield => false,
            Verdict::Ask(unsure) => self.came_later(call, claimed_at, &unsure).await?,
        };
        if !stays {
            self.give_back(call, before, &mine.host).await?;
            return Ok(None);
        }
        for other in others {
            // Whoever claimed it gives it back as well, if it still lives.
            let patch = intent::retract(&other.host, None, &call.request.cluster_name);
            self.records.write(&other.host, patch).await?;
        }
        let mine = if revision(&own.host) == claimed_at {
            Some(mine)
        } else {
            self.again(call, &own.host).await?
        };
        match mine {
            Some(mine) => self.record(call, mine, reason).await,
            None => Ok(None),
        }
    }

    async fn came_later(&self, call: &Call<'_>, revision: u64, others: &[&Holding]) -> Result<bool, Status> {
        for other in others {
            if self.records.had(&other.host, call.consumer, revision).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Undoes a claim of this call.
    async fn give_back(&self, call: &Call<'_>, before: &Host, mine: &Host) -> Result<(), Status> {
        for _ in 0..WRITE_ATTEMPTS {
            let holdings = self.index.holdings(call.consumer);
            let Some(own) = holdings.iter().find(|holding| same(&holding.host, mine)) else {
                return Ok(());
            };
            if intent::is_used(&own.host) {
                return Err(ambiguous(call.consumer, &holdings.iter().collect::<Vec<_>>()));
            }
            let patch = intent::retract(&own.host, Some(before), &call.request.cluster_name);
            if self.records.write(&own.host, patch).await?.is_some() {
                tracing::info!(host = %title(mine), consumer = %call.consumer.name,
                    "a claim was given back: the consumer had a host already");
                return Ok(());
            }
        }
        Err(conflict(&format!("host {}", title(mine))))
    }

    /// Records the rest of what was asked. `None`: the host is no longer the consumer's.
    async fn record(
        &self,
        call: &Call<'_>,
        mut seen: Seen,
        reason: Chosen,
    ) -> Result<Option<Claimed>, Status> {
        for _ in 0..WRITE_ATTEMPTS {
            let Some(patch) = intent::record(&seen.host, call.request)? else {
                return Ok(Some(Claimed { seen, reason }));
            };
            if let Some(seen) = self.records.write(&seen.host, patch).await? {
                return Ok(Some(Claimed { seen, reason }));
            }
            match self.again(call, &seen.host).await? {
                Some(now) => seen = now,
                None => return Ok(None),
            }
        }
        Err(conflict(&format!("host {}", title(&seen.host))))
    }

    /// Waits until the watch of this replica has come to a revision of the call's namespace.
    async fn shown(&self, call: &Call<'_>, revision: u64) -> Result<(), Status> {
        let namespace = &call.request.namespace;
        let reached = self.records.shown(&self.index, namespace, revision, SHOWN_WITHIN);
        if reached.await {
            return Ok(());
        }
        let message = format!(
            "this replica has not seen yet what others do in namespace {namespace}: its watch of the hosts lags; try again"
        );
        Err(Reason::NotSynced.status(message, [("namespace", namespace.as_str())]))
    }
}

/// Whether another answer is possible once more is known.
fn finds_nothing(status: &Status) -> bool {
    matches!(
        Reason::of(status),
        Some(Reason::NoHostAvailable | Reason::ReservedHostNotReady)
    )
}

pub(super) fn owns(consumer: &Consumer, host: &Host) -> bool {
    let owner = host.consumer.as_ref();
    owner.is_some_and(|owner| owner.same_object(consumer))
}

fn names<'a>(hosts: impl Iterator<Item = &'a Arc<Host>>) -> String {
    let mut names: Vec<_> = hosts.map(|host| name(host)).collect();
    names.sort_unstable();
    names.join(", ")
}

fn ambiguous(consumer: &Consumer, holdings: &[&Holding]) -> Status {
    let names = names(holdings.iter().map(|holding| &holding.host));
    let message = format!(
        "{} {}/{} has more than one host that something runs on: {names}; release all but one, or take consumerRef off by \
         hand",
        consumer.kind, consumer.namespace, consumer.name
    );
    Reason::SeveralHosts.status(message, [("hosts", names.as_str())])
}

/// Refuses a claim for which hosts are kept that are not available yet.
pub(in super::super) fn reserved(wish: &Wish, awaited: &[Arc<Host>]) -> Status {
    let names = names(awaited.iter());
    let message = format!(
        "hosts reserved under {:?} are not available yet: {names}; they will be, or the reservation ends",
        wish.reuse_key
    );
    Reason::ReservedHostNotReady.status(
        message,
        [("hosts", names.as_str()), ("reuse_key", wish.reuse_key.as_str())],
    )
}
