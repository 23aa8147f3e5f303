//! WatchHosts: a reader pulls. Nothing is queued for it: it has a place in the log of the index and goes on from there. One
//! that falls behind what the log remembers is cut off.
//!
//! A snapshot is read page by page, so that a reader that stalls holds one page and not the fleet of that moment. Each page
//! is known with the place it was read at; of the changes since the snapshot began, those are told then that its page does
//! not have yet. Only at the end of that does the reader have the hosts of one moment, which it can resume from.

mod filter;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use metal3_provisioner::HostKey;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{Host, WatchHostsRequest, WatchHostsResponse};
use tokio::sync::watch as latest;
use tokio::time::Instant;
use tonic::Status;

use self::filter::Filter;
use super::index::{Change, HostIndex, Place};

/// How often a stream with nothing to say tells its revision, which also shows a dead peer.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(30);
/// Hosts of a snapshot that are taken from the index at a time.
const PAGE: usize = 256;
/// Changes that are taken from the index at a time.
const BATCH: usize = 64;

#[derive(Default)]
struct Snapshot {
    /// Hosts of the last page that are not told yet.
    rest: VecDeque<Arc<Host>>,
    /// The last host of each page, and the place that the page was read at.
    pages: Vec<(HostKey, Place)>,
}

impl Snapshot {
    /// Whether a change was there already when its page was read; `end` is when there was no further page.
    fn has(&self, change: &Change, end: Place) -> bool {
        let page = self.pages.partition_point(|(last, _)| *last < change.key);
        change.place <= self.pages.get(page).map_or(end, |(_, place)| *place)
    }
}

struct Reader {
    index: Arc<HostIndex>,
    filter: Filter,
    page: usize,
    /// Until it is synced, unless it resumed.
    snapshot: Option<Snapshot>,
    /// It is synced at this place. `None`: it is synced, or still in the snapshot.
    end: Option<Place>,
    /// Everything up to here is told.
    place: Place,
    /// What comes next.
    changes: VecDeque<Arc<Change>>,
    head: latest::Receiver<Place>,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<WatchHostsResponse, Status>> {
        if self.ended {
            return None;
        }
        let item = self.pull().await;
        self.ended = item.is_err();
        Some(item)
    }

    async fn pull(&mut self) -> Result<WatchHostsResponse, Status> {
        let due = Instant::now() + BOOKMARK_INTERVAL;
        loop {
            if let Some(host) = self.host()? {
                return Ok(self.told(Type::Added, Some(&host)));
            }
            while let Some(change) = self.changes.pop_front() {
                self.place = change.place;
                if let Some(kind) = self.change(&change) {
                    return Ok(self.told(kind, Some(&change.host)));
                }
            }
            if self.end.is_some_and(|end| end <= self.place) {
                (self.snapshot, self.end) = (None, None);
                return Ok(self.told(Type::Synced, None));
            }
            // Seen before the log is read, so that no change falls in between.
            self.head.borrow_and_update();
            self.changes = self.since(BATCH)?.into();
            if self.changes.is_empty() || due <= Instant::now() {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => return Ok(self.told(Type::Bookmark, None)),
                    // Fails at the end of the index only, which is held here.
                    _ = self.head.changed() => {}
                }
            }
        }
    }

    /// The next host of the snapshot; `None` at its end.
    fn host(&mut self) -> Result<Option<Arc<Host>>, Status> {
        loop {
            let Some(snapshot) = &mut self.snapshot else {
                return Ok(None);
            };
            while let Some(host) = snapshot.rest.pop_front() {
                if self.filter.admits(&host) {
                    return Ok(Some(host));
                }
            }
            if self.end.is_some() {
                return Ok(None);
            }
            let after = snapshot.pages.last().map(|(last, _)| last);
            let (page, place) = self.index.page(after, self.page);
            match page.last() {
                Some((last, _)) => snapshot.pages.push((last.clone(), place)),
                None => self.end = Some(place),
            }
            snapshot.rest = page.into_iter().map(|(_, host)| host).collect();
            // What happened since the snapshot began must be known at its end.
            self.since(0)?;
        }
    }

    /// What a change is for this reader.
    fn change(&self, change: &Change) -> Option<Type> {
        if let (Some(snapshot), Some(end)) = (&self.snapshot, self.end)
            && snapshot.has(change, end)
        {
            return None;
        }
        self.filter.change(change)
    }

    fn since(&self, most: usize) -> Result<Vec<Arc<Change>>, Status> {
        self.index.since(self.place, most).ok_or_else(|| {
            let message = "changes were lost because they were not read in time; start again";
            Reason::SlowConsumer.status(message, [])
        })
    }

    fn told(&self, kind: Type, host: Option<&Arc<Host>>) -> WatchHostsResponse {
        // A snapshot has no order: only its end can be resumed from.
        let revision = match self.snapshot {
            Some(_) => String::new(),
            None => self.place.to_string(),
        };
        WatchHostsResponse {
            r#type: kind.into(),
            host: host.map(|host| self.filter.view(host)),
            revision,
        }
    }
}

/// Starts a stream.
///
/// # Errors
/// `INVALID_ARGUMENT` for a malformed revision, `OUT_OF_RANGE` for one that is no longer known, or of another replica.
pub(super) fn watch(
    index: &Arc<HostIndex>,
    request: WatchHostsRequest,
) -> Result<impl Stream<Item = Result<WatchHostsResponse, Status>> + Send + use<>, Status> {
    paged(index, request, PAGE)
}

/// The same, with a snapshot in pages of so many hosts.
fn paged(
    index: &Arc<HostIndex>,
    request: WatchHostsRequest,
    page: usize,
) -> Result<impl Stream<Item = Result<WatchHostsResponse, Status>> + Send + use<>, Status> {
    let from = match request.from_revision.as_str() {
        "" => None,
        text => Some(text.parse::<Place>().map_err(|_| {
            Reason::InvalidField.status(
                format!("from_revision {text:?} is not one that WatchHosts gave"),
                [("field", "from_revision")],
            )
        })?),
    };
    let (newest, head) = index.head();
    if from.is_some_and(|from| index.since(from, 0).is_none()) {
        let message = "from_revision is too old, or of another replica; start again without it";
        return Err(Reason::RevisionExpired.status(message, []));
    }
    let reader = Reader {
        index: Arc::clone(index),
        filter: Filter::new(request),
        page,
        snapshot: from.is_none().then(Snapshot::default),
        end: from.map(|_| newest),
        place: from.unwrap_or(newest),
        changes: VecDeque::new(),
        head,
        ended: false,
    };
    Ok(stream::unfold(reader, |mut reader| async move {
        reader.next().await.map(|item| (item, reader))
    }))
}
