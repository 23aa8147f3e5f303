//! The machine behind a BMC. It outlives its node: Ironic may lose its database, the machine runs on.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::actions::Recent;

/// What lies on the disk after a deployment.
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    /// URL of the image; `custom` for a custom deployment without one.
    pub image: String,
    /// What Ironic was told of the image.
    pub image_info: Map<String, Value>,
    /// The config drive as it was sent: an object, or a text with a compressed ISO.
    pub configdrive: Value,
}

/// What runs on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Running {
    /// Nothing.
    Off,
    /// Ironic's ramdisk.
    Agent,
    /// What the disk holds.
    Instance,
    /// A live ISO.
    LiveIso,
    /// Nothing that could be booted.
    NoBootSource,
}

/// How many changes are remembered of each machine.
const HISTORY: usize = 50;

/// A machine.
#[derive(Debug)]
pub(crate) struct Server {
    /// Deterministic identity, made from the BMC address.
    pub(crate) identity: Uuid,
    /// What is observed in it.
    pub(crate) running: Running,
    /// The disk, if something was deployed.
    pub(crate) disk: Option<Disk>,
    /// URL of the live ISO in its drive.
    pub(crate) live_iso: Option<String>,
    /// URL of other virtual media in its drive.
    pub(crate) media: Option<String>,
    /// How often it was switched on or reset.
    pub(crate) boots: u64,
    /// BIOS settings that were changed, and when.
    pub(crate) bios: BTreeMap<String, (String, Timestamp)>,
    /// Firmware that was updated: its version, and when.
    pub(crate) firmware: BTreeMap<String, (String, Timestamp)>,
    /// Event subscriptions by their identifiers.
    pub(crate) subscriptions: BTreeMap<String, Value>,
    /// What was done to it.
    pub(crate) actions: Recent,
    /// The last changes.
    pub(crate) history: VecDeque<(Timestamp, Running)>,
}

impl Server {
    /// The machine at a BMC address; switched off.
    pub(crate) fn new(address: &str) -> Self {
        Self {
            identity: Uuid::new_v5(&Uuid::NAMESPACE_URL, address.as_bytes()),
            running: Running::Off,
            disk: None,
            live_iso: None,
            media: None,
            boots: 0,
            bios: BTreeMap::new(),
            firmware: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            actions: Recent::default(),
            history: VecDeque::new(),
        }
    }

    /// Switched on.
    pub(crate) fn is_on(&self) -> bool {
        self.running != Running::Off
    }

    /// Switches it off.
    pub(crate) fn off(&mut self, at: Timestamp) {
        self.change(Running::Off, at);
    }

    /// Boots Ironic's ramdisk.
    pub(crate) fn boot_agent(&mut self, at: Timestamp) {
        self.boots += 1;
        self.change(Running::Agent, at);
    }

    /// Boots what is there.
    pub(crate) fn boot(&mut self, at: Timestamp) {
        self.boots += 1;
        let running = match (&self.live_iso, &self.disk) {
            (Some(_), _) => Running::LiveIso,
            (None, Some(_)) => Running::Instance,
            (None, None) => Running::NoBootSource,
        };
        self.change(running, at);
    }

    fn change(&mut self, running: Running, at: Timestamp) {
        self.running = running;
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((at, running));
    }
}
