//! The Nodes of one workload cluster in memory, and the machines that wait for one of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use metal3_api::names;
use metal3_capm3_core::machine::NodeAnswer;
use metal3_capm3_core::node::{Mark, NodeFacts, NodeIndex, NodeQuery};
use tokio::sync::watch;
use tokio::time::Instant;

use super::labels::LabelIndex;
use crate::objects::Key;

const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// How well the cluster is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Nothing was heard yet.
    Connecting,
    /// All Nodes are known.
    Synced,
    /// It does not answer; why.
    Failing(String),
}

struct State {
    nodes: NodeIndex,
    listing: NodeIndex,
    waiting: Waiting,
    client: Option<Client>,
    failing: Option<Instant>,
}

/// The machines that wait, found by what their Nodes will have.
#[derive(Default)]
struct Waiting {
    marks: HashMap<Key, Vec<Mark>>,
    by_mark: HashMap<Mark, BTreeSet<Key>>,
}

impl Waiting {
    fn add(&mut self, machine: &Key, query: &NodeQuery) {
        self.remove(machine);
        let marks = query.marks();
        for mark in &marks {
            self.by_mark
                .entry(mark.clone())
                .or_default()
                .insert(machine.clone());
        }
        self.marks.insert(machine.clone(), marks);
    }

    fn remove(&mut self, machine: &Key) {
        for mark in self.marks.remove(machine).into_iter().flatten() {
            if let Some(machines) = self.by_mark.get_mut(&mark) {
                machines.remove(machine);
                if machines.is_empty() {
                    self.by_mark.remove(&mark);
                }
            }
        }
    }

    /// The machines for which a Node matters; they ask again, and so enter the list again if they must.
    fn pop(&mut self, node: &NodeFacts) -> Vec<Key> {
        let marks = node.marks();
        let concerned = marks.iter().filter_map(|mark| self.by_mark.get(mark)).flatten();
        let concerned: BTreeSet<Key> = concerned.cloned().collect();
        for machine in &concerned {
            self.remove(machine);
        }
        concerned.into_iter().collect()
    }
}

/// What is known about a cluster.
pub(super) struct Nodes {
    state: Mutex<State>,
    health: watch::Sender<Health>,
    /// When somebody asked last.
    asked: watch::Sender<Instant>,
    /// What label sync needs of them.
    pub(super) labels: LabelIndex,
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                nodes: NodeIndex::default(),
                listing: NodeIndex::default(),
                waiting: Waiting::default(),
                client: None,
                failing: None,
            }),
            health: watch::Sender::new(Health::Connecting),
            asked: watch::Sender::new(Instant::now()),
            labels: LabelIndex::default(),
        }
    }

    /// The Nodes that match; the machine is woken when a matching one appears or changes. A cluster that was just met
    /// gets `patience` to answer, one that fails gets none.
    pub(super) async fn find(&self, machine: &Key, query: &NodeQuery, patience: Duration) -> NodeAnswer {
        self.asked.send_replace(Instant::now());
        self.with(|state| state.waiting.add(machine, query));
        let mut health = self.health.subscribe();
        let settled = health.wait_for(|health| *health != Health::Connecting);
        let health = match tokio::time::timeout(patience, settled).await {
            Ok(Ok(health)) => health.clone(),
            Ok(Err(_)) | Err(_) => Health::Connecting,
        };
        match health {
            Health::Synced => NodeAnswer::Found(self.with(|state| state.nodes.find(query))),
            Health::Connecting => NodeAnswer::Unreachable("it has not answered yet".into()),
            Health::Failing(error) => NodeAnswer::Unreachable(error),
        }
    }

    /// A client of the cluster, if it answered when it was last heard of; the error, if not.
    pub(super) async fn connection(&self, patience: Duration) -> Result<Client, String> {
        self.asked.send_replace(Instant::now());
        let mut health = self.health.subscribe();
        let settled = health.wait_for(|health| *health != Health::Connecting);
        let failing = match tokio::time::timeout(patience, settled).await {
            Ok(Ok(health)) => match &*health {
                Health::Failing(error) => Some(error.clone()),
                Health::Connecting | Health::Synced => None,
            },
            Ok(Err(_)) | Err(_) => None,
        };
        match failing {
            Some(error) => Err(error),
            None => self.client().ok_or_else(|| "it has not answered yet".to_owned()),
        }
    }

    pub(super) fn client(&self) -> Option<Client> {
        self.with(|state| state.client.clone())
    }

    pub(super) fn connected(&self, client: Client) {
        self.with(|state| state.client = Some(client));
    }

    /// How well the cluster is known now, and since when it fails if it does.
    pub(super) fn health(&self) -> (Health, Duration) {
        let health = self.health.borrow().clone();
        self.asked.send_replace(Instant::now());
        let failing = self.with(|state| state.failing);
        (health, failing.map_or(Duration::ZERO, |since| since.elapsed()))
    }

    /// The cluster does not answer. Tells whether that is news.
    pub(super) fn failing(&self, error: String) -> bool {
        let news = self.with(|state| {
            let news = state.failing.is_none();
            state.failing.get_or_insert_with(Instant::now);
            news
        });
        self.health.send_replace(Health::Failing(error));
        news
    }

    /// Nobody asked for this long.
    pub(super) fn idle(&self) -> Duration {
        self.asked.borrow().elapsed()
    }

    /// Waits until somebody asks, at `due` or later.
    pub(super) async fn asked_since(&self, due: Instant) {
        // Fails only when the sender is gone, which is borrowed.
        let _ = self.asked.subscribe().wait_for(|asked| *asked >= due).await;
    }

    /// One event of the watch; the machines to wake.
    pub(super) fn take(&self, event: watcher::Event<Node>) -> Vec<Key> {
        let complete = matches!(event, watcher::Event::InitDone);
        let woken = self.with(|state| match event {
            watcher::Event::Init => {
                state.listing = NodeIndex::default();
                Vec::new()
            }
            watcher::Event::InitApply(node) => {
                state.listing.put(facts(&node));
                Vec::new()
            }
            watcher::Event::InitDone => {
                state.nodes = std::mem::take(&mut state.listing);
                // Some may have waited for the cluster itself to answer.
                let waiting = std::mem::take(&mut state.waiting);
                state.failing = None;
                waiting.marks.into_keys().collect()
            }
            watcher::Event::Apply(node) => {
                let facts = facts(&node);
                // Nodes report their health all the time; that wakes nobody.
                if state.nodes.get(&facts.name) == Some(&facts) {
                    return Vec::new();
                }
                let before = state.nodes.put(facts.clone());
                // A Node that is no longer what it was may have stood in the way.
                let left = before.map(|before| state.waiting.pop(&before));
                let mut woken = state.waiting.pop(&facts);
                woken.extend(left.into_iter().flatten());
                woken
            }
            watcher::Event::Delete(node) => match state.nodes.remove(&node.name_any()) {
                Some(facts) => state.waiting.pop(&facts),
                None => Vec::new(),
            },
        });
        if complete {
            self.health.send_replace(Health::Synced);
        }
        woken
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn facts(node: &Node) -> NodeFacts {
    let label = |key: &str| node.labels().get(key).cloned().unwrap_or_default();
    NodeFacts {
        name: node.name_any(),
        provider_id: node
            .spec
            .as_ref()
            .and_then(|spec| spec.provider_id.clone())
            .unwrap_or_default(),
        host_uid: label(names::LABEL_NODE_UUID),
        hostname: label(HOSTNAME_LABEL),
    }
}

#[cfg(test)]
mod tests {
    use metal3_capm3_core::node::NodeMatches;
    use serde_json::json;

    use super::*;

    fn node(name: &str, provider_id: &str, host_uid: &str, ready: bool) -> Node {
        let object = json!({
            "metadata": {"name": name, "labels": {names::LABEL_NODE_UUID: host_uid, HOSTNAME_LABEL: name}},
            "spec": {"providerID": provider_id},
            "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        serde_json::from_value(object).unwrap()
    }

    fn query(machine: &str) -> NodeQuery {
        NodeQuery {
            namespace: "ns".into(),
            cluster: "c".into(),
            provider_id: format!("metal3://ns/h/{machine}"),
            host_uid: format!("uid-{machine}"),
            hostnames: vec![],
        }
    }

    fn listed(nodes: &Nodes, all: Vec<Node>) -> Vec<Key> {
        nodes.take(watcher::Event::Init);
        for node in all {
            nodes.take(watcher::Event::InitApply(node));
        }
        nodes.take(watcher::Event::InitDone)
    }

    #[tokio::test]
    async fn only_a_cluster_that_was_just_met_is_waited_for() {
        let (nodes, machine) = (Nodes::new(), Key::new("ns", "m"));
        let answer = nodes.find(&machine, &query("m"), Duration::from_millis(1)).await;
        assert!(matches!(answer, NodeAnswer::Unreachable(_)));
        let for_ever = Duration::MAX;
        nodes.failing("refused".into());
        assert_eq!(
            nodes.find(&machine, &query("m"), for_ever).await,
            NodeAnswer::Unreachable("refused".into())
        );
        let woken = listed(&nodes, vec![]);
        assert_eq!(woken, [Key::new("ns", "m")], "it waited for the cluster");
        let found = nodes.find(&machine, &query("m"), for_ever).await;
        assert_eq!(found, NodeAnswer::Found(NodeMatches::default()));
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_asks_late_enough_is_a_reason_to_look_whether_the_cluster_is_elsewhere() {
        let (nodes, machine) = (Nodes::new(), Key::new("ns", "m"));
        let due = Instant::now() + Duration::from_mins(1);
        nodes.failing("refused".into());
        nodes.find(&machine, &query("m"), Duration::ZERO).await;
        let an_hour = Duration::from_hours(1);
        let early = tokio::time::timeout(an_hour, nodes.asked_since(due)).await;
        assert!(early.is_err(), "nobody has asked since");
        nodes.find(&machine, &query("m"), Duration::ZERO).await;
        nodes.asked_since(due).await;
    }

    #[tokio::test]
    async fn a_node_wakes_only_the_machine_it_belongs_to() {
        let nodes = Nodes::new();
        listed(&nodes, vec![node("other", "", "uid-x", true)]);
        for machine in ["m", "n"] {
            nodes
                .find(&Key::new("ns", machine), &query(machine), Duration::ZERO)
                .await;
        }
        let apply = |node| nodes.take(watcher::Event::Apply(node));
        assert_eq!(apply(node("a", "", "uid-m", false)), [Key::new("ns", "m")]);
        assert_eq!(
            apply(node("a", "", "uid-m", true)),
            [],
            "its health is nobody's business"
        );
        let answer = nodes
            .find(&Key::new("ns", "m"), &query("m"), Duration::ZERO)
            .await;
        let NodeAnswer::Found(found) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(found.by_uid.len(), 1);
        assert_eq!(
            nodes.take(watcher::Event::Delete(node("a", "", "uid-m", true))),
            [Key::new("ns", "m")]
        );
    }
}
