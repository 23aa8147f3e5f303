//! Which Node of the workload cluster runs on a host.

use std::collections::{BTreeSet, HashMap};

/// The facts about a Node that matching needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Name.
    pub name: String,
    /// `spec.providerID`; empty when nobody set it.
    pub provider_id: String,
    /// Label `metal3.io/uuid`.
    pub host_uid: String,
    /// Label `kubernetes.io/hostname`.
    pub hostname: String,
}

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeQuery {
    /// Namespace of the Cluster.
    pub namespace: String,
    /// Name of the Cluster.
    pub cluster: String,
    /// The provider ID that the Node has or will have.
    pub provider_id: String,
    /// UID of the host.
    pub host_uid: String,
    /// Host names that the Node may have.
    pub hostnames: Vec<String>,
}

/// Nodes by how they match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMatches {
    /// Have the provider ID.
    pub by_provider_id: Vec<NodeFacts>,
    /// Carry the host's UID.
    pub by_uid: Vec<NodeFacts>,
    /// Have the host name.
    pub by_hostname: Vec<NodeFacts>,
}

/// Something by which a Node is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// `spec.providerID`.
    ProviderId(String),
    /// Label `metal3.io/uuid`.
    HostUid(String),
    /// Label `kubernetes.io/hostname`.
    Hostname(String),
}

impl NodeFacts {
    /// What the Node is recognised by.
    pub fn marks(&self) -> Vec<Mark> {
        marks(&self.provider_id, &self.host_uid, [&self.hostname])
    }
}

impl NodeQuery {
    /// What the Node that is looked for would be recognised by.
    pub fn marks(&self) -> Vec<Mark> {
        marks(&self.provider_id, &self.host_uid, &self.hostnames)
    }
}

/// What is empty recognises nothing.
fn marks<'a>(
    provider_id: &str,
    host_uid: &str,
    hostnames: impl IntoIterator<Item = &'a String>,
) -> Vec<Mark> {
    let hostnames = hostnames.into_iter().cloned().map(Mark::Hostname);
    [
        Mark::ProviderId(provider_id.to_owned()),
        Mark::HostUid(host_uid.to_owned()),
    ]
    .into_iter()
    .chain(hostnames)
    .filter(|mark| match mark {
        Mark::ProviderId(value) | Mark::HostUid(value) | Mark::Hostname(value) => !value.is_empty(),
    })
    .collect()
}

/// The Nodes of a cluster, found by their marks without a look at the others.
#[derive(Clone, Debug, Default)]
pub struct NodeIndex {
    nodes: HashMap<String, NodeFacts>,
    by_mark: HashMap<Mark, BTreeSet<String>>,
}

impl NodeIndex {
    /// Takes over a Node; answers what was known of it before.
    pub fn put(&mut self, node: NodeFacts) -> Option<NodeFacts> {
        let before = self.remove(&node.name);
        for mark in node.marks() {
            self.by_mark.entry(mark).or_default().insert(node.name.clone());
        }
        self.nodes.insert(node.name.clone(), node);
        before
    }

    /// Forgets a Node; answers what was known of it.
    pub fn remove(&mut self, name: &str) -> Option<NodeFacts> {
        let node = self.nodes.remove(name)?;
        for mark in node.marks() {
            if let Some(names) = self.by_mark.get_mut(&mark) {
                names.remove(name);
                if names.is_empty() {
                    self.by_mark.remove(&mark);
                }
            }
        }
        Some(node)
    }

    /// What is known of a Node.
    pub fn get(&self, name: &str) -> Option<&NodeFacts> {
        self.nodes.get(name)
    }

    /// The Nodes that match. Nodes that have nothing to do with the query never matter, whatever is wrong with them.
    pub fn find(&self, query: &NodeQuery) -> NodeMatches {
        let mut matches = NodeMatches::default();
        for mark in query.marks() {
            let names = self.by_mark.get(&mark).into_iter().flatten();
            let nodes = names.filter_map(|name| self.nodes.get(name)).cloned();
            match mark {
                Mark::ProviderId(_) => matches.by_provider_id.extend(nodes),
                Mark::HostUid(_) => matches.by_uid.extend(nodes),
                Mark::Hostname(_) => matches.by_hostname.extend(nodes),
            }
        }
        matches
    }
}

/// The Node to use out of those that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It has the provider ID.
    Linked,
    /// It is the one, but has no provider ID yet.
    Unlinked(String),
    /// None yet.
    None,
    /// Cannot be decided; why.
    Unclear(String),
}

/// Chooses among Nodes that were found by label or host name. A Node that another machine left behind on the same
/// host is no candidate: its provider ID starts with the host's prefix but ends in another machine.
pub fn choose(found: &[NodeFacts], provider_id: &str) -> Choice {
    let prefix = provider_id
        .rfind('/')
        .map_or(provider_id, |at| &provider_id[..=at]);
    let candidates: Vec<&NodeFacts> = found
        .iter()
        .filter(|node| node.provider_id == provider_id || !node.provider_id.starts_with(prefix))
        .collect();
    match candidates.as_slice() {
        [] => Choice::None,
        [node] if node.provider_id == provider_id => Choice::Linked,
        [node] if node.provider_id.is_empty() => Choice::Unlinked(node.name.clone()),
        [node] => Choice::Unclear(format!(
            "Node {} has providerID {:?}, expected {provider_id:?}",
            node.name, node.provider_id
        )),
        several => Choice::Unclear(format!(
            "{} Nodes claim to run on this host: {}",
            several.len(),
            several
                .iter()
                .map(|node| node.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "metal3://ns/h1/m1";

    fn node(name: &str, provider_id: &str) -> NodeFacts {
        NodeFacts {
            name: name.into(),
            provider_id: provider_id.into(),
            host_uid: "uid".into(),
            hostname: name.into(),
        }
    }

    #[test]
    fn a_node_is_found_by_each_of_its_marks() {
        let query = NodeQuery {
            namespace: "ns".into(),
            cluster: "c".into(),
            provider_id: ID.into(),
            host_uid: "uid".into(),
            hostnames: vec!["b".into()],
        };
        let stranger = NodeFacts {
            host_uid: String::new(),
            ..node("c", "")
        };
        let mut index = NodeIndex::default();
        for node in [node("a", ID), node("b", ""), stranger] {
            assert_eq!(index.put(node), None);
        }
        let matches = index.find(&query);
        let names = |nodes: &[NodeFacts]| nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(names(&matches.by_provider_id), "a");
        assert_eq!(names(&matches.by_uid), "a b");
        assert_eq!(names(&matches.by_hostname), "b");
        // A Node that changes is found by what it has now, and one that went not at all.
        assert_eq!(index.put(node("b", ID)), Some(node("b", "")));
        assert_eq!(names(&index.find(&query).by_provider_id), "a b");
        assert_eq!(index.remove("a"), Some(node("a", ID)));
        assert_eq!(index.remove("a"), None);
        assert_eq!(names(&index.find(&query).by_uid), "b");
    }

    #[test]
    fn what_a_node_does_not_have_matches_nothing() {
        let mut index = NodeIndex::default();
        index.put(NodeFacts {
            name: "bare".into(),
            ..NodeFacts::default()
        });
        let nothing = NodeQuery {
            namespace: "ns".into(),
            cluster: "c".into(),
            provider_id: String::new(),
            host_uid: String::new(),
            hostnames: vec![String::new()],
        };
        assert_eq!(index.find(&nothing), NodeMatches::default());
    }

    #[test]
    fn one_candidate_is_taken_and_two_are_not_guessed_between() {
        assert_eq!(choose(&[node("a", "")], ID), Choice::Unlinked("a".into()));
        assert_eq!(choose(&[node("a", ID)], ID), Choice::Linked);
        assert_eq!(choose(&[], ID), Choice::None);
        assert!(matches!(
            choose(&[node("a", ""), node("b", "")], ID),
            Choice::Unclear(_)
        ));
        assert!(matches!(choose(&[node("a", "aws:///x")], ID), Choice::Unclear(_)));
    }

    #[test]
    fn a_node_left_behind_by_a_former_machine_is_no_candidate() {
        let former = node("old", "metal3://ns/h1/m0");
        assert_eq!(
            choose(&[former.clone(), node("new", "")], ID),
            Choice::Unlinked("new".into())
        );
        assert_eq!(choose(&[former], ID), Choice::None);
        assert!(matches!(
            choose(&[node("other", "metal3://ns/h10/m0")], ID),
            Choice::Unclear(_)
        ));
    }
}
