//! What a booted server does: it joins its cluster as its config drive says. The cluster is real (kube-apiserver and
//! etcd of the test bed); only kubelet and kubeadm are played.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio_util::sync::CancellationToken;

use crate::bed::Bed;
use crate::config_drive::{Boot, ConfigDrive};
use crate::hardware::{Booted, Hardware};
use crate::progress::Progress;

/// One workload cluster that servers join.
#[derive(Clone, Debug)]
pub struct Target {
    /// Namespace of the Cluster.
    pub namespace: String,
    /// Name of the Cluster.
    pub cluster: String,
    /// Address of its API server.
    pub host: String,
    /// Port of its API server.
    pub port: u16,
    /// Kubernetes version of its nodes.
    pub version: String,
}

/// Nodes that do not come back, whatever is done to their server.
#[derive(Clone, Debug, Default)]
pub struct Broken(Arc<Mutex<BTreeSet<String>>>);

impl Broken {
    /// From its next boot on, this Node does not come up.
    pub fn add(&self, node: &str) {
        self.nodes().insert(node.to_owned());
    }

    fn has(&self, node: &str) -> bool {
        self.nodes().contains(node)
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What plays the servers of one workload cluster.
pub struct Player {
    bed: Bed,
    hardware: Hardware,
    target: Target,
    progress: Arc<Progress>,
    broken: Broken,
    joined: BTreeMap<String, Joined>,
}

/// A server that was installed and joined.
struct Joined {
    drive: ConfigDrive,
    node: String,
    /// Of the server, when it was last seen to run. It may have gone off and on between two looks.
    boots: u64,
    runs: bool,
}

impl Joined {
    fn of(server: Booted) -> Result<Self> {
        Ok(Self {
            node: server.drive.boot()?.node,
            drive: server.drive,
            boots: server.boots,
            runs: true,
        })
    }
}

impl Player {
    /// Of servers that did not join yet.
    pub fn new(bed: &Bed, hardware: &Hardware, target: Target, progress: &Arc<Progress>) -> Self {
        Self {
            bed: bed.clone(),
            hardware: hardware.clone(),
            target,
            progress: Arc::clone(progress),
            broken: Broken::default(),
            joined: BTreeMap::new(),
        }
    }

    /// Of a cluster that another process has played so far: what runs now has joined.
    ///
    /// # Errors
    /// When a config drive is not what it should be.
    pub async fn resume(
        bed: &Bed,
        hardware: &Hardware,
        target: Target,
        progress: &Arc<Progress>,
    ) -> Result<Self> {
        let mut player = Self::new(bed, hardware, target, progress);
        for (system, server) in player.booted().await? {
            player.joined.insert(system, Joined::of(server)?);
        }
        Ok(player)
    }

    /// The Nodes that are to stay down.
    pub fn broken(&self) -> Broken {
        self.broken.clone()
    }

    /// Starts the workload cluster, and plays until cancelled.
    ///
    /// # Errors
    /// When a config drive is not what it should be, or the workload cluster does not come up.
    pub async fn start(self, stop: CancellationToken) -> Result<()> {
        let port = self.target.port.to_string();
        let endpoint = [self.target.host.as_str(), port.as_str()];
        let up = self.call("up", &endpoint, &[]);
        tokio::select! {
            up = up => up.context("the target cluster")?,
            () = stop.cancelled() => return Ok(()),
        }
        self.play(stop).await
    }

    /// Plays until cancelled.
    ///
    /// # Errors
    /// When a config drive is not what it should be.
    pub async fn play(mut self, stop: CancellationToken) -> Result<()> {
        let mut poll = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = poll.tick() => self.tick().await?,
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn tick(&mut self) -> Result<()> {
        let booted = self.booted().await?;
        let stopped: Vec<String> = self
            .joined
            .iter()
            .filter(|(system, joined)| {
                let boots = booted.get(*system).map(|server| server.boots);
                joined.runs && boots != Some(joined.boots)
            })
            .map(|(system, _)| system.clone())
            .collect();
        for system in stopped {
            if let Some(joined) = self.joined.get_mut(&system) {
                joined.runs = false;
                let node = joined.node.clone();
                self.call("stopnode", &[&node], &[]).await?;
            }
        }
        for (system, server) in booted {
            self.boot(system, server).await?;
        }
        Ok(())
    }

    /// A server runs its image: for the first time, again, or still.
    async fn boot(&mut self, system: String, server: Booted) -> Result<()> {
        match self.joined.get(&system) {
            Some(joined) if joined.drive == server.drive => {
                let node = joined.node.clone();
                if joined.runs || self.broken.has(&node) {
                    return Ok(());
                }
                self.call("startnode", &[&node], &[]).await?;
                self.progress
                    .line(&format!("server {system} booted again as node {node}"));
            }
            before => {
                if let Some(node) = before.map(|joined| joined.node.clone()) {
                    self.call("rmnode", &[&node], &[]).await?;
                }
                let boot = server.drive.boot()?;
                self.join(&boot).await?;
                self.progress.line(&format!(
                    "server {system} booted and joined as node {}",
                    boot.node
                ));
            }
        }
        self.joined.insert(system, Joined::of(server)?);
        Ok(())
    }

    /// The servers of this cluster that run an image now: a namespace holds the hosts of one.
    async fn booted(&self) -> Result<BTreeMap<String, Booted>> {
        let booted = self.hardware.booted().await?;
        Ok(booted
            .into_iter()
            .filter(|server| server.drive.meta("metal3-namespace") == Some(self.target.namespace.as_str()))
            .map(|server| (server.system.clone(), server))
            .collect())
    }

    async fn join(&self, boot: &Boot) -> Result<()> {
        let target = &self.target;
        let endpoint = format!("{}:{}", target.host, target.port);
        ensure!(
            boot.joins.as_ref().is_none_or(|joins| *joins == endpoint),
            "node {} wants to join {:?}, not {endpoint}",
            boot.node,
            boot.joins
        );
        let role = if boot.control_plane { "cp" } else { "worker" };
        let labels: Vec<String> = boot
            .labels
            .iter()
            .map(|(key, value)| format!("{key}: '{value}'"))
            .collect();
        let labels = labels.join(", ");
        // No provider ID: without a cloud provider it is capm3 that sets it.
        let arguments = [boot.node.as_str(), "-", role, &target.version];
        self.call("node", &arguments, &[("TB_NODE_LABELS", &labels)])
            .await
    }

    /// `capi.sh target`
    async fn call(&self, verb: &str, arguments: &[&str], env: &[(&str, &str)]) -> Result<()> {
        let mut call = vec!["target", verb, &self.target.namespace, &self.target.cluster];
        call.extend(arguments);
        self.bed.capi_with(&call, env).await?;
        Ok(())
    }
}
