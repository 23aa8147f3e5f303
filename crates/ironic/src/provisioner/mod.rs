//! The adapter: each operation looks at the node's state and takes the one step that leads on.

mod adopt;
mod config_drive;
mod deprovision;
mod hints;
mod inspect;
mod inventory;
mod patch;
mod ports;
mod power;
mod prepare;
mod provision;
mod register;
mod remove;
mod service;
#[doc(hidden)]
pub mod untrusted;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use metal3_provisioner::{
    AdoptArgs, Capacity, CapacityArgs, DeprovisionArgs, DetachArgs, Error, Force, Hardware, HostKey, HostRef,
    InspectArgs, Inspection, Kind, Outcome, PowerArgs, PrepareArgs, ProvisionArgs, Provisioner, RegisterArgs,
    Registration, ServiceArgs, WaitReason,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Settings;
use crate::capacity::{QueueState, Slots};
use crate::client::{Accepted, Client, Node, SetupError};
use crate::mirror::Mirror;
use crate::orphans::{Known, Orphan, Orphans};

/// The mirror wakes a host when its node changes; these only bound what a lost wake-up costs.
const SHORT: SignedDuration = SignedDuration::from_secs(5);
const LONG: SignedDuration = SignedDuration::from_secs(20);

/// Drives hosts through one Ironic.
pub struct IronicProvisioner {
    client: Arc<Client>,
    mirror: Arc<Mirror>,
    slots: Slots,
    orphans: Orphans,
    settings: Settings,
    /// What was last configured on each node, so that an unchanged registration costs nothing.
    configured: Mutex<HashMap<String, u64>>,
    /// Power changes asked for and not seen done, with the node's error of before.
    asked: Mutex<HashMap<String, Option<String>>>,
}

impl IronicProvisioner {
    /// An adapter, and the hosts whose nodes change.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(settings: Settings) -> Result<(Arc<Self>, mpsc::Receiver<HostKey>), SetupError> {
        let client = Arc::new(Client::new(&settings)?);
        let (mirror, changes) = Mirror::new();
        Ok((
            Arc::new(Self {
                client,
                mirror,
                slots: Slots::new(settings.provisioning_limit),
                orphans: Orphans::new(settings.orphan_grace),
                settings,
                configured: Mutex::default(),
                asked: Mutex::default(),
            }),
            changes,
        ))
    }

    /// Reads the node list for ever.
    pub async fn mirror(self: Arc<Self>, shutdown: CancellationToken) {
        let then = || {
            self.slots.settle(&self.client, &self.mirror);
            self.orphans.look(&self.mirror);
        };
        Arc::clone(&self.mirror)
            .run(Arc::clone(&self.client), shutdown, then)
            .await;
    }

    /// Says once how to find out whether there is a host. Nodes that look like hosts of others are left out: of a
    /// namespace that is not watched, or while hosts are not known yet, the answer must be yes.
    pub fn set_known(&self, known: Known) {
        self.slots.set_known(Arc::clone(&known));
        self.orphans.set_known(known);
    }

    /// Hosts that waited for room before we began, so that they keep their place.
    pub fn expect_waiting(&self, hosts: impl IntoIterator<Item = (HostKey, Timestamp)>) {
        self.slots.expect(hosts);
    }

    /// Nodes of hosts that do not exist.
    pub fn orphans(&self) -> Vec<Orphan> {
        self.orphans.all()
    }

    /// Whether this node is one of them.
    pub fn is_orphan(&self, node: &str) -> bool {
        self.orphans.has(node)
    }

    /// The queue of hosts that wait for room, for metrics.
    pub fn queue(&self) -> QueueState {
        self.slots.state()
    }

    /// All nodes as last read, for metrics.
    pub fn nodes(&self) -> &Mirror {
        &self.mirror
    }

    /// The HTTP client, for its statistics.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The node as the mirror knows it, or as Ironic tells.
    async fn node(&self, id: &str) -> Result<Option<Arc<Node>>, Error> {
        match self.mirror.node(id) {
            Some(node) => Ok(Some(node)),
            None => Ok(self.full(id).await?.map(Arc::new)),
        }
    }

    /// The whole node, from Ironic.
    async fn full(&self, id: &str) -> Result<Option<Node>, Error> {
        let as_of = Instant::now();
        let node = self.client.node(id).await?;
        if let Some(node) = &node {
            self.mirror.seen(node, as_of);
        }
        Ok(node)
    }

    /// The node of a host that was registered.
    async fn registered(&self, host: &HostRef) -> Result<Arc<Node>, Error> {
        let id = host.node.as_ref().ok_or_else(|| not_registered(host))?;
        self.node(&id.0).await?.ok_or_else(|| not_registered(host))
    }

    /// The same, whole and fresh: before changes that depend on more than the mirror holds, and destructive ones.
    async fn registered_full(&self, host: &HostRef) -> Result<Node, Error> {
        let id = host.node.as_ref().ok_or_else(|| not_registered(host))?;
        self.full(&id.0).await?.ok_or_else(|| not_registered(host))
    }

    /// Asks for a provision state of a node that was just read. A fault or a forgotten maintenance comes first: Ironic would refuse.
    async fn verb(&self, node: &Node, body: &Value, reason: WaitReason) -> Result<Outcome, Error> {
        if node.fault.as_deref().is_some_and(|fault| !fault.is_empty()) {
            return Ok(Outcome::working(WaitReason::NodeFault, LONG));
        }
        if node.maintenance {
            return self.clear_maintenance(node).await;
        }
        let answer = self.client.provision_state(&node.uuid, body).await;
        self.mirror.wrote(&node.uuid);
        settle(answer?, node, "change the provision state of", || {
            Outcome::working(reason, SHORT).started()
        })
    }

    /// The same for a node as the mirror knows it. It is read once more: maintenance that somebody set meanwhile would
    /// stop what begins now for ever, because Ironic does not listen to a ramdisk then.
    async fn target(&self, node: &Node, target: &str, reason: WaitReason) -> Result<Outcome, Error> {
        match self.full(&node.uuid).await? {
            Some(fresh) if fresh.provision_state == node.provision_state => {
                self.verb(&fresh, &json!({"target": target}), reason).await
            }
            // It moved on: look again.
            Some(_) => Ok(again()),
            None => Err(gone(&node.uuid)),
        }
    }

    async fn clear_maintenance(&self, node: &Node) -> Result<Outcome, Error> {
        let answer = self.client.maintenance(&node.uuid, None).await;
        self.mirror.wrote(&node.uuid);
        settle(answer?, node, "end the maintenance of", again)
    }

    /// Applies a patch if it says anything; `Err` is the wait for a locked node.
    async fn patched(&self, node: Node, patch: &[Value]) -> Result<Result<Node, Outcome>, Error> {
        if patch.is_empty() {
            return Ok(Ok(node));
        }
        let answer = self.client.patch_node(&node.uuid, patch).await;
        self.mirror.wrote(&node.uuid);
        match answer? {
            Ok(node) => Ok(Ok(node)),
            Err(refusal) if refusal.is_conflict() => Ok(Err(locked())),
            Err(refusal) => Err(refusal.into_error(&format!("the settings of node {}", node.uuid))),
        }
    }

    /// The node is gone.
    fn forget(&self, uuid: &str) {
        self.configured().remove(uuid);
        self.asked().remove(uuid);
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<String>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn configured(&self) -> std::sync::MutexGuard<'_, HashMap<String, u64>> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locked nodes are waited for; other refusals are errors.
fn settle(
    answer: Accepted,
    node: &Node,
    what: &str,
    accepted: impl FnOnce() -> Outcome,
) -> Result<Outcome, Error> {
    match answer {
        Ok(()) => Ok(accepted()),
        Err(refusal) if refusal.is_conflict() => Ok(locked()),
        // The node is not where we thought: look again.
        Err(refusal) if refusal.status() == StatusCode::BAD_REQUEST => Err(Error::new(
            Kind::Transient,
            "wrong_state",
            format!(
                "Ironic refused to {what} node {} in state {}: {}",
                node.uuid,
                node.provision_state,
                refusal.message()
            ),
        )),
        Err(refusal) => Err(refusal.into_error(&format!("node {}", node.uuid))),
    }
}

const fn locked() -> Outcome {
    Outcome::working(WaitReason::NodeLocked, SHORT)
}

/// Something was changed that takes effect at once: go on soon.
const fn again() -> Outcome {
    Outcome::working(WaitReason::BackendTransition, SignedDuration::ZERO)
}

fn not_registered(host: &HostRef) -> Error {
    Error::new(
        Kind::NotRegistered,
        "not_registered",
        format!("host {} is not known to Ironic", host.key),
    )
}

fn gone(node: &str) -> Error {
    Error::new(
        Kind::NotRegistered,
        "not_registered",
        format!("node {node} is not known to Ironic any more"),
    )
}

fn unexpected(node: &Node, doing: &str) -> Error {
    Error::new(
        Kind::Transient,
        "unexpected_state",
        format!(
            "node {} is in state {:?}, unexpected while {doing}",
            node.uuid, node.provision_state
        ),
    )
}

fn error_or(node: &Node, fallback: &str) -> String {
    node.error().unwrap_or(fallback).to_owned()
}

#[async_trait]
impl Provisioner for IronicProvisioner {
    async fn register(&self, host: &HostRef, args: &RegisterArgs) -> Result<Registration, Error> {
        register::register(self, host, args).await
    }

    async fn inspect(&self, host: &HostRef, args: &InspectArgs) -> Result<Inspection, Error> {
        inspect::inspect(self, host, args).await
    }

    async fn adopt(&self, host: &HostRef, args: &AdoptArgs) -> Result<Outcome, Error> {
        adopt::adopt(self, host, args).await
    }

    async fn prepare(&self, host: &HostRef, args: &PrepareArgs) -> Result<Outcome, Error> {
        prepare::prepare(self, host, args).await
    }

    async fn provision(&self, host: &HostRef, args: &ProvisionArgs) -> Result<Outcome, Error> {
        provision::provision(self, host, args).await
    }

    async fn deprovision(&self, host: &HostRef, args: &DeprovisionArgs) -> Result<Outcome, Error> {
        deprovision::deprovision(self, host, args).await
    }

    async fn delete(&self, host: &HostRef) -> Result<Outcome, Error> {
        remove::remove(self, host, Force::No).await
    }

    async fn detach(&self, host: &HostRef, args: &DetachArgs) -> Result<Outcome, Error> {
        remove::remove(self, host, args.force).await
    }

    async fn hardware(&self, host: &HostRef) -> Result<Hardware, Error> {
        let node = self.registered(host).await?;
        Ok(Hardware {
            powered_on: match node.power_state.as_deref() {
                Some("power on") => Some(true),
                Some("power off") => Some(false),
                Some(_) | None => None,
            },
            power_fault: node.fault.as_deref() == Some("power failure"),
            health: node.health.clone(),
        })
    }

    async fn set_power(&self, host: &HostRef, args: &PowerArgs) -> Result<Outcome, Error> {
        power::set_power(self, host, args).await
    }

    async fn service(&self, host: &HostRef, args: &ServiceArgs) -> Result<Outcome, Error> {
        service::service(self, host, args).await
    }

    async fn capacity(&self, host: &HostRef, args: &CapacityArgs) -> Result<Capacity, Error> {
        self.slots.ask(&self.client, &self.mirror, host, args).await
    }
}
