//! A local view of the hosts, kept up by `WatchHosts`: being disconnected is never the end.
//!
//! `view.rs` is what was told so far, and resumes where the stream broke; here the stream is kept open.

mod view;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::client::{HostClient, HostStream};
use crate::identity::HostKey;
use crate::reason::Reason;
use crate::v1::{Host, WatchHostsRequest};

pub use view::News;
use view::View;

/// Somebody waits for what the stream tells, so we look more often than anybody who waits for hardware.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
const SHORTEST_DELAY: Duration = Duration::from_millis(100);
/// A stream that lasted so long was no failure, and the delays begin anew.
const LASTING: Duration = Duration::from_secs(10);

/// What happened.
#[derive(Debug)]
pub enum Event<T> {
    /// The server told something.
    News(News<T>),
    /// The stream ended or could not be opened. It is opened again by the next call of [`HostWatch::next`].
    Lost(Lost),
}

/// Why there is no stream.
#[derive(Debug)]
pub struct Lost {
    /// What the server or the transport said.
    pub status: Status,
    /// There was a stream; otherwise it could not be opened.
    pub was_open: bool,
    /// Until it is opened again.
    pub again: Duration,
}

impl Lost {
    /// No server answers, which is true for other calls as well. A missing permission on this one is not.
    pub fn unreachable(&self) -> bool {
        !self.was_open && matches!(self.status.code(), Code::Unavailable | Code::DeadlineExceeded)
    }
}

/// Follows hosts. `T` is what is kept of each.
pub struct HostWatch<T> {
    client: HostClient,
    request: WatchHostsRequest,
    keep: fn(Host) -> Option<T>,
    view: View<T>,
    queue: VecDeque<News<T>>,
    stream: Stream,
    delays: ExponentialBackoff,
}

enum Stream {
    /// To be opened then.
    Closed(Instant),
    Open {
        stream: Box<HostStream>,
        since: Instant,
    },
}

impl<T> fmt::Debug for HostWatch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostWatch")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl<T: PartialEq> HostWatch<T> {
    /// Hosts as the request chooses them; its revision does not matter. `keep` says what is kept of a host, and `None`
    /// for one that does not matter.
    pub fn new(client: HostClient, request: WatchHostsRequest, keep: fn(Host) -> Option<T>) -> Self {
        Self {
            client,
            request,
            keep,
            view: View::default(),
            queue: VecDeque::new(),
            stream: Stream::Closed(Instant::now()),
            delays: delays(),
        }
    }

    /// The hosts as last seen.
    pub const fn hosts(&self) -> &HashMap<HostKey, Arc<T>> {
        self.view.hosts()
    }

    /// The next thing that happens; there is always one more. It may be dropped and called again.
    pub async fn next(&mut self) -> Event<T> {
        loop {
            if let Some(news) = self.queue.pop_front() {
                return Event::News(news);
            }
            let lost = match &mut self.stream {
                Stream::Closed(until) => {
                    tokio::time::sleep_until(*until).await;
                    self.open().await.err()
                }
                Stream::Open { stream, since } => {
                    match tokio::time::timeout(self.client.patience().silence, stream.message()).await {
                        Ok(Ok(Some(message))) => {
                            self.queue.extend(self.view.take(message, self.keep));
                            None
                        }
                        ended => {
                            let status = match ended {
                                Ok(Err(status)) => status,
                                Ok(Ok(_)) => Status::unavailable("the server closed the stream"),
                                Err(_) => stream.silent(),
                            };
                            if since.elapsed() >= LASTING {
                                self.delays = delays();
                            }
                            Some(status)
                        }
                    }
                }
            };
            if let Some(status) = lost {
                return Event::Lost(self.lost(status));
            }
        }
    }

    async fn open(&mut self) -> Result<(), Status> {
        let request = WatchHostsRequest {
            from_revision: self.view.connect(),
            ..self.request.clone()
        };
        let stream = Box::new(self.client.watch_hosts(request).await?);
        self.stream = Stream::Open {
            stream,
            since: Instant::now(),
        };
        Ok(())
    }

    fn lost(&mut self, status: Status) -> Lost {
        let again = self.delays.next().unwrap_or(LONGEST_DELAY);
        let closed = Stream::Closed(Instant::now() + again);
        let was_open = matches!(std::mem::replace(&mut self.stream, closed), Stream::Open { .. });
        if let Some(Reason::RevisionExpired | Reason::SlowConsumer | Reason::InvalidField) =
            Reason::of(&status)
        {
            self.view.start_over();
        }
        self.client.observer().stream_lost(status.code());
        Lost {
            status,
            was_open,
            again,
        }
    }
}

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(SHORTEST_DELAY)
        // Jitter adds up to as much again.
        .with_max_delay(LONGEST_DELAY / 2)
        .without_max_times()
        .build()
}
