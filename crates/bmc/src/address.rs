//! The address as users write it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use crate::Driver;

/// A parsed BMC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bmc {
    /// The scheme as it appears in messages, with transport, in lower case.
    pub scheme: String,
    /// Facts of the scheme.
    pub driver: &'static Driver,
    /// `http` or `https`.
    pub transport: &'static str,
    /// Host name or address, brackets kept.
    pub host: String,
    /// Port, if given.
    pub port: Option<String>,
    /// Path as written.
    pub path: String,
    /// Query `privilegelevel`.
    pub privilege_level: Option<String>,
}

/// The address cannot be used; upstream's words where it has them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// Nothing is given.
    #[error("missing BMC address")]
    Empty,
    /// No driver for the scheme.
    #[error(
        "Unknown BMC type '{scheme}' for address {address}; known are {}",
        Driver::known()
    )]
    UnknownScheme {
        /// As written, in lower case.
        scheme: String,
        /// The whole address, without user and password.
        address: String,
    },
    /// Not a host name or IP address.
    #[error("failed to parse BMC address information: BMC address hostname/IP : [{host}] is invalid")]
    Host {
        /// As written.
        host: String,
    },
    /// Not a URL.
    #[error("failed to parse BMC address information: {address:?}: {cause}")]
    Malformed {
        /// As written, without user and password.
        address: String,
        /// What is wrong.
        cause: &'static str,
    },
}

impl FromStr for Bmc {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        if address.is_empty() {
            return Err(AddressError::Empty);
        }
        let malformed = |cause| AddressError::Malformed {
            address: without_login(address),
            cause,
        };
        if address.chars().any(char::is_control) {
            return Err(malformed("it contains a control character"));
        }
        let (scheme, rest) = split(address)?;
        let (name, transport) = match scheme.split_once('+') {
            Some((name, "http")) => (name, "http"),
            Some((name, "https")) => (name, "https"),
            Some(_) => ("", ""),
            None => (scheme.as_str(), "https"),
        };
        let driver = Driver::of(name)
            .filter(|driver| driver.family == crate::Family::Redfish || !scheme.contains('+'))
            .ok_or_else(|| AddressError::UnknownScheme {
                scheme: scheme.clone(),
                address: without_login(address),
            })?;
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = host_and_port(authority).ok_or_else(|| malformed("invalid port"))?;
        if !valid_host(host) {
            return Err(AddressError::Host {
                host: host.to_owned(),
            });
        }
        Ok(Self {
            scheme: scheme.clone(),
            driver,
            transport,
            host: host.to_owned(),
            port: port.map(str::to_owned),
            path: path.to_owned(),
            privilege_level: privilege_level(query),
        })
    }
}

/// Who put user and password into an address must not find them in conditions, events and logs.
fn without_login(address: &str) -> String {
    let Some((before, after)) = address.rsplit_once('@') else {
        return address.to_owned();
    };
    let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
    let slashes = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{slashes}…@{after}")
}

/// Scheme in lower case and what follows `://`. A bare host is IPMI, as in the earliest releases.
fn split(address: &str) -> Result<(String, &str), AddressError> {
    if let Some((scheme, rest)) = address.split_once("://") {
        return Ok((scheme.to_lowercase(), rest));
    }
    if address.starts_with("//") {
        return Err(AddressError::UnknownScheme {
            scheme: String::new(),
            address: without_login(address),
        });
    }
    if address.starts_with('[') {
        return if address.contains("]:") {
            Ok(("ipmi".into(), address))
        } else {
            Err(AddressError::Malformed {
                address: without_login(address),
                cause: "an IPv6 address without scheme needs a port",
            })
        };
    }
    match address.split_once(':') {
        // `1.2.3.4:623`: a scheme cannot begin with a digit.
        Some((host, _)) if host.starts_with(|first: char| first.is_ascii_digit()) => {
            Ok(("ipmi".into(), address))
        }
        Some((scheme, rest)) => Ok((scheme.to_lowercase(), rest)),
        None => Ok(("ipmi".into(), address)),
    }
}

fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match authority.rfind(']') {
        Some(end) => {
            let (host, rest) = authority.split_at(end + 1);
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return None,
            }
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = port.filter(|port| !port.is_empty());
    port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some((host, port))
}

fn valid_host(host: &str) -> bool {
    if host.is_empty() || host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return literal.parse::<Ipv6Addr>().is_ok();
    }
    host.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

fn privilege_level(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == "privilegelevel").then(|| value.to_owned())
    })
}
