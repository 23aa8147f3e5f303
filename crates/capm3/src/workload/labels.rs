//! The labels of Nodes that label sync looks at, and changing them.
//!
//! Of all labels in a cluster only those with the prefixes that its Metal3Cluster asks for are remembered. When it asks
//! for others, the Nodes are listed anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use metal3_capm3_core::label_sync::{Changes, NodeLabels, Prefixes};
use metal3_capm3_core::remediation::NodeName;
use serde_json::json;
use tokio::sync::Notify;

use super::nodes::Health;
use super::{CALL_DEADLINE, Workloads, key, no_answer};
use crate::objects::Key;

/// What is known of a Node that is to have labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Labelled {
    /// It has these of those asked for.
    Found(NodeLabels),
    /// There is no such Node, or nothing was heard of the cluster yet.
    Unknown,
    /// The cluster does not answer: why, and for how long.
    Unreachable(String, Duration),
}

/// How a Node took a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relabelled {
    /// It has it.
    Done,
    /// There is no such Node any more.
    Gone,
    /// The cluster does not want it: a person has to help.
    Refused(String),
    /// It did not work; time may help.
    Failed(String),
}

impl Workloads {
    /// The labels of a Node with these prefixes. The machine is woken when they change, and when the cluster begins or
    /// ceases to answer.
    pub(crate) fn labels(&self, machine: &Key, node: &NodeName, prefixes: &Prefixes) -> Labelled {
        let nodes = self.of_cluster(key(node));
        // Asked first: whatever changes from here on wakes the machine.
        let known = nodes.labels.ask(&node.name, machine, prefixes);
        match nodes.health() {
            (Health::Failing(error), since) => Labelled::Unreachable(error, since),
            (Health::Connecting, _) => Labelled::Unknown,
            (Health::Synced, _) => known.map_or(Labelled::Unknown, Labelled::Found),
        }
    }

    /// Changes labels of a Node.
    pub(crate) async fn relabel(&self, node: &NodeName, changes: &Changes) -> Relabelled {
        let nodes = self.of_cluster(key(node));
        let Some(client) = nodes.client() else {
            return Relabelled::Failed("it has not answered yet".into());
        };
        let api: Api<Node> = Api::all(client);
        // No precondition: each label is as it is to be whatever happened to the others meanwhile.
        let patch = Patch::Merge(json!({"metadata": {"labels": changes}}));
        let params = PatchParams::default();
        let patched = api.patch(&node.name, &params, &patch);
        match tokio::time::timeout(CALL_DEADLINE, patched).await {
            Ok(Ok(changed)) => {
                // The next pass must not wait for the watch to learn of it.
                self.took(&nodes, watcher::Event::Apply(changed));
                Relabelled::Done
            }
            Ok(Err(kube::Error::Api(status))) => match status.code {
                404 => Relabelled::Gone,
                409 | 429 | 500.. => Relabelled::Failed(status.message.clone()),
                _ => Relabelled::Refused(status.message.clone()),
            },
            Ok(Err(error)) => Relabelled::Failed(error.to_string()),
            Err(_) => Relabelled::Failed(no_answer()),
        }
    }
}

/// The labels of all Nodes of a cluster that somebody asks for.
#[derive(Debug, Default)]
pub(super) struct LabelIndex {
    state: Mutex<State>,
    /// The Nodes are to be listed anew: more of their labels matter than were kept.
    pub(super) relist: Notify,
}

#[derive(Debug, Default)]
struct State {
    wanted: Prefixes,
    nodes: HashMap<String, Known>,
    /// The prefixes for which they are complete.
    complete: Option<Prefixes>,
    listing: HashMap<String, Known>,
    /// The prefixes of the last listing, which may still be going on.
    listed: Option<Prefixes>,
    /// Machines by the name of their Node; each is woken once and asks again.
    asking: HashMap<String, Key>,
}

#[derive(Debug)]
struct Known {
    version: u64,
    labels: NodeLabels,
}

impl Known {
    fn of(node: &Node, prefixes: &Prefixes) -> Self {
        let version = node.resource_version().and_then(|version| version.parse().ok());
        Self {
            version: version.unwrap_or(0),
            labels: NodeLabels::of(node.labels(), node.annotations(), prefixes),
        }
    }
}

impl LabelIndex {
    fn ask(&self, node: &str, machine: &Key, prefixes: &Prefixes) -> Option<NodeLabels> {
        self.with(|state| {
            state.asking.insert(node.to_owned(), machine.clone());
            if state.wanted != *prefixes {
                state.wanted = prefixes.clone();
                if state.listed.is_some() {
                    self.relist.notify_one();
                }
            }
            let complete = state.complete.as_ref() == Some(prefixes);
            let known = state.nodes.get(node).filter(|_| complete);
            known.map(|known| known.labels.clone())
        })
    }

    /// One event of the watch; the machines to wake.
    pub(super) fn take(&self, event: &watcher::Event<Node>) -> Vec<Key> {
        self.with(|state| match event {
            watcher::Event::Init => {
                state.listing = HashMap::new();
                state.listed = Some(state.wanted.clone());
                Vec::new()
            }
            watcher::Event::InitApply(node) => {
                if let Some(prefixes) = state.listed.as_ref().filter(|prefixes| !prefixes.is_empty()) {
                    state.listing.insert(node.name_any(), Known::of(node, prefixes));
                }
                Vec::new()
            }
            watcher::Event::InitDone => {
                state.nodes = std::mem::take(&mut state.listing);
                state.complete.clone_from(&state.listed);
                state.wake_all()
            }
            watcher::Event::Apply(node) => state.put(node).into_iter().collect(),
            watcher::Event::Delete(node) => {
                state.nodes.remove(&node.name_any());
                Vec::new()
            }
        })
    }

    /// The cluster ceased to answer; the machines to wake.
    pub(super) fn lost(&self) -> Vec<Key> {
        self.with(State::wake_all)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn wake_all(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.asking).into_values().collect()
    }

    /// Takes over a Node; the machine to wake if its labels are others than before.
    fn put(&mut self, node: &Node) -> Option<Key> {
        if self.wanted.is_empty() {
            return None;
        }
        let (name, now) = (node.name_any(), Known::of(node, &self.wanted));
        if let Some(known) = self.nodes.get_mut(&name) {
            // The answer to a change of ours overtakes what the watch had on its way.
            if known.version > now.version {
                return None;
            }
            if known.labels == now.labels {
                known.version = now.version;
                return None;
            }
        }
        self.nodes.insert(name.clone(), now);
        self.asking.remove(&name)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use metal3_capm3_core::label_sync::changes;

    use super::*;

    fn node(name: &str, version: u64, labels: &[(&str, &str)]) -> Node {
        let labels: HashMap<_, _> = labels.iter().copied().collect();
        serde_json::from_value(json!({
            "metadata": {"name": name, "resourceVersion": version.to_string(), "labels": labels},
        }))
        .unwrap()
    }

    fn prefixes(list: &str) -> Prefixes {
        Prefixes::read(list).0
    }

    fn machine(name: &str) -> Key {
        Key::new("ns", name)
    }

    /// What the Node of a machine with the same name has of `a.io` and `b.io`, in short.
    fn ask(index: &LabelIndex, name: &str, asked: &str) -> Option<Vec<String>> {
        let labels = index.ask(name, &machine(name), &prefixes(asked))?;
        // A host without labels: all that is kept would go.
        let all = changes(&Default::default(), &labels, &prefixes("a.io,b.io"));
        Some(all.into_keys().collect())
    }

    fn listed(index: &LabelIndex, nodes: &[Node]) -> Vec<Key> {
        index.take(&watcher::Event::Init);
        for node in nodes {
            index.take(&watcher::Event::InitApply(node.clone()));
        }
        index.take(&watcher::Event::InitDone)
    }

    fn applied(index: &LabelIndex, node: Node) -> Vec<Key> {
        index.take(&watcher::Event::Apply(node))
    }

    fn labels() -> [(&'static str, &'static str); 3] {
        [("a.io/x", "1"), ("b.io/y", "1"), ("other/z", "1")]
    }

    #[test]
    fn only_labels_that_somebody_asks_for_are_kept_and_for_others_the_nodes_are_listed_anew() {
        let index = LabelIndex::default();
        let nodes = [node("n", 5, &labels())];
        assert_eq!(listed(&index, &nodes), []);
        assert!(index.with(|state| state.nodes.is_empty()), "nobody asks yet");
        assert_eq!(ask(&index, "n", "a.io"), None);
        assert!(index.relist.notified().now_or_never().is_some());
        assert_eq!(listed(&index, &nodes), [machine("n")]);
        assert_eq!(ask(&index, "n", "a.io").unwrap(), ["a.io/x"]);
        assert!(index.relist.notified().now_or_never().is_none());

        // A listing that began before is not enough.
        index.take(&watcher::Event::Init);
        assert_eq!(ask(&index, "n", "b.io"), None);
        index.take(&watcher::Event::InitApply(nodes[0].clone()));
        assert_eq!(index.take(&watcher::Event::InitDone), [machine("n")]);
        assert_eq!(ask(&index, "n", "b.io"), None);
        assert!(index.relist.notified().now_or_never().is_some());
        listed(&index, &nodes);
        assert_eq!(ask(&index, "n", "b.io").unwrap(), ["b.io/y"]);
    }

    #[test]
    fn a_node_wakes_its_machine_when_labels_that_matter_change() {
        let index = LabelIndex::default();
        for name in ["n", "m"] {
            assert_eq!(ask(&index, name, "a.io"), None);
        }
        let woken = listed(&index, &[node("n", 5, &labels()), node("m", 5, &labels())]);
        assert_eq!(woken.len(), 2, "they waited for the cluster");
        for name in ["n", "m"] {
            assert!(ask(&index, name, "a.io").is_some());
        }
        let other = [("a.io/x", "1"), ("b.io/y", "2")];
        assert_eq!(applied(&index, node("n", 6, &other)), []);
        assert_eq!(applied(&index, node("n", 7, &[])), [machine("n")]);
        assert_eq!(
            applied(&index, node("n", 8, &other)),
            [],
            "it has not asked again"
        );
        ask(&index, "n", "a.io");
        index.take(&watcher::Event::Delete(node("n", 9, &other)));
        assert_eq!(ask(&index, "n", "a.io"), None);
        assert_eq!(applied(&index, node("n", 10, &other)), [machine("n")]);
        assert_eq!(index.lost(), [machine("m")]);
    }

    #[test]
    fn what_was_under_way_before_our_own_change_does_not_undo_it_in_memory() {
        let index = LabelIndex::default();
        ask(&index, "n", "a.io");
        listed(&index, &[node("n", 5, &[])]);
        ask(&index, "n", "a.io");
        applied(&index, node("n", 7, &labels()));
        assert_eq!(applied(&index, node("n", 6, &[])), []);
        assert_eq!(ask(&index, "n", "a.io").unwrap(), ["a.io/x"]);
    }
}
