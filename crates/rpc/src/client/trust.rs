//! Files that are renewed while we run: the CA, our own certificate, the token.

use std::path::{Path, PathBuf};

use http::HeaderMap;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

use super::config::{Config, ConfigError};

/// How each certificate begins.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// How each key begins, whatever its kind.
const KEY: &str = " PRIVATE KEY-----";

/// What the files of a configuration hold.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Pems {
    ca: Option<Vec<u8>>,
    /// Certificate and key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// There is a key in it.
impl std::fmt::Debug for Pems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pems").finish_non_exhaustive()
    }
}

impl Pems {
    /// # Errors
    /// When a file cannot be read or is only half written.
    pub(super) fn read(config: &Config) -> Result<Self, ConfigError> {
        let ca = match &config.ca_file {
            None => None,
            Some(path) => Some(pem(path, CERTIFICATE).map_err(|source| ConfigError::Ca {
                path: path.clone(),
                source,
            })?),
        };
        let own = |path: &PathBuf, begin| {
            pem(path, begin).map_err(|source| ConfigError::Identity {
                path: path.clone(),
                source,
            })
        };
        let identity = match &config.identity {
            None => None,
            Some(files) => Some((own(&files.certificate, CERTIFICATE)?, own(&files.key, KEY)?)),
        };
        Ok(Self { ca, identity })
    }

    /// How to speak TLS; none without a CA.
    pub(super) fn tls(&self, config: &Config, host: &str) -> Option<ClientTlsConfig> {
        let ca = self.ca.as_ref()?;
        let name = config.server_name.as_deref().unwrap_or(host);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca))
            .domain_name(name)
            .timeout(config.patience.connect);
        Some(match &self.identity {
            None => tls,
            Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
        })
    }
}

fn pem(path: &Path, begin: &str) -> std::io::Result<Vec<u8>> {
    let pem = std::fs::read(path)?;
    if pem.windows(begin.len()).any(|window| window == begin.as_bytes()) {
        Ok(pem)
    } else {
        Err(std::io::Error::other(format!("there is no {begin:?} in it")))
    }
}

/// Puts token and trace context on each call.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    pub(super) token_file: Option<PathBuf>,
    pub(super) propagate: fn(&mut HeaderMap),
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
