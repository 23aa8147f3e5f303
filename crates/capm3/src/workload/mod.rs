//! Workload clusters: which Nodes they have, setting the provider ID of one, what remediation does to one (`care.rs`) and
//! which labels they have (`labels.rs`).
//!
//! One watch of Nodes per cluster, begun when a machine first asks and ended when none does any more. Questions are
//! answered from memory, so a cluster that does not answer never holds up the machines of another.

mod care;
mod kubeconfig;
mod labels;
mod nodes;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::TryStreamExt as _;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use metal3_api::names;
use metal3_capm3_core::machine::NodeAnswer;
use metal3_capm3_core::node::NodeQuery;
use metal3_capm3_core::remediation::NodeName;
use metal3_kit::backoff::Backoff;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::objects::Key;
use crate::wake::Wakes;
pub(crate) use labels::{Labelled, Relabelled};
use nodes::Nodes;

const USER_AGENT: &str = concat!("metal3-capm3/", env!("CARGO_PKG_VERSION"));
/// How long the first question to a cluster may wait for the first listing.
const PATIENCE: Duration = Duration::from_secs(2);
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// A cluster that comes up is met within this time.
const LONGEST_DELAY: Duration = Duration::from_secs(15);
/// How old the last look at the Secret of a cluster that answers may be when somebody asks about its Nodes.
const LOOK_INTERVAL: Duration = Duration::from_mins(1);
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// A watch that nobody asked for this long is ended.
const IDLE: Duration = Duration::from_mins(10);
/// Whoever wants to be woken for longer than that asks again in this interval.
pub(crate) const INTEREST: SignedDuration = SignedDuration::from_mins(4);

/// The workload clusters; cheap to share.
#[derive(Clone)]
pub(crate) struct Workloads {
    management: Client,
    wakes: Wakes,
    clusters: Arc<Mutex<HashMap<Key, Workload>>>,
}

struct Workload {
    nodes: Arc<Nodes>,
    /// Ends the watch when the entry goes.
    _task: AbortOnDropHandle<()>,
}

impl Workloads {
    pub(crate) fn new(management: Client, wakes: Wakes) -> Self {
        Self {
            management,
            wakes,
            clusters: Arc::default(),
        }
    }

    /// Looks for the Node of a machine.
    pub(crate) async fn nodes(&self, machine: &Key, query: &NodeQuery) -> NodeAnswer {
        let nodes = self.of(query);
        nodes.find(machine, query, PATIENCE).await
    }

    /// Sets provider ID and host label of a Node; the error, if it failed.
    pub(crate) async fn link(&self, node: &str, query: &NodeQuery) -> Option<String> {
        let nodes = self.of(query);
        let Some(client) = nodes.client() else {
            return Some("the workload cluster has not answered yet".into());
        };
        let mut patch = json!({"spec": {"providerID": query.provider_id}});
        if !query.host_uid.is_empty() {
            patch["metadata"]["labels"] = json!({names::LABEL_NODE_UUID: query.host_uid});
        }
        let api: Api<Node> = Api::all(client);
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        match tokio::time::timeout(CALL_DEADLINE, api.patch(node, &params, &patch)).await {
            Ok(Ok(linked)) => {
                // The next pass must not wait for the watch to learn of it.
                self.took(&nodes, watcher::Event::Apply(linked));
                tracing::info!(cluster = %cluster(query), node, provider_id = query.provider_id, "node linked");
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(no_answer()),
        }
    }

    /// Ends watches that nobody needs any more, until shutdown.
    pub(crate) async fn sweep(self, shutdown: CancellationToken) -> Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SWEEP_INTERVAL) => {}
                () = shutdown.cancelled() => break,
            }
            self.lock().retain(|_, workload| workload.nodes.idle() < IDLE);
        }
        self.lock().clear();
        Ok(())
    }

    fn took(&self, nodes: &Nodes, event: watcher::Event<Node>) {
        take(nodes, &self.wakes, event);
    }

    fn of(&self, query: &NodeQuery) -> Arc<Nodes> {
        self.of_cluster(cluster(query))
    }

    fn of_cluster(&self, key: Key) -> Arc<Nodes> {
        let mut clusters = self.lock();
        if let Some(workload) = clusters.get(&key) {
            return Arc::clone(&workload.nodes);
        }
        let nodes = Arc::new(Nodes::new());
        let watch = Follower {
            cluster: key.clone(),
            management: self.management.clone(),
            wakes: self.wakes.clone(),
            nodes: Arc::clone(&nodes),
        };
        let workload = Workload {
            nodes: Arc::clone(&nodes),
            _task: AbortOnDropHandle::new(tokio::spawn(watch.run())),
        };
        clusters.insert(key, workload);
        nodes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Workload>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event of a cluster's watch: remembered first, then told.
fn take(nodes: &Nodes, wakes: &Wakes, event: watcher::Event<Node>) {
    let labelled = nodes.labels.take(&event);
    for machine in nodes.take(event) {
        wakes.machine(machine);
    }
    for machine in labelled {
        wakes.labels(machine);
    }
}

fn cluster(query: &NodeQuery) -> Key {
    Key::new(&query.namespace, &query.cluster)
}

fn key(node: &NodeName) -> Key {
    Key::new(&node.namespace, &node.cluster)
}

fn no_answer() -> String {
    format!("no answer within {} s", CALL_DEADLINE.as_secs())
}

/// Follows the Nodes of one cluster for ever.
struct Follower {
    cluster: Key,
    management: Client,
    wakes: Wakes,
    nodes: Arc<Nodes>,
}

impl Follower {
    async fn run(self) {
        let backoff = Backoff::default();
        loop {
            let error = match self.connect().await {
                Ok((version, client)) => self.follow(&version, client, &backoff).await,
                Err(error) => error,
            };
            let delay = backoff.next((), rand::random()).min(LONGEST_DELAY);
            tracing::info!(cluster = %self.cluster, %error, ?delay, "workload cluster does not answer");
            if self.nodes.failing(error) {
                for machine in self.nodes.labels.lost() {
                    self.wakes.labels(machine);
                }
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Reads the Secret anew: it may have changed, which is why the cluster failed.
    async fn connect(&self) -> Result<(String, Client), String> {
        let connect = async {
            let secret = kubeconfig::read(&self.management, &self.cluster).await?;
            let client = kubeconfig::client(&self.cluster, &secret, USER_AGENT).await?;
            Ok((secret.resource_version().unwrap_or_default(), client))
        };
        match tokio::time::timeout(CALL_DEADLINE, connect).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(problem)) => {
                let problem: kubeconfig::Problem = problem;
                Err(problem.to_string())
            }
            Err(_) => Err(format!("the management cluster: {}", no_answer())),
        }
    }

    /// Follows until the cluster fails or its Secret changed; why.
    async fn follow(&self, version: &str, client: Client, backoff: &Backoff<()>) -> String {
        self.nodes.connected(client.clone());
        let watch = || watcher(Api::<Node>::all(client.clone()), watcher::Config::default());
        let mut events = pin!(watch());
        let mut complete = false;
        let mut looked = Instant::now();
        loop {
            let event = tokio::select! {
                event = events.try_next() => event,
                // Until the first listing is complete, silence means that nobody is there. Later the watcher notices.
                () = tokio::time::sleep(CALL_DEADLINE), if !complete => return no_answer(),
                () = self.nodes.labels.relist.notified() => {
                    events.set(watch());
                    complete = false;
                    continue;
                }
                () = self.nodes.asked_since(looked + LOOK_INTERVAL) => {
                    if self.secret_changed(version).await {
                        return "its kubeconfig changed".into();
                    }
                    looked = Instant::now();
                    continue;
                }
            };
            match event {
                Ok(Some(event)) => {
                    if matches!(event, watcher::Event::InitDone) {
                        complete = true;
                        backoff.forget(&());
                        tracing::info!(cluster = %self.cluster, "nodes of the workload cluster are followed");
                    }
                    take(&self.nodes, &self.wakes, event);
                }
                Ok(None) => return "the watch of Nodes ended".into(),
                Err(error) => return error.to_string(),
            }
        }
    }

    /// A new kubeconfig may lead elsewhere while the old connection still works.
    async fn secret_changed(&self, known: &str) -> bool {
        let read = kubeconfig::read(&self.management, &self.cluster);
        match tokio::time::timeout(CALL_DEADLINE, read).await {
            Ok(Ok(secret)) => secret.resource_version().as_deref() != Some(known),
            // Not knowing is no reason to leave a cluster that answers.
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
