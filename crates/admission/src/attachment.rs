//! HostNetworkAttachments. What uses one is to be asked of the API server: [`users`] tells it from a list of hosts.

use metal3_api::metal3::switch::HostNetworkAttachmentSpec;
use serde_json::Value;

use crate::problem::Problem;
use crate::{Findings, Subject, metadata, spec};

const VLANS: std::ops::RangeInclusive<u32> = 1..=4094;

/// A HostNetworkAttachment.
#[derive(Clone, Debug)]
pub struct Attachment(HostNetworkAttachmentSpec);

impl Subject for Attachment {
    fn read(object: &Value) -> Result<Self, serde_json::Error> {
        spec(object).map(Self)
    }

    fn problems(&self) -> Vec<Problem> {
        let HostNetworkAttachmentSpec {
            mode, allowed_vlans, ..
        } = &self.0;
        let mut problems = Vec::new();
        if mode == "access" && !allowed_vlans.is_empty() {
            problems.push(Problem::new(
                "spec.allowedVLANs",
                "access mode must not have allowedVLANs; remove them, or use mode trunk or hybrid",
                (mode, allowed_vlans),
            ));
        }
        for (index, entry) in allowed_vlans.iter().enumerate() {
            if let Some(text) = wrong_vlans(entry) {
                let field = format!("spec.allowedVLANs[{index}]");
                problems.push(Problem::new(&field, &text, entry));
            }
        }
        problems
    }
}

impl Attachment {
    /// Why the change of a spec, or a deletion, is refused while hosts use the attachment.
    pub fn in_use(deed: &str, users: &[String]) -> Findings {
        if users.is_empty() {
            return Findings::default();
        }
        let users = users.join(", ");
        let mut findings = Findings::default();
        findings.errors.push(format!(
            "spec: the HostNetworkAttachment cannot be {deed} while it is in use by {users}; remove it from \
             spec.networkInterfaces of these hosts first"
        ));
        if deed == "deleted" {
            findings.warnings.push(format!("it is in use by {users}"));
        }
        findings
    }
}

fn wrong_vlans(entry: &str) -> Option<String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|vlan| VLANS.contains(vlan));
    let (first, last) = match entry.split_once('-') {
        Some((first, last)) => (number(first), Some(number(last))),
        None => (number(entry), None),
    };
    match (first, last) {
        (Some(_), None) => None,
        (Some(first), Some(Some(last))) if first < last => None,
        (Some(_), Some(Some(_))) => Some(format!(
            "the range {entry:?} has to go from a lower to a higher VLAN"
        )),
        _ => Some(format!(
            "{entry:?} is out of range: use a VLAN from 1 to 4094, or a range like 10-20"
        )),
    }
}

/// The interfaces of a host that name this attachment, each as `namespace/host[interface]`.
pub fn users(host: &Value, namespace: &str, name: &str) -> Vec<String> {
    let (own, host_name) = (metadata(host, "namespace"), metadata(host, "name"));
    let interfaces = host["spec"]["networkInterfaces"].as_array();
    interfaces
        .into_iter()
        .flatten()
        .filter(|interface| {
            let reference = &interface["hostNetworkAttachment"];
            let there = reference["namespace"].as_str().filter(|there| !there.is_empty());
            reference["name"] == name && there.unwrap_or(&own) == namespace
        })
        .map(|interface| {
            let named = |field: &str| interface[field].as_str().filter(|text| !text.is_empty());
            let selector = named("macAddress").or_else(|| named("name")).unwrap_or("?");
            format!("{own}/{host_name}[{selector}]")
        })
        .collect()
}
