//! The Node of a machine that is remediated: out of service while the host is off, as it was when it is back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Taint;
use metal3_api::conditions::time;
use serde_json::Value;

const KEY: &str = "node.kubernetes.io/out-of-service";
const VALUE: &str = "nodeshutdown";
const EFFECT: &str = "NoExecute";
/// First minor version of Kubernetes 1 in which the taint can be relied on.
const TAINT_SINCE: u32 = 28;

/// A Node of a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName {
    /// Namespace of the Cluster.
    pub namespace: String,
    /// Name of the Cluster.
    pub cluster: String,
    /// Name of the Node.
    pub name: String,
}

/// Labels and annotations of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Backup {
    /// Nothing was kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All of this, and all that a Node has, which wins.
    #[must_use]
    pub fn under(mut self, there: &Self) -> Self {
        self.labels.extend(there.labels.clone());
        self.annotations.extend(there.annotations.clone());
        self
    }

    /// What of this a Node lacks.
    #[must_use]
    pub fn lacking(&self, there: &Self) -> Self {
        let lacking = |kept: &BTreeMap<String, String>, there: &BTreeMap<String, String>| {
            let kept = kept.iter().filter(|(key, _)| !there.contains_key(*key));
            kept.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Self {
            labels: lacking(&self.labels, &there.labels),
            annotations: lacking(&self.annotations, &there.annotations),
        }
    }
}

/// A Node as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its cluster knows the taint.
    pub can_be_tainted: bool,
    /// It is out of service.
    pub tainted: bool,
    /// Labels and annotations.
    pub marks: Backup,
    /// Pods on it that are being deleted.
    pub terminating: usize,
    /// Volumes that are attached to it.
    pub attached: usize,
}

/// Whether a cluster of this version knows the taint. Vendors add to the numbers (`28+`); what cannot be read at all is
/// taken for a version of today.
pub fn can_be_tainted(major: &str, minor: &str) -> bool {
    let number = |text: &str| {
        let end = text
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len());
        text.get(..end).and_then(|digits| digits.parse::<u32>().ok())
    };
    match (number(major), number(minor)) {
        (Some(1), Some(minor)) => minor >= TAINT_SINCE,
        (Some(0), _) => false,
        (Some(_) | None, _) => true,
    }
}

/// Whether a Node is out of service.
pub fn is_tainted(taints: &[Taint]) -> bool {
    taints.iter().any(is_ours)
}

/// Taints with ours.
pub fn tainted(mut taints: Vec<Taint>, now: Timestamp) -> Vec<Taint> {
    if !is_tainted(&taints) {
        taints.push(Taint {
            key: KEY.to_owned(),
            value: Some(VALUE.to_owned()),
            effect: EFFECT.to_owned(),
            time_added: Some(time(now)),
        });
    }
    taints
}

/// Taints without ours.
pub fn untainted(mut taints: Vec<Taint>) -> Vec<Taint> {
    taints.retain(|taint| !is_ours(taint));
    taints
}

fn is_ours(taint: &Taint) -> bool {
    taint.key == KEY && taint.effect == EFFECT && taint.value.as_deref() == Some(VALUE)
}

/// A map as an annotation keeps it.
pub(super) fn write(map: &BTreeMap<String, String>) -> String {
    serde_json::json!(map).to_string()
}

/// A map from an annotation; what cannot be read is nothing.
pub(super) fn read(text: Option<&str>) -> BTreeMap<String, String> {
    let Some(Value::Object(map)) = text.and_then(|text| serde_json::from_str(text).ok()) else {
        return BTreeMap::new();
    };
    map.into_iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_the_workload_cluster_decides_and_vendors_may_add_to_it() {
        for (major, minor, can) in [
            ("1", "28", true),
            ("1", "28+", true),
            ("1", "27", false),
            ("1", "9+", false),
            ("1", "34-gke.1", true),
            ("2", "0", true),
            ("0", "99", false),
            ("", "", true),
            ("1", "eks", true),
        ] {
            assert_eq!(can_be_tainted(major, minor), can, "{major}.{minor}");
        }
    }

    #[test]
    fn the_taint_is_added_once_and_those_of_others_stay() {
        let other = Taint {
            key: KEY.into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        let with = tainted(vec![other.clone()], Timestamp::UNIX_EPOCH);
        assert!(is_tainted(&with));
        assert_eq!(tainted(with.clone(), Timestamp::MAX), with);
        assert_eq!(untainted(with), [other]);
    }

    #[test]
    fn what_the_node_has_by_now_wins_over_what_it_had() {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let kept = Backup {
            labels: read(Some(&write(&map(&[("a", "old"), ("b", "old")])))),
            annotations: read(Some("no json")),
        };
        let there = Backup {
            labels: map(&[("a", "new")]),
            annotations: BTreeMap::new(),
        };
        let lacking = kept.lacking(&there);
        assert_eq!(lacking.labels, map(&[("b", "old")]));
        assert!(lacking.lacking(&kept).is_empty());
    }
}
