//! From a name to the addresses of replicas.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};

use futures::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;

use super::config::ConfigError;

/// Finds the addresses of a name.
pub trait Resolve: Debug + Send + Sync + 'static {
    /// The addresses; each is taken for a replica of its own.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The resolver of the system: the cluster's DNS in a pod.
#[derive(Clone, Copy, Debug)]
pub struct Dns;

impl Resolve for Dns {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// The parts of the configured address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) scheme: Scheme,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Target {
    /// # Errors
    /// When it is not a URL with scheme and host.
    pub(super) fn parse(address: &str) -> Result<Self, ConfigError> {
        let parts = || {
            let uri: Uri = address.parse().ok()?;
            let scheme = uri.scheme().cloned()?;
            let port = match (uri.port_u16(), scheme.as_str()) {
                (Some(port), "http" | "https") => port,
                (None, "https") => 443,
                (None, "http") => 80,
                _ => return None,
            };
            let host = uri
                .host()?
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            (!host.is_empty()).then_some(Self {
                uri,
                scheme,
                host,
                port,
            })
        };
        parts().ok_or_else(|| ConfigError::Address {
            address: address.to_owned(),
        })
    }

    /// The address itself, when there is no name to resolve.
    pub(super) fn literal(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_with_a_host() {
        let parsed = |text: &str| {
            let target = Target::parse(text).unwrap();
            (target.host.clone(), target.port, target.literal().is_some())
        };
        assert_eq!(
            parsed("https://bmo.ns.svc:8443"),
            ("bmo.ns.svc".into(), 8443, false)
        );
        assert_eq!(parsed("https://bmo"), ("bmo".into(), 443, false));
        assert_eq!(parsed("http://127.0.0.1/"), ("127.0.0.1".into(), 80, true));
        assert_eq!(parsed("https://[::1]:1"), ("::1".into(), 1, true));
        for wrong in ["", "bmo:8443", "ftp://bmo:1", "https://", "/x", "https://a b"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }
}
