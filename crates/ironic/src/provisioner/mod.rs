//! The adapter: each operation looks at the node's state and takes the one step that leads on.

mod adopt;
mod config_drive;
mod deprovision;
mod drive;
mod hints;
mod image;
mod inspect;
mod inventory;
mod patch;
mod ports;
mod power;
mod prepare;
mod provision;
mod raid;
mod register;
mod remove;
mod service;
#[doc(hidden)]
pub mod untrusted;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use metal3_provisioner::{
    AdoptArgs, Capacity, CapacityArgs, DeprovisionArgs, DetachArgs, Error, Force, Hardware, HostKey, HostRef,
    InspectArgs, Inspection, Outcome, PowerArgs, PrepareArgs, ProvisionArgs, Provisioner, RegisterArgs,
    Registration, ServiceArgs,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::capacity::{QueueState, Slots};
use crate::client::{Client, SetupError};
use crate::mirror::Mirror;
use crate::orphans::{Known, Orphan, Orphans};
use crate::{Settings, Target};

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
    /// Nodes that Ironic did not let us give new credentials yet.
    unwritten: Mutex<HashSet<String>>,
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
                unwritten: Mutex::default(),
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
        let reading = Arc::clone(&self.mirror).run(Arc::clone(&self.client), shutdown, then);
        let Some(mut target) = self.told() else {
            return reading.await;
        };
        let hurrying = async {
            while target.changed().await.is_ok() {
                self.mirror.hurry();
            }
            std::future::pending().await
        };
        tokio::select! {
            () = reading => {}
            () = hurrying => {}
        }
    }

    /// Where Ironic is, if that is told while we run.
    pub fn told(&self) -> Option<watch::Receiver<Target>> {
        self.settings.target.clone()
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

    /// Told each time that they are others.
    pub fn orphan_changes(&self) -> watch::Receiver<()> {
        self.orphans.changed()
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

    fn asked(&self) -> MutexGuard<'_, HashMap<String, Option<String>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn configured(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwritten(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            power_fault: node.fault.as_deref() == Some(drive::POWER_FAILURE),
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
