//! Hosts as the provider sees them, in words of its own.

use std::fmt;

use metal3_api::infra::v1beta2::MachineAddress;

/// The most that the schema of a machine's status takes.
const ADDRESS_LIMIT: usize = 32;

/// A host by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl HostKey {
    /// Reads the annotation of a Metal3Machine. The namespace part is ignored, because no reference may leave the
    /// machine's own.
    pub fn from_annotation(value: &str, namespace: &str) -> Option<Self> {
        let name = value.rsplit('/').next().filter(|name| !name.is_empty())?;
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The object that a host belongs to; version and UID do not count, because upgrades and moves change them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Consumer {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What a host waits for, in the host service's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostWait {
    /// What is awaited.
    pub message: String,
    /// What a person can do.
    pub remedy: String,
}

/// The facts about a host that decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSummary {
    /// Namespace and name.
    pub key: HostKey,
    /// `metadata.uid`.
    pub uid: String,
    /// Who uses it.
    pub consumer: Option<Consumer>,
    /// `status.provisioning.state`.
    pub state: String,
    /// An image or a custom deploy method is asked for.
    pub requested: bool,
    /// `spec.automatedCleaningMode`.
    pub cleaning_mode: String,
    /// `status.errorMessage`; empty when it is well.
    pub error: String,
    /// Paused by this provider, so that it can be moved to another cluster.
    pub paused_for_move: bool,
    /// Why it is where it is.
    pub wait: Option<HostWait>,
    /// IP addresses found by inspection, in the order of interfaces.
    pub ips: Vec<String>,
    /// Host name found by inspection.
    pub hostname: String,
}

impl HostSummary {
    /// The image runs.
    pub fn provisioned(&self) -> bool {
        self.state == "provisioned"
    }

    /// Addresses in the form of Cluster API.
    pub fn addresses(&self) -> Vec<MachineAddress> {
        let address = |type_: &str, address: &String| MachineAddress {
            type_: type_.to_owned(),
            address: address.clone(),
        };
        let ips = self
            .ips
            .iter()
            .filter(|ip| !ip.is_empty())
            .map(|ip| address("InternalIP", ip))
            .take(ADDRESS_LIMIT - 2);
        let names = ["Hostname", "InternalDNS"].map(|type_| address(type_, &self.hostname));
        ips.chain(names.into_iter().filter(|name| !name.address.is_empty()))
            .collect()
    }
}

/// How many hosts one rule turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Name of the rule.
    pub rule: String,
    /// How many.
    pub hosts: u32,
    /// Some of them.
    pub examples: Vec<String>,
}

/// The table of rejected hosts as one sentence.
pub fn describe_rejections(candidates: u32, rejections: &[Rejection]) -> String {
    if candidates == 0 {
        return "the namespace has no hosts".into();
    }
    let rules: Vec<String> = rejections
        .iter()
        .filter(|rejection| rejection.hosts > 0)
        .map(|rejection| match rejection.examples.as_slice() {
            [] => format!("{} {}", rejection.hosts, rejection.rule),
            examples => format!("{} {} ({})", rejection.hosts, rejection.rule, examples.join(", ")),
        })
        .collect();
    format!("none of {candidates} hosts can be claimed: {}", rules.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_of_the_annotation_is_not_believed() {
        let key = HostKey::from_annotation("elsewhere/h1", "ns").unwrap();
        assert_eq!(key.to_string(), "ns/h1");
        assert_eq!(HostKey::from_annotation("elsewhere/", "ns"), None);
    }

    #[test]
    fn addresses_are_ips_in_order_then_both_names_and_fit_the_schema() {
        let host = HostSummary {
            key: HostKey {
                namespace: "ns".into(),
                name: "h".into(),
            },
            uid: String::new(),
            consumer: None,
            state: String::new(),
            requested: false,
            cleaning_mode: String::new(),
            error: String::new(),
            paused_for_move: false,
            wait: None,
            ips: vec!["10.0.0.2".into(), String::new(), "fe80::1".into()],
            hostname: "node-1".into(),
        };
        let text: Vec<_> = host
            .addresses()
            .iter()
            .map(|a| format!("{} {}", a.type_, a.address))
            .collect();
        assert_eq!(
            text,
            [
                "InternalIP 10.0.0.2",
                "InternalIP fe80::1",
                "Hostname node-1",
                "InternalDNS node-1"
            ]
        );
        let many = HostSummary {
            ips: (0..40).map(|n| format!("10.0.0.{n}")).collect(),
            ..host
        };
        assert_eq!(many.addresses().len(), ADDRESS_LIMIT);
    }

    #[test]
    fn rejections_read_as_a_sentence() {
        let rejections = [
            Rejection {
                rule: "claimed".into(),
                hosts: 2,
                examples: vec!["a".into(), "b".into()],
            },
            Rejection {
                rule: "paused".into(),
                hosts: 0,
                examples: vec![],
            },
            Rejection {
                rule: "label-mismatch".into(),
                hosts: 1,
                examples: vec![],
            },
        ];
        assert_eq!(
            describe_rejections(3, &rejections),
            "none of 3 hosts can be claimed: 2 claimed (a, b); 1 label-mismatch"
        );
    }
}
