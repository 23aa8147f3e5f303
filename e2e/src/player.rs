//! What a booted server does: it joins its cluster as its config drive says. The cluster is real (kube-apiserver and
//! etcd of the test bed); only kubelet and kubeadm are played.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio_util::sync::CancellationToken;

use crate::bed::Bed;
use crate::config_drive::{Boot, ConfigDrive};
use crate::hardware::Hardware;
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

/// Plays until cancelled.
///
/// # Errors
/// When a config drive is not what it should be, or the target cluster does not come up.
pub async fn run(
    bed: Bed,
    hardware: Hardware,
    target: Target,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Result<()> {
    let port = target.port.to_string();
    let arguments = [
        "target",
        "up",
        &target.namespace,
        &target.cluster,
        &target.host,
        &port,
    ];
    let up = bed.capi(&arguments);
    tokio::select! {
        up = up => drop(up.context("the target cluster")?),
        () = stop.cancelled() => return Ok(()),
    }
    let mut joined = BTreeSet::new();
    let mut poll = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            _ = poll.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        for server in hardware.booted().await? {
            if joined.insert(server.system.clone()) {
                let boot = server.drive.boot()?;
                join(&bed, &target, &server.drive, &boot).await?;
                progress.line(&format!(
                    "server {} booted and joined as node {}",
                    server.system, boot.node
                ));
            }
        }
    }
}

async fn join(bed: &Bed, target: &Target, drive: &ConfigDrive, boot: &Boot) -> Result<()> {
    ensure!(
        drive.meta("metal3-namespace") == Some(target.namespace.as_str()),
        "the config drive of node {} is for namespace {:?}",
        boot.node,
        drive.meta("metal3-namespace")
    );
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
    let arguments = [
        "target",
        "node",
        &target.namespace,
        &target.cluster,
        &boot.node,
        "-",
        role,
        &target.version,
    ];
    bed.capi_with(&arguments, &[("TB_NODE_LABELS", &labels)]).await?;
    Ok(())
}
