//! The client of the host service.
//!
//! * `config.rs` where the service is and how long to wait; `trust.rs` the files that are renewed meanwhile
//! * `resolve.rs` the addresses of a name, `replicas.rs` which of them gets the next call, `pool.rs` connections to them
//! * `retry.rs` the one place that retries, and its budget
//! * `calls.rs` each call of the contract; `stream.rs` the stream of hosts, opened once; [`crate::watch`] keeps it open
//! * `observe.rs` what is told to metrics
//!
//! Nothing runs in the background: connections are made, names resolved and files read when a call needs it.

mod calls;
mod config;
mod observe;
mod pool;
mod replicas;
mod resolve;
mod retry;
mod stream;
mod trust;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument as _, field};

pub use config::{Config, ConfigError, IdentityFiles, Patience};
pub use observe::Observer;
pub use resolve::{Dns, Resolve};
pub use stream::HostStream;

use pool::{Inner, Picked, Pool};
use retry::{Attempts, Budget};

use crate::v1::host_service_server::SERVICE_NAME;

/// A cheap handle; clones share connections, which are made on first use and again after they broke.
#[derive(Clone, Debug)]
pub struct HostClient {
    pool: Arc<Pool>,
    budget: Arc<Mutex<Budget>>,
}

impl HostClient {
    /// Prepares a client; nothing is sent before the first call.
    ///
    /// # Errors
    /// When the address is not a URL or a file cannot be read.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Self::with_resolver(config, Arc::new(Dns))
    }

    /// As [`Self::new`], for those who find replicas in another way than by DNS.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_resolver(config: &Config, resolver: Arc<dyn Resolve>) -> Result<Self, ConfigError> {
        Ok(Self {
            pool: Arc::new(Pool::new(config, resolver)?),
            budget: Arc::new(Mutex::new(Budget::new(Instant::now()))),
        })
    }

    /// How long it waits for what.
    pub(crate) fn patience(&self) -> Patience {
        self.pool.config().patience
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.pool.config().observer
    }

    /// One call with its retries.
    async fn unary<Req, Res, F, Fut>(
        &self,
        method: &'static str,
        request: Req,
        send: F,
    ) -> Result<Res, Status>
    where
        Req: Clone,
        F: Fn(Inner, Request<Req>) -> Fut,
        Fut: Future<Output = Result<Response<Res>, Status>>,
    {
        let span = tracing::info_span!(
            "call",
            otel.name = format!("{SERVICE_NAME}/{method}"),
            otel.kind = "client",
            otel.status_code = field::Empty,
            rpc.system = "grpc",
            rpc.service = SERVICE_NAME,
            rpc.method = method,
            rpc.grpc.status_code = field::Empty,
            network.peer.address = field::Empty,
            network.peer.port = field::Empty,
        );
        let result = Box::pin(self.attempts(method, request, send))
            .instrument(span.clone())
            .await;
        let code = result.as_ref().err().map_or(Code::Ok, Status::code);
        span.record("rpc.grpc.status_code", i32::from(code));
        if code != Code::Ok {
            span.record("otel.status_code", "ERROR");
        }
        result
    }

    async fn attempts<Req, Res, F, Fut>(
        &self,
        method: &'static str,
        request: Req,
        send: F,
    ) -> Result<Res, Status>
    where
        Req: Clone,
        F: Fn(Inner, Request<Req>) -> Fut,
        Fut: Future<Output = Result<Response<Res>, Status>>,
    {
        let (config, began) = (self.pool.config(), Instant::now());
        let mut attempts = Attempts::new(began, config.patience.call);
        self.spare(|budget| budget.earn(began));
        let result = loop {
            let status = match self.attempt(method, &mut attempts, request.clone(), &send).await {
                Ok(response) => break Ok(response),
                Err(status) => status,
            };
            let again = self.spare(|budget| attempts.again(&status, Instant::now(), budget));
            let Some((delay, cause)) = again else {
                break Err(settle(status, method, config.patience.call));
            };
            tracing::debug!(
                method,
                cause = cause.label(),
                ?delay,
                error = describe(&status),
                "the call is made again"
            );
            config.observer.retried(method, cause.label());
            tokio::time::sleep(delay).await;
        };
        let code = result.as_ref().err().map_or(Code::Ok, Status::code);
        config.observer.called(method, code, began.elapsed());
        result
    }

    async fn attempt<Req, Res, F, Fut>(
        &self,
        method: &'static str,
        attempts: &mut Attempts,
        request: Req,
        send: &F,
    ) -> Result<Res, Status>
    where
        F: Fn(Inner, Request<Req>) -> Fut,
        Fut: Future<Output = Result<Response<Res>, Status>>,
    {
        let picked: Picked = self.pool.pick().await?;
        let span = tracing::Span::current();
        span.record("network.peer.address", field::display(picked.address.ip()));
        span.record("network.peer.port", picked.address.port());
        let mut request = Request::new(request);
        // The server stops when nobody waits any more.
        request.set_timeout(attempts.deadline().saturating_duration_since(Instant::now()));
        let mut answer = Box::pin(send(picked.client.clone(), request));
        let mut sent = tokio::time::timeout_at(attempts.limit(), &mut answer).await;
        if sent.is_err() && !self.spare(|budget| attempts.gives_up(Instant::now(), budget)) {
            sent = tokio::time::timeout_at(attempts.deadline(), answer).await;
        }
        let result = sent.unwrap_or_else(|_| Err(retry::silence(method)));
        picked.judge(result.as_ref().err());
        result.map(Response::into_inner)
    }

    fn spare<T>(&self, act: impl FnOnce(&mut Budget) -> T) -> T {
        act(&mut self.budget.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the caller is told in the end: the words of the transport and its codes say little.
fn settle(status: Status, method: &str, within: std::time::Duration) -> Status {
    match retry::Cause::of(&status) {
        Some(retry::Cause::Silent) => {
            Status::deadline_exceeded(format!("{method} was not answered within {} s", within.as_secs()))
        }
        Some(retry::Cause::Unreachable) => Status::unavailable(describe(&status)),
        _ => status,
    }
}

/// A failure with its causes: the transport tells only there that the connection was refused.
pub fn describe(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
