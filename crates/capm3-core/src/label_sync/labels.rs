//! What is remembered of hosts and Nodes. There are thousands of them: little is kept, in little memory.

use std::collections::BTreeMap;

use super::prefixes::Prefixes;

/// Annotation of Nodes: keys of the labels that Cluster API sets from the Machine, separated by commas.
const LABELS_FROM_MACHINE: &str = "cluster.x-k8s.io/labels-from-machine";

/// Some labels of an object, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// Those of an object that somebody could ask for: those with a prefix.
    pub fn with_prefix<'a>(all: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self::of(all, |key| key.contains('/'))
    }

    fn of<'a>(
        all: impl IntoIterator<Item = (&'a String, &'a String)>,
        wanted: impl Fn(&str) -> bool,
    ) -> Self {
        let wanted = all.into_iter().filter(|(key, _)| wanted(key));
        let mut labels: Box<[(Box<str>, Box<str>)]> = wanted
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect();
        labels.sort_unstable();
        Self(labels)
    }

    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

/// What a Node has of what is synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeLabels {
    /// Its labels with the prefixes.
    pub labels: Labels,
    /// Keys of those that Cluster API sets from the Machine.
    of_machine: Box<[Box<str>]>,
}

impl NodeLabels {
    /// What matters of a Node.
    pub fn of(
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        prefixes: &Prefixes,
    ) -> Self {
        let of_machine = annotations.get(LABELS_FROM_MACHINE).map_or("", String::as_str);
        Self {
            labels: Labels::of(labels, |key| prefixes.cover(key)),
            of_machine: of_machine
                .split(',')
                .filter(|key| prefixes.cover(key))
                .map(Box::from)
                .collect(),
        }
    }

    pub(super) fn is_of_machine(&self, key: &str) -> bool {
        self.of_machine.iter().any(|known| **known == *key)
    }
}
