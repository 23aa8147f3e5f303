//! The schema of `network_data`, as far as Ironic refuses what does not fit.

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// Types of links that need no more than these keys.
const SIMPLE: [&str; 9] = [
    "bridge",
    "dvs",
    "hw_veb",
    "hyperv",
    "ovs",
    "tap",
    "vhostuser",
    "vif",
    "phy",
];

/// Checks the data that a node shall have; none at all is fine.
///
/// # Errors
/// 400 with what is wrong.
pub(crate) fn check(data: &Map<String, Value>) -> Result<(), Refusal> {
    if data.is_empty() {
        return Ok(());
    }
    for list in ["links", "networks", "services"] {
        match data.get(list) {
            Some(Value::Array(_)) => {}
            Some(_) => return Err(invalid(&format!("{list} is not of type 'array'"))),
            None => return Err(invalid(&format!("'{list}' is a required property"))),
        }
    }
    for link in list(data, "links") {
        let wanted: &[&str] = match link["type"].as_str() {
            Some("bond") => &["id", "ethernet_mac_address", "bond_mode", "bond_links"],
            Some("vlan") => &["id", "vlan_mac_address", "vlan_link", "vlan_id"],
            Some(simple) if SIMPLE.contains(&simple) => &["id", "ethernet_mac_address"],
            _ => {
                return Err(invalid(&format!(
                    "{link} is not valid under any of the given schemas"
                )));
            }
        };
        require(link, wanted)?;
    }
    for network in list(data, "networks") {
        require(network, &["id", "link", "network_id", "type"])?;
    }
    Ok(())
}

fn list<'a>(data: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    data.get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn require(object: &Value, keys: &[&str]) -> Result<(), Refusal> {
    match keys.iter().find(|key| object[**key].is_null()) {
        Some(key) => Err(invalid(&format!("{object}: '{key}' is a required property"))),
        None => Ok(()),
    }
}

fn invalid(reason: &str) -> Refusal {
    Refusal::bad(format!("Invalid network_data: {reason}"))
}
