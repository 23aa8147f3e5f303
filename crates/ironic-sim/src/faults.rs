//! What goes wrong, and for whom.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::latency::parse_duration;
use crate::machine::Operation;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// The BMC refuses the login (401).
    BmcUnauthorized,
    /// The BMC answers 500.
    BmcError,
    /// The BMC cannot be reached.
    BmcUnreachable,
    /// Whatever needs the BMC takes longer.
    BmcSlow {
        /// By how much.
        #[serde(with = "duration")]
        delay: Duration,
    },
    /// Ironic lost power control: maintenance with fault `power failure`, until the fault is removed.
    PowerLost,
    /// Somebody else holds the node's lock.
    NodeLocked,
    /// The operation fails.
    Fail {
        /// Which one.
        operation: Operation,
        /// Ends in `last_error`. Empty: there is none, as after a failed deploy step of a real Ironic 39.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The operation does not go on, until the fault is removed.
    Hang {
        /// Which one.
        operation: Operation,
    },
    /// The machine's NICs have other addresses than its ports: its ramdisk is never recognised.
    WrongMac,
    /// Every request of Ironic's API is answered by 503.
    ApiUnavailable,
    /// Ironic has no conductor: no drivers.
    NoConductor,
    /// Requests are answered by this status instead of being carried out.
    Http {
        /// 401, 409, 500, 503, …
        status: u16,
        /// Method and route, for example `PUT nodes/{id}/states/*`.
        #[serde(default = "anything")]
        request: String,
    },
    /// Requests take longer.
    ApiSlow {
        /// By how much.
        #[serde(with = "duration")]
        delay: Duration,
        /// Method and route.
        #[serde(default = "anything")]
        request: String,
    },
    /// The connection breaks instead of an answer.
    ApiDrop {
        /// Method and route.
        #[serde(default = "anything")]
        request: String,
        /// The request was carried out nevertheless.
        #[serde(default)]
        done: bool,
    },
}

impl Kind {
    /// The requests that it is about, if it is about requests.
    pub(crate) fn request(&self) -> Option<&str> {
        match self {
            Self::Http { request, .. } | Self::ApiSlow { request, .. } | Self::ApiDrop { request, .. } => {
                Some(request)
            }
            _ => None,
        }
    }
}

/// What goes wrong, for whom, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
    /// Node name, node UUID or BMC address; `*` stands for anything.
    #[serde(default = "anything")]
    pub target: String,
    /// Strikes that are left. Absent: until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

fn anything() -> String {
    "*".to_owned()
}

impl Fault {
    /// A fault of `target` that lasts until it is removed.
    pub fn new(kind: Kind, target: impl Into<String>) -> Self {
        Self {
            kind,
            target: target.into(),
            times: None,
        }
    }

    /// The same, but gone after so many strikes.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// The forms of a fault, for messages and help.
pub const KNOWN: &str = "bmc-unauthorized, bmc-error, bmc-unreachable, bmc-slow:<duration>, power-lost, node-locked, \
                         fail:<operation>, hang:<operation>, wrong-mac, api-unavailable, no-conductor, \
                         http:<status>, api-slow:<duration>, api-drop[:done]";

/// `kind[:parameter][@target]`, for example `fail:clean@ns~host-*` or `bmc-slow:5s`.
impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (what, target) = text.split_once('@').unwrap_or((text, "*"));
        let (kind, parameter) = what.split_once(':').unwrap_or((what, ""));
        let operation = || {
            Operation::parse(parameter).with_context(|| {
                let known = Operation::ALL.map(Operation::as_str).join(", ");
                format!("fault {text:?} needs an operation after {kind}: one of {known}")
            })
        };
        let kind = match kind {
            "bmc-unauthorized" => Kind::BmcUnauthorized,
            "bmc-error" => Kind::BmcError,
            "bmc-unreachable" => Kind::BmcUnreachable,
            "bmc-slow" => Kind::BmcSlow {
                delay: parse_duration(parameter)?,
            },
            "power-lost" => Kind::PowerLost,
            "node-locked" => Kind::NodeLocked,
            "fail" => Kind::Fail {
                operation: operation()?,
                message: None,
            },
            "hang" => Kind::Hang {
                operation: operation()?,
            },
            "wrong-mac" => Kind::WrongMac,
            "api-unavailable" => Kind::ApiUnavailable,
            "no-conductor" => Kind::NoConductor,
            "http" => Kind::Http {
                status: parameter
                    .parse()
                    .ok()
                    .filter(|status| (400..600).contains(status))
                    .with_context(|| format!("fault {text:?} needs a status from 400 to 599 after http"))?,
                request: anything(),
            },
            "api-slow" => Kind::ApiSlow {
                delay: parse_duration(parameter)?,
                request: anything(),
            },
            "api-drop" => Kind::ApiDrop {
                request: anything(),
                done: parameter == "done",
            },
            _ => bail!("unknown fault {kind:?}; known are: {KNOWN}"),
        };
        Ok(Self::new(kind, target))
    }
}

/// The faults in force, by name.
#[derive(Clone, Debug, Default)]
pub struct Faults(BTreeMap<String, Fault>);

/// The words by which a fault may mean a node.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// Node name.
    pub name: Option<&'a str>,
    /// Node UUID.
    pub uuid: &'a str,
    /// BMC address with the system's path.
    pub bmc: &'a str,
}

impl Faults {
    /// Sets or replaces a fault.
    pub fn set(&mut self, name: impl Into<String>, fault: Fault) {
        self.0.insert(name.into(), fault);
    }

    /// Removes a fault; says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Removes all faults.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All faults.
    pub const fn all(&self) -> &BTreeMap<String, Fault> {
        &self.0
    }

    /// A fault that means everybody, such as `api-unavailable`, is in force; it loses a strike.
    pub fn strike_api(&mut self, kind: &Kind) -> bool {
        // Most requests: nothing to look at, nothing to allocate.
        if self.0.is_empty() {
            return false;
        }
        self.strike(|fault| fault.kind == *kind).is_some()
    }

    /// The first fault of a node that `wanted` picks, without a strike.
    pub fn find<T>(&self, node: Names<'_>, wanted: impl Fn(&Kind) -> Option<T>) -> Option<T> {
        self.0
            .values()
            .filter(|fault| node.matches(&fault.target))
            .find_map(|fault| wanted(&fault.kind))
    }

    /// The first fault of a node that `wanted` picks; it loses a strike.
    pub fn strike_node(&mut self, node: Names<'_>, wanted: impl Fn(&Kind) -> bool) -> Option<Kind> {
        self.strike(|fault| node.matches(&fault.target) && wanted(&fault.kind))
    }

    /// The first fault of a request that is in force; it loses a strike. Without a node only faults of everybody count.
    pub(crate) fn strike_request(&mut self, node: Option<Names<'_>>, request: &str) -> Option<Kind> {
        self.strike(|fault| {
            let of_node = node.is_some_and(|node| node.matches(&fault.target));
            (of_node || fault.target == "*")
                && fault.kind.request().is_some_and(|pattern| glob(pattern, request))
        })
    }

    fn strike(&mut self, wanted: impl Fn(&Fault) -> bool) -> Option<Kind> {
        let (name, fault) = self.0.iter_mut().find(|(_, fault)| wanted(fault))?;
        let kind = fault.kind.clone();
        match &mut fault.times {
            Some(times) if *times > 1 => *times -= 1,
            Some(_) => {
                let name = name.clone();
                self.0.remove(&name);
            }
            None => {}
        }
        Some(kind)
    }
}

impl Names<'_> {
    fn matches(self, pattern: &str) -> bool {
        [self.name.unwrap_or_default(), self.uuid, self.bmc]
            .into_iter()
            .any(|word| glob(pattern, word))
    }
}

/// `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| glob(tail, &rest[at..]))
        }),
    }
}

mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(delay: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ms", delay.as_millis()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::latency::parse_duration(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Names<'static> = Names {
        name: Some("ns~host-1"),
        uuid: "u-1",
        bmc: "http://192.0.2.1/redfish/v1/Systems/1",
    };

    #[test]
    fn targets_are_names_identifiers_or_addresses() {
        for (pattern, wanted) in [
            ("*", true),
            ("ns~host-1", true),
            ("ns~host-*", true),
            ("u-1", true),
            ("*192.0.2.1*", true),
            ("http://192.0.2.1/*/1", true),
            ("ns~host", false),
            ("other~*", false),
            ("", false),
        ] {
            assert_eq!(NODE.matches(pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn faults_are_read_from_flags_and_json() {
        let flag: Fault = "fail:clean@ns~host-*".parse().unwrap();
        let json: Fault =
            serde_json::from_str(r#"{"kind": "fail", "operation": "clean", "target": "ns~host-*"}"#).unwrap();
        assert_eq!(flag, json);
        let slow: Fault = serde_json::from_str(r#"{"kind": "bmc-slow", "delay": "5s"}"#).unwrap();
        assert_eq!(slow, "bmc-slow:5s".parse().unwrap());
        for (text, word) in [
            ("fail:fly", "operation"),
            ("http:200", "400 to 599"),
            ("api-slow", "duration"),
            ("bogus", "bogus"),
            ("bmc-slow", "duration"),
        ] {
            let error = format!("{:#}", text.parse::<Fault>().unwrap_err());
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn faults_of_requests_are_chosen_by_route_and_node() {
        let mut faults = Faults::default();
        let kind = Kind::Http {
            status: 409,
            request: "PUT nodes/{id}/states/*".to_owned(),
        };
        faults.set("a", Fault::new(kind, "ns~host-*"));
        let put = "PUT nodes/{id}/states/power";
        assert!(faults.strike_request(Some(NODE), put).is_some());
        assert!(
            faults
                .strike_request(Some(NODE), "GET nodes/{id}/states")
                .is_none()
        );
        assert!(faults.strike_request(None, put).is_none());
    }

    #[test]
    fn a_fault_is_gone_after_its_last_strike() {
        let mut faults = Faults::default();
        faults.set("a", Fault::new(Kind::BmcError, "*").times(2));
        let wanted = |kind: &Kind| *kind == Kind::BmcError;
        assert!(faults.strike_node(NODE, wanted).is_some());
        assert!(faults.strike_node(NODE, wanted).is_some());
        assert!(faults.strike_node(NODE, wanted).is_none());
    }
}
