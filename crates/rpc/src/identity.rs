//! Who is who: host references and consumers.

use std::fmt;

use crate::v1::{Consumer, Host, HostRef};

/// Namespace and name of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    /// Where it is.
    pub namespace: String,
    /// What it is called there.
    pub name: String,
}

impl HostKey {
    /// `None` for a host without a reference, which no server sends.
    pub fn of(host: &Host) -> Option<Self> {
        let HostRef { namespace, name, .. } = host.r#ref.as_ref()?;
        Some(Self {
            namespace: namespace.clone(),
            name: name.clone(),
        })
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl HostRef {
    /// A reference without UID.
    pub fn named(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: String::new(),
        }
    }
}

impl Consumer {
    /// The API group of `api_version`; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether both name the same object. UIDs differ after a move between clusters and versions after an upgrade, so
    /// neither counts.
    pub fn same_object(&self, other: &Self) -> bool {
        self.group() == other.group()
            && self.kind == other.kind
            && self.namespace == other.namespace
            && self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(api_version: &str, name: &str) -> Consumer {
        Consumer {
            api_version: api_version.into(),
            kind: "Metal3Machine".into(),
            namespace: "ns".into(),
            name: name.into(),
            uid: String::new(),
        }
    }

    #[test]
    fn a_consumer_stays_the_same_over_versions_and_moves() {
        let before = machine("infrastructure.cluster.x-k8s.io/v1beta1", "m");
        let after = Consumer {
            uid: "new".into(),
            ..machine("infrastructure.cluster.x-k8s.io/v1beta2", "m")
        };
        assert!(before.same_object(&after));
        assert!(!before.same_object(&machine("infrastructure.cluster.x-k8s.io/v1beta1", "other")));
        assert!(!before.same_object(&machine("v1", "m")));
    }
}
