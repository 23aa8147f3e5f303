//! The client of the host service: TLS, token, deadlines, keepalive and the one place that retries.
//!
//! Every call of the contract is idempotent, so a call that failed with `UNAVAILABLE` is repeated, at most three times
//! within its deadline. All other failures go to the caller.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use http::HeaderMap;
use thiserror::Error;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::{Interceptor, interceptor::InterceptedService};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::v1;
use crate::v1::host_service_client::HostServiceClient;

/// Upper bound of one unary call, retries included.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// A dead connection is noticed within interval + timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How each certificate begins.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Where the host service is and how to speak to it.
#[derive(Clone, Debug)]
pub struct Config {
    /// For example `https://baremetal-operator-host-service.capm3-system.svc:8443`.
    pub address: String,
    /// PEM file of the CA that signed the server's certificate, read for each call, because it is renewed while we run;
    /// none for plain HTTP in tests.
    pub ca_file: Option<PathBuf>,
    /// File with the ServiceAccount token; read for each call, because kubelet rotates it.
    pub token_file: Option<PathBuf>,
    /// Adds trace context to outgoing headers.
    pub propagate: fn(&mut HeaderMap),
}

/// The configuration of a client is not usable.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not a URL.
    #[error("host service address {address:?} is not a valid URL")]
    Address {
        /// As configured.
        address: String,
        /// Cause.
        #[source]
        source: tonic::transport::Error,
    },
    /// Unreadable CA.
    #[error("cannot read the CA of the host service from {}", path.display())]
    Ca {
        /// As configured.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

#[derive(Clone, Debug)]
struct Headers {
    token_file: Option<PathBuf>,
    propagate: fn(&mut HeaderMap),
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        (self.propagate)(&mut headers);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        if let Some(path) = &self.token_file {
            let token = std::fs::read_to_string(path).map_err(|error| {
                Status::unauthenticated(format!("cannot read the token file {}: {error}", path.display()))
            })?;
            let mut value: MetadataValue<_> = format!("Bearer {}", token.trim())
                .parse()
                .map_err(|_| Status::unauthenticated(format!("{} holds no token", path.display())))?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

type Inner = HostServiceClient<InterceptedService<Channel, Headers>>;

/// A cheap handle; clones share one connection, which is made on first use and again after it broke or the CA changed.
#[derive(Clone, Debug)]
pub struct HostClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    config: Config,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// What the connection trusts.
    ca: Option<Vec<u8>>,
    client: Inner,
    /// The last look found a file that cannot be used.
    unusable: bool,
}

impl HostClient {
    /// Prepares a client; nothing is sent before the first call.
    ///
    /// # Errors
    /// When the address is not a URL or the CA file cannot be read.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let endpoint = Endpoint::from_shared(config.address.clone())
            .map_err(|source| ConfigError::Address {
                address: config.address.clone(),
                source,
            })?
            .connect_timeout(Duration::from_secs(5))
            .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let ca = read(config)?;
        let current = Mutex::new(Current {
            client: connect(&endpoint, config, ca.as_deref())?,
            ca,
            unusable: false,
        });
        let shared = Shared {
            endpoint,
            config: config.clone(),
            current,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// A client that trusts what the CA file holds now. Calls and streams that go on keep the connection they have.
    fn current(&self) -> Inner {
        let Shared {
            endpoint,
            config,
            current,
        } = &*self.shared;
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = read(config).and_then(|ca| {
            if ca == current.ca {
                return Ok(None);
            }
            let client = connect(endpoint, config, ca.as_deref())?;
            Ok(Some((ca, client)))
        });
        match connected {
            Ok(None) => current.unusable = false,
            Ok(Some((ca, client))) => {
                tracing::info!(address = config.address, "the ca of the host service changed");
                *current = Current {
                    ca,
                    client,
                    unusable: false,
                };
            }
            // Half-written: a later call finds the rest. What was trusted goes on being trusted.
            Err(error) => {
                if !std::mem::replace(&mut current.unusable, true) {
                    tracing::warn!(
                        cause = std::error::Error::source(&error).map(ToString::to_string),
                        "{error}; the one before stays in use"
                    );
                }
            }
        }
        current.client.clone()
    }

    /// [`v1::host_service_client::HostServiceClient::get_host`].
    ///
    /// # Errors
    /// See the call in the contract.
    pub async fn get_host(&self, request: v1::GetHostRequest) -> Result<v1::GetHostResponse, Status> {
        unary(request, |r| {
            let mut client = self.current();
            async move { client.get_host(r).await }
        })
        .await
    }

    /// [`v1::host_service_client::HostServiceClient::list_hosts`].
    ///
    /// # Errors
    /// See the call in the contract.
    pub async fn list_hosts(&self, request: v1::ListHostsRequest) -> Result<v1::ListHostsResponse, Status> {
        unary(request, |r| {
            let mut client = self.current();
            async move { client.list_hosts(r).await }
        })
        .await
    }

    /// [`v1::host_service_client::HostServiceClient::get_inventory`].
    ///
    /// # Errors
    /// See the call in the contract.
    pub async fn get_inventory(
        &self,
        request: v1::GetInventoryRequest,
    ) -> Result<v1::GetInventoryResponse, Status> {
        unary(request, |r| {
            let mut client = self.current();
            async move { client.get_inventory(r).await }
        })
        .await
    }

    /// [`v1::host_service_client::HostServiceClient::claim_host`].
    ///
    /// # Errors
    /// See the call in the contract.
    pub async fn claim_host(&self, request: v1::ClaimHostRequest) -> Result<v1::ClaimHostResponse, Status> {
        unary(request, |r| {
            let mut client = self.current();
            async move { client.claim_host(r).await }
        })
        .await
    }

    /// [`v1::host_service_client::HostServiceClient::provision_host`].
    ///
    /// # Errors
    /// See the call in the contract.
    pub async fn provision_host(
        &self,
        request: v1::ProvisionHostRequest,
    ) -> Result<v1::ProvisionHostResponse, Status> {
        unary(request, |r| {
            let mut client = self.current();
            async move { client.provision_host(r).await }
        })
        .await
    }

    /// [`v1::host_service_client::HostServiceClient::release_host`].
    ///
    /// # Errors
    /// See the call in the contract.
    pub async fn release_host(
        &self,
        request: v1::ReleaseHostRequest,
    ) -> Result<v1::ReleaseHostResponse, Status> {
        unary(request, |r| {
            let mut client = self.current();
            async move { client.release_host(r).await }
        })
        .await
    }

    /// Opens the stream once; the caller opens it again when it ends.
    ///
    /// # Errors
    /// See the call in the contract.
    pub async fn watch_hosts(
        &self,
        request: v1::WatchHostsRequest,
    ) -> Result<Streaming<v1::WatchHostsResponse>, Status> {
        Ok(self.current().watch_hosts(request).await?.into_inner())
    }
}

/// The CA, if there is one to trust.
fn read(config: &Config) -> Result<Option<Vec<u8>>, ConfigError> {
    let Some(path) = &config.ca_file else {
        return Ok(None);
    };
    let unusable = |source| ConfigError::Ca {
        path: path.clone(),
        source,
    };
    let pem = std::fs::read(path).map_err(unusable)?;
    if !pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
        return Err(unusable(std::io::Error::other("it holds no certificate in PEM")));
    }
    Ok(Some(pem))
}

fn connect(endpoint: &Endpoint, config: &Config, ca: Option<&[u8]>) -> Result<Inner, ConfigError> {
    let mut endpoint = endpoint.clone();
    if let (Some(pem), Some(path)) = (ca, &config.ca_file) {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint = endpoint.tls_config(tls).map_err(|error| ConfigError::Ca {
            path: path.clone(),
            source: std::io::Error::other(error),
        })?;
    }
    let headers = Headers {
        token_file: config.token_file.clone(),
        propagate: config.propagate,
    };
    Ok(HostServiceClient::with_interceptor(
        endpoint.connect_lazy(),
        headers,
    ))
}

async fn unary<Req, Res, F, Fut>(request: Req, call: F) -> Result<Res, Status>
where
    Req: Clone,
    F: Fn(Request<Req>) -> Fut,
    Fut: Future<Output = Result<tonic::Response<Res>, Status>>,
{
    let attempt = || {
        let mut request = Request::new(request.clone());
        request.set_timeout(CALL_DEADLINE);
        call(request)
    };
    let policy = ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(2);
    let retried = attempt
        .retry(policy)
        .when(|status| status.code() == Code::Unavailable);
    match tokio::time::timeout(CALL_DEADLINE, retried).await {
        Ok(result) => result.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "the host service did not answer within {} s",
            CALL_DEADLINE.as_secs()
        ))),
    }
}
