//! Which Node of the workload cluster runs on a host.

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

/// Looks through the Nodes of a cluster.
pub fn search(nodes: impl IntoIterator<Item = NodeFacts>, query: &NodeQuery) -> NodeMatches {
    let mut matches = NodeMatches::default();
    for node in nodes {
        if node.provider_id == query.provider_id {
            matches.by_provider_id.push(node.clone());
        }
        if !node.host_uid.is_empty() && node.host_uid == query.host_uid {
            matches.by_uid.push(node.clone());
        }
        if query.hostnames.contains(&node.hostname) {
            matches.by_hostname.push(node);
        }
    }
    matches
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
        let matches = search([node("a", ID), node("b", ""), stranger], &query);
        let names = |nodes: &[NodeFacts]| nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(names(&matches.by_provider_id), "a");
        assert_eq!(names(&matches.by_uid), "a b");
        assert_eq!(names(&matches.by_hostname), "b");
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
