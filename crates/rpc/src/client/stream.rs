//! The stream of hosts, opened once.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::pool::Pool;
use super::{HostClient, describe, retry};
use crate::v1::{WatchHostsRequest, WatchHostsResponse};

const METHOD: &str = "WatchHosts";

/// An open stream. A replica that lets it down is avoided by what comes next.
#[derive(Debug)]
pub struct HostStream {
    messages: Streaming<WatchHostsResponse>,
    address: SocketAddr,
    pool: Arc<Pool>,
}

impl HostClient {
    /// Opens the stream once; [`crate::watch::HostWatch`] opens it again whenever it ends.
    ///
    /// # Errors
    /// A status of the service, or `UNAVAILABLE` when it cannot be reached.
    pub async fn watch_hosts(&self, request: WatchHostsRequest) -> Result<HostStream, Status> {
        let (config, began) = (self.pool.config(), Instant::now());
        // As for the first attempt of a call: somebody else may answer.
        let limit = retry::Attempts::new(began, config.patience.call).limit();
        let result = self.open(request, limit).await;
        let code = result.as_ref().err().map_or(Code::Ok, Status::code);
        config.observer.called(METHOD, code, began.elapsed());
        result
    }

    async fn open(&self, request: WatchHostsRequest, limit: Instant) -> Result<HostStream, Status> {
        let mut picked = self.pool.pick().await?;
        let sent = tokio::time::timeout_at(limit, picked.client.watch_hosts(request)).await;
        let result = sent.unwrap_or_else(|_| Err(retry::silence(METHOD)));
        picked.judge(result.as_ref().err());
        let messages = result.map_err(unreachable)?.into_inner();
        Ok(HostStream {
            messages,
            address: picked.address,
            pool: picked.pool(),
        })
    }
}

impl HostStream {
    /// The next message; `None` when the server ended the stream, as it does when it stops.
    ///
    /// # Errors
    /// When the server cut it off or the connection broke; it is not to be asked again.
    pub async fn message(&mut self) -> Result<Option<WatchHostsResponse>, Status> {
        self.messages.message().await.map_err(|status| {
            if retry::Cause::of(&status).is_some() {
                self.pool.judge(self.address, Some(&status));
            }
            unreachable(status)
        })
    }

    /// Nothing came for too long, though the connection lives.
    pub(crate) fn silent(&self) -> Status {
        self.pool.judge(self.address, Some(&retry::silence(METHOD)));
        Status::unavailable(format!(
            "no message for {} s",
            self.pool.config().patience.silence.as_secs()
        ))
    }
}

/// Whatever code the transport gave it.
fn unreachable(status: Status) -> Status {
    match retry::Cause::of(&status) {
        Some(retry::Cause::Unreachable | retry::Cause::Silent) => Status::unavailable(describe(&status)),
        _ => status,
    }
}
