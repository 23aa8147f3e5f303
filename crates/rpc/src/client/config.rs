//! Where the host service is, how to speak to it, and how long to wait.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use thiserror::Error;

use super::observe::Observer;

/// Where the host service is and how to speak to it.
#[derive(Clone, Debug)]
pub struct Config {
    /// For example `https://baremetal-operator-host-service-headless.capm3-system.svc:8443`. When the name has several
    /// addresses, each is a replica, and calls are spread over them.
    pub address: String,
    /// The name that the server's certificate is made for; none: the host of the address. It differs where a
    /// certificate is for a Service and the address is that of its replicas, or a forwarded port.
    pub server_name: Option<String>,
    /// PEM file of the CA that signed the server's certificate, read for each call, because it is renewed while we run;
    /// none for plain HTTP in tests.
    pub ca_file: Option<PathBuf>,
    /// A certificate of our own, if the server asks for one; read for each call, too.
    pub identity: Option<IdentityFiles>,
    /// File with the ServiceAccount token; read for each call, because kubelet rotates it.
    pub token_file: Option<PathBuf>,
    /// Adds trace context to outgoing headers.
    pub propagate: fn(&mut HeaderMap),
    /// How long to wait for what.
    pub patience: Patience,
    /// Told what happens.
    pub observer: Arc<dyn Observer>,
}

impl Config {
    /// Without TLS, token, tracing and observer.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            server_name: None,
            ca_file: None,
            identity: None,
            token_file: None,
            propagate: |_| (),
            patience: Patience::default(),
            observer: Arc::new(()),
        }
    }
}

/// A certificate and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate, with those that lead to its CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Upper bound of one call, retries included. A first attempt without an answer is repeated after a third of it.
    pub call: Duration,
    /// Upper bound of connecting, TLS included.
    pub connect: Duration,
    /// After so long without a word the other side is asked whether it is there.
    pub keepalive: Duration,
    /// How long its answer may take: a dead connection is noticed within both together.
    pub keepalive_answer: Duration,
    /// How old the addresses of a name may be. A replica that fails makes them old at once.
    pub resolve: Duration,
    /// After so long without a message a stream is given up.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(20),
            connect: Duration::from_secs(5),
            keepalive: Duration::from_secs(10),
            keepalive_answer: Duration::from_secs(5),
            resolve: Duration::from_secs(10),
            // Three times the interval of bookmarks.
            silence: Duration::from_secs(90),
        }
    }
}

/// The configuration of a client is not usable.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not a URL.
    #[error("host service address {address:?} is not a URL like https://host:port")]
    Address {
        /// As configured.
        address: String,
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
    /// Unreadable certificate or key of our own.
    #[error("cannot read the client certificate for the host service from {}", path.display())]
    Identity {
        /// As configured.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The files do not fit together, or there is a name that no certificate can have.
    #[error("TLS to the host service cannot be set up")]
    Tls {
        /// Cause.
        #[source]
        source: tonic::transport::Error,
    },
}
