//! Keeps the stream of hosts open: resumes it where it broke, and says when it cannot be opened.

use std::time::Duration;

use metal3_kit::backoff::Backoff;
use metal3_rpc::client::HostClient;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::{WatchHostsRequest, WatchHostsResponse};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::link::Link;
use super::track::{Tracker, Wake};
use super::translate;
use crate::wake::Wakes;

const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// Three times the interval of bookmarks: the server, or something between, is dead.
const SILENCE: Duration = Duration::from_secs(90);
/// Machines wait for us, so we look more often than anybody who waits for hardware.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Follows all hosts until shutdown; being disconnected is never the end.
pub(crate) async fn follow(
    client: HostClient,
    namespace: String,
    link: Link,
    wakes: Wakes,
    shutdown: CancellationToken,
) {
    let mut stream = Follower {
        client,
        namespace,
        link,
        wakes,
        tracker: Tracker::default(),
        backoff: Backoff::default(),
    };
    loop {
        let delay = tokio::select! {
            delay = stream.connection() => delay,
            () = shutdown.cancelled() => return,
        };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

struct Follower {
    client: HostClient,
    namespace: String,
    link: Link,
    wakes: Wakes,
    tracker: Tracker,
    backoff: Backoff<()>,
}

impl Follower {
    /// One connection from its beginning to its end; the delay before the next one.
    async fn connection(&mut self) -> Duration {
        let status = match self.open().await {
            Ok(stream) => {
                let status = self.read(stream).await;
                self.link.broken();
                status
            }
            Err(status) => {
                // Only an unreachable server speaks for all calls; a missing permission on this one does not.
                if matches!(
                    status.code(),
                    Code::Unavailable | Code::DeadlineExceeded | Code::Unknown
                ) {
                    self.link.unreachable(translate::describe(&status));
                } else {
                    self.link.broken();
                }
                status
            }
        };
        let delay = self.backoff.next((), rand::random()).min(LONGEST_DELAY);
        match Reason::of(&status) {
            Some(Reason::RevisionExpired | Reason::SlowConsumer | Reason::InvalidField) => {
                tracing::info!(error = %status.message(), "hosts are read from the beginning");
                self.tracker.start_over();
            }
            _ => tracing::warn!(
                code = ?status.code(), error = translate::describe(&status), ?delay,
                "the stream of hosts ended; it starts again"
            ),
        }
        delay
    }

    async fn open(&mut self) -> Result<Streaming<WatchHostsResponse>, Status> {
        let request = WatchHostsRequest {
            namespaces: Some(self.namespace.clone())
                .filter(|namespace| !namespace.is_empty())
                .into_iter()
                .collect(),
            consumer_kind: "Metal3Machine".into(),
            // We decide nothing by labels of hosts, and they may be many.
            label_prefixes: vec!["infrastructure.cluster.x-k8s.io/".into()],
            from_revision: self.tracker.connect(),
        };
        tokio::time::timeout(OPEN_DEADLINE, self.client.watch_hosts(request))
            .await
            .unwrap_or_else(|_| {
                Err(Status::deadline_exceeded(format!(
                    "no answer within {} s",
                    OPEN_DEADLINE.as_secs()
                )))
            })
    }

    async fn read(&mut self, mut stream: Streaming<WatchHostsResponse>) -> Status {
        loop {
            match tokio::time::timeout(SILENCE, stream.message()).await {
                Ok(Ok(Some(message))) => {
                    for wake in self.tracker.take(message) {
                        self.wake(wake);
                    }
                }
                Ok(Ok(None)) => return Status::unavailable("the server closed the stream"),
                Ok(Err(status)) => return status,
                Err(_) => return Status::unavailable(format!("silent for {} s", SILENCE.as_secs())),
            }
        }
    }

    fn wake(&self, wake: Wake) {
        match wake {
            Wake::Machine(key) => self.wakes.machine(key),
            Wake::Freed(namespace) => self.wakes.host_freed(&namespace),
            Wake::Synced => {
                self.backoff.forget(&());
                if self.link.up() {
                    tracing::info!("hosts are followed");
                }
                self.wakes.service_back();
            }
        }
    }
}
