//! WatchHosts: a reader pulls. Nothing is queued for it: it has a place in the log of the index, and is told of hosts as
//! they are when it comes to them. One that falls behind what the log remembers is cut off.

mod filter;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream;
use metal3_provisioner::HostKey;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{Host, WatchHostsRequest, WatchHostsResponse};
use tokio::sync::watch as latest;
use tokio::time::Instant;
use tonic::Status;

use self::filter::Filter;
use super::index::{HostIndex, Place, Touched};

/// How often a stream with nothing to say tells its revision, which also shows a dead peer.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(30);
/// Hosts of a snapshot that are taken from the index at a time; a reader that stalls holds no more of them.
const PAGE: usize = 256;

/// How far a reader is.
enum Stage {
    /// In the snapshot, after this host.
    Snapshot(Option<HostKey>),
    /// What changed since the snapshot began, or since the reader was here last, is told before it is told to be synced.
    CatchUp,
    Live,
    Ended,
}

struct Reader {
    index: Arc<HostIndex>,
    filter: Filter,
    stage: Stage,
    page: VecDeque<Arc<Host>>,
    /// Everything up to here is told, or is in `missed`.
    place: Place,
    missed: VecDeque<Touched>,
    /// Everything up to here is told. Each host is told once for all its changes, so that there is nothing to resume from
    /// before `missed` is told as a whole.
    told: Place,
    head: latest::Receiver<Place>,
    /// When the next bookmark is due.
    due: Instant,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<WatchHostsResponse, Status>> {
        let item = self.pull().await;
        self.due = Instant::now() + BOOKMARK_INTERVAL;
        item
    }

    async fn pull(&mut self) -> Option<Result<WatchHostsResponse, Status>> {
        loop {
            if let Some(response) = self.snapshot().or_else(|| self.change()) {
                return Some(Ok(response));
            }
            if matches!(self.stage, Stage::Ended) {
                return None;
            }
            // Seen before the log is read, so that no change falls in between.
            self.head.borrow_and_update();
            let Some((touched, head)) = self.index.since(self.place) else {
                self.stage = Stage::Ended;
                let message = "changes were lost because they were not read in time; start again";
                return Some(Err(Reason::SlowConsumer.status(message, [])));
            };
            if !touched.is_empty() && Instant::now() < self.due {
                self.missed = touched.into();
                self.place = head;
            } else if touched.is_empty() && matches!(self.stage, Stage::CatchUp) {
                self.stage = Stage::Live;
                return Some(Ok(marker(Type::Synced, head)));
            } else {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(self.due) => {
                        return Some(Ok(marker(Type::Bookmark, self.place)));
                    }
                    // Fails at the end of the index only, which is held here.
                    _ = self.head.changed() => {}
                }
            }
        }
    }

    /// The next host of the snapshot; `None` at its end.
    fn snapshot(&mut self) -> Option<WatchHostsResponse> {
        while let Stage::Snapshot(after) = &mut self.stage {
            while let Some(host) = self.page.pop_front() {
                if self.filter.admits(&host) {
                    // A snapshot that breaks off begins anew: there is nothing in it to resume from.
                    return Some(told(Type::Added, self.filter.view(&host), String::new()));
                }
            }
            self.page = self.index.page(after.as_ref(), PAGE).into();
            match self.page.back().and_then(|host| host.r#ref.as_ref()) {
                Some(last) => *after = Some(HostKey::new(&last.namespace, &last.name)),
                None => self.stage = Stage::CatchUp,
            }
        }
        None
    }

    /// The next host that changed; `None` when all of them were told.
    fn change(&mut self) -> Option<WatchHostsResponse> {
        while let Some(touched) = self.missed.pop_front() {
            if self.missed.is_empty() {
                self.told = self.place;
            }
            let now = self.index.get(&touched.key);
            let Some(kind) = self.filter.change(&touched, now.as_deref()) else {
                continue;
            };
            // It may have gone after the log was read. Forgotten since then, too: this reader is about to be cut off.
            let host = now.or(touched.last).or_else(|| self.index.last(&touched.key));
            if let Some(host) = host {
                return Some(told(kind, self.filter.view(&host), self.told.to_string()));
            }
        }
        None
    }
}

fn told(kind: Type, host: Host, revision: String) -> WatchHostsResponse {
    WatchHostsResponse {
        r#type: kind.into(),
        host: Some(host),
        revision,
    }
}

fn marker(kind: Type, place: Place) -> WatchHostsResponse {
    WatchHostsResponse {
        r#type: kind.into(),
        host: None,
        revision: place.to_string(),
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
    let (stage, place) = match from {
        None => (Stage::Snapshot(None), newest),
        Some(place) if index.since(place).is_some() => (Stage::CatchUp, place),
        Some(_) => {
            let message = "from_revision is too old, or of another replica; start again without it";
            return Err(Reason::RevisionExpired.status(message, []));
        }
    };
    let reader = Reader {
        index: Arc::clone(index),
        filter: Filter::new(request),
        stage,
        page: VecDeque::new(),
        place,
        missed: VecDeque::new(),
        told: place,
        head,
        due: Instant::now() + BOOKMARK_INTERVAL,
    };
    Ok(stream::unfold(reader, |mut reader| async move {
        reader.next().await.map(|item| (item, reader))
    }))
}
