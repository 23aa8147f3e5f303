//! Access to the BMC as a node's `driver_info` describes it.

use serde_json::{Map, Value};

use crate::faults::{Faults, Kind, Names};
use crate::node::Node;

/// Where the BMC is and how to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Names the machine: the BMC address with the system's path.
    pub(crate) address: String,
    username: String,
    password: String,
}

/// A login that is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

fn text<'a>(info: &'a Map<String, Value>, key: &str) -> &'a str {
    info.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The access data of a node.
///
/// # Errors
/// Ironic's words about what is missing.
pub(crate) fn access(node: &Node) -> Result<Access, String> {
    let info = &node.driver_info;
    let (address, family) = match node.driver.as_str() {
        "fake-hardware" => (format!("fake://{}", node.uuid), "fake"),
        "ipmi" => {
            let port = match info.get("ipmi_port") {
                Some(Value::Number(port)) => port.to_string(),
                Some(Value::String(port)) => port.clone(),
                _ => "623".to_owned(),
            };
            let host = text(info, "ipmi_address");
            if host.is_empty() {
                return Err(missing("ipmi_address"));
            }
            (format!("ipmi://{host}:{port}"), "ipmi")
        }
        _ => {
            let address = text(info, "redfish_address").trim_end_matches('/');
            if address.is_empty() {
                return Err(missing("redfish_address"));
            }
            let scheme = if address.contains("://") { "" } else { "https://" };
            (
                format!("{scheme}{address}{}", text(info, "redfish_system_id")),
                "redfish",
            )
        }
    };
    Ok(Access {
        address,
        username: text(info, &format!("{family}_username")).to_owned(),
        password: text(info, &format!("{family}_password")).to_owned(),
    })
}

fn missing(key: &str) -> String {
    format!("Missing required parameter in driver_info: ['{key}']")
}

/// Talks to the BMC of a node: its address, or Ironic's words about what went wrong.
///
/// # Errors
/// What ends in `last_error`.
pub(crate) fn contact(node: &Node, login: Option<&Login>, faults: &mut Faults) -> Result<String, String> {
    let access = access(node)?;
    let uuid = node.uuid.to_string();
    let names = Names {
        name: node.name.as_deref(),
        uuid: &uuid,
        bmc: &access.address,
    };
    let login_is_wrong = node.driver != "fake-hardware"
        && login.is_some_and(|login| login.username != access.username || login.password != access.password);
    let fault = if login_is_wrong {
        Some(Kind::BmcUnauthorized)
    } else {
        faults.strike_node(names, |kind| {
            matches!(
                kind,
                Kind::BmcUnauthorized | Kind::BmcError | Kind::BmcUnreachable | Kind::PowerLost
            )
        })
    };
    let redfish = node.driver != "ipmi";
    let address = &access.address;
    let cause = match fault {
        Some(Kind::BmcUnauthorized) if redfish => format!(
            "Redfish exception occurred. Error: HTTP GET {address} returned code 401. Base.1.0.GeneralError: \
             Authorization required Extended information: None"
        ),
        Some(Kind::BmcUnauthorized) => {
            "IPMI call failed: power status. Cause: RAKP 2 HMAC is invalid".to_owned()
        }
        Some(Kind::BmcError) if redfish => format!(
            "Redfish exception occurred. Error: HTTP GET {address} returned code 500. Base.1.0.GeneralError: \
             internal error Extended information: None"
        ),
        Some(Kind::BmcUnreachable | Kind::PowerLost) if redfish => {
            format!(
                "Redfish connection failed for node {uuid}: Unable to connect to {address}. Error: connection timed out"
            )
        }
        Some(_) => "IPMI call failed: power status.".to_owned(),
        None => return Ok(access.address),
    };
    Err(format!(
        "Failed to get power state for node {uuid}. Error: {cause}"
    ))
}
