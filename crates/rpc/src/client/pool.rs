//! The replicas of the service and the connections to them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tower::{Service, service_fn};

use super::config::{Config, ConfigError};
use super::replicas::Replicas;
use super::resolve::{Resolve, Target};
use super::retry::Cause;
use super::trust::{Headers, Pems};
use crate::v1::host_service_client::HostServiceClient;

/// The generated client of one connection.
pub(super) type Inner = HostServiceClient<InterceptedService<Channel, Headers>>;

/// A page of a thousand hosts with long conditions; the default of 4 MiB is near it.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
/// A name whose addresses are known is not waited for longer, but tried again.
const RENEWAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Pool {
    config: Config,
    target: Target,
    resolver: Arc<dyn Resolve>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    replicas: Replicas<Inner>,
    pems: Pems,
    /// What connections are made from.
    endpoint: Endpoint,
    /// The last look found a file that cannot be used.
    unusable: bool,
    /// When names are to be resolved again.
    stale: Instant,
}

/// A replica for one call; the call is over when it is dropped.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) address: SocketAddr,
    pub(super) client: Inner,
    pool: Arc<Pool>,
}

impl Pool {
    /// # Errors
    /// When the configuration is not usable.
    pub(super) fn new(config: &Config, resolver: Arc<dyn Resolve>) -> Result<Self, ConfigError> {
        let target = Target::parse(&config.address)?;
        let pems = Pems::read(config)?;
        let state = State {
            replicas: Replicas::default(),
            endpoint: endpoint(config, &target, &pems)?,
            pems,
            unusable: false,
            stale: Instant::now(),
        };
        Ok(Self {
            config: config.clone(),
            target,
            resolver,
            state: Mutex::new(state),
        })
    }

    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// The replica for the next attempt, over a connection that trusts what the CA file holds now. Calls and streams that
    /// go on keep the connection they have.
    ///
    /// # Errors
    /// When the name has no address.
    pub(super) async fn pick(self: &Arc<Self>) -> Result<Picked, Status> {
        self.trust();
        self.find().await?;
        let picked = self.lock().replicas.pick(Instant::now());
        let (address, client) = picked.ok_or_else(|| self.nowhere("it has no address"))?;
        Ok(Picked {
            address,
            client,
            pool: Arc::clone(self),
        })
    }

    /// Reads the files again and makes new connections when they changed.
    fn trust(&self) {
        let read = Pems::read(&self.config);
        let mut state = self.lock();
        let changed = read.and_then(|pems| {
            if pems == state.pems {
                return Ok(None);
            }
            Ok(Some((endpoint(&self.config, &self.target, &pems)?, pems)))
        });
        match changed {
            Ok(None) => state.unusable = false,
            Ok(Some((endpoint, pems))) => {
                tracing::info!(
                    address = self.config.address,
                    "the ca of the host service, or our certificate for it, changed"
                );
                (state.endpoint, state.pems, state.unusable) = (endpoint, pems, false);
                let State {
                    replicas, endpoint, ..
                } = &mut *state;
                replicas.renew_all(|address| self.way(endpoint, address));
            }
            // Half-written: a later call finds the rest. What was trusted goes on being trusted.
            Err(error) => {
                if !std::mem::replace(&mut state.unusable, true) {
                    tracing::warn!(
                        cause = std::error::Error::source(&error).map(ToString::to_string),
                        "{error}; the one before stays in use"
                    );
                }
            }
        }
    }

    /// Resolves the name if that is due. Only one call does; the others go on with what is known, if anything is.
    async fn find(&self) -> Result<(), Status> {
        let (due, unknown) = {
            let mut state = self.lock();
            let (now, unknown) = (Instant::now(), state.replicas.is_empty());
            let due = unknown || state.stale <= now;
            if due {
                state.stale = now + self.config.patience.resolve;
            }
            (due, unknown)
        };
        if !due {
            return Ok(());
        }
        if let Some(address) = self.target.literal() {
            self.replace(&[address]);
            return Ok(());
        }
        let patience = if unknown {
            self.config.patience.connect
        } else {
            RENEWAL
        };
        let cause = match timeout(
            patience,
            self.resolver.resolve(&self.target.host, self.target.port),
        )
        .await
        {
            Ok(Ok(addresses)) if !addresses.is_empty() => {
                self.replace(&addresses);
                return Ok(());
            }
            Ok(Ok(_)) => "it has no address".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", patience.as_secs()),
        };
        tracing::debug!(
            host = self.target.host,
            cause,
            "the name of the host service is not resolved"
        );
        if unknown {
            Err(self.nowhere(&cause))
        } else {
            Ok(())
        }
    }

    fn nowhere(&self, cause: &str) -> Status {
        Status::unavailable(format!(
            "the name {} cannot be resolved: {cause}",
            self.target.host
        ))
    }

    fn replace(&self, addresses: &[SocketAddr]) {
        let mut state = self.lock();
        let State {
            replicas, endpoint, ..
        } = &mut *state;
        replicas.replace(addresses, |address| self.way(endpoint, address));
        self.count(&state);
    }

    /// What came of an attempt.
    pub(super) fn judge(&self, address: SocketAddr, failed: Option<&Status>) {
        let cause = failed.and_then(Cause::of);
        let mut state = self.lock();
        let now = Instant::now();
        let State {
            replicas,
            endpoint,
            stale,
            ..
        } = &mut *state;
        match cause {
            Some(Cause::Unreachable | Cause::Silent) => {
                replicas.ill(address, now);
                // It may have moved. Once in a second is enough to see that.
                *stale = (*stale).min(now + RENEWAL.min(self.config.patience.resolve));
                if cause == Some(Cause::Silent) {
                    // Nothing may ever come over this connection again; keepalive tells those that still use it.
                    replicas.renew(address, |address| self.way(endpoint, address));
                }
            }
            // Others may have read all hosts.
            Some(Cause::Unavailable) => replicas.ill(address, now),
            Some(Cause::Conflict | Cause::Busy) | None => replicas.well(address),
        }
        self.count(&state);
    }

    fn count(&self, state: &State) {
        let (known, usable) = state.replicas.count();
        self.config.observer.replicas(known, usable);
    }

    /// A connection, which is made on first use and again after it broke.
    fn way(&self, endpoint: &Endpoint, address: SocketAddr) -> Inner {
        let headers = Headers {
            token_file: self.config.token_file.clone(),
            propagate: self.config.propagate,
        };
        let channel = endpoint.connect_with_connector_lazy(connector(address));
        HostServiceClient::with_interceptor(channel, headers).max_decoding_message_size(LARGEST_ANSWER)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Picked {
    /// What came of the attempt.
    pub(super) fn judge(&self, failed: Option<&Status>) {
        self.pool.judge(self.address, failed);
    }

    pub(super) fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool)
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.pool.lock().replicas.end(self.address);
    }
}

/// What all connections have in common.
fn endpoint(config: &Config, target: &Target, pems: &Pems) -> Result<Endpoint, ConfigError> {
    let patience = config.patience;
    let endpoint = Endpoint::from(target.uri.clone())
        .connect_timeout(patience.connect)
        .http2_keep_alive_interval(patience.keepalive)
        .keep_alive_timeout(patience.keepalive_answer)
        .keep_alive_while_idle(true);
    match pems.tls(config, &target.host) {
        None => Ok(endpoint),
        Some(tls) => endpoint
            .tls_config(tls)
            .map_err(|source| ConfigError::Tls { source }),
    }
}

/// Connects to this address, whatever the name in the URL.
fn connector(
    address: SocketAddr,
) -> impl Service<Uri, Response = TokioIo<TcpStream>, Error = std::io::Error, Future: Send> + Send + 'static {
    service_fn(move |_: Uri| async move {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    })
}
