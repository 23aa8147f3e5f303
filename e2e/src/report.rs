//! What came out: the table at the end, and the same as JSON for tests.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// A host at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostRow {
    /// Name.
    pub name: String,
    /// `status.provisioning.state`.
    pub state: String,
    /// `status.provisioning.ID`.
    pub node: String,
    /// Whether it is powered on.
    pub powered_on: bool,
    /// CPUs found by inspection.
    pub cpus: i64,
    /// Memory found by inspection, in MiB.
    pub memory: i64,
    /// Network interfaces found by inspection.
    pub nics: usize,
    /// Name of the Metal3Machine that uses it.
    pub consumer: Option<String>,
}

/// A Machine at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineRow {
    /// Name.
    pub name: String,
    /// `status.phase`.
    pub phase: String,
    /// Its provider ID.
    pub provider_id: String,
    /// Its Node.
    pub node: String,
    /// The host it runs on.
    pub host: String,
}

/// Everything that `quickstart up` made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Hosts by name.
    pub hosts: Vec<HostRow>,
    /// Machines by name.
    pub machines: Vec<MachineRow>,
    /// Whether the Cluster is Available.
    pub cluster_available: bool,
    /// Whether the KubeadmControlPlane is Available.
    pub control_plane_available: bool,
    /// Nodes that Ironic knows.
    pub ironic_nodes: usize,
    /// Nodes that were ever created in Ironic, where that is counted.
    pub ironic_nodes_created: Option<u64>,
    /// Services that were killed on the way.
    pub kills: u32,
    /// Seconds until each milestone.
    pub seconds: Vec<(String, f64)>,
}

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let yes = |value: bool| if value { "yes" } else { "NO" };
        // Writing to a String does not fail.
        writeln!(
            text,
            "{:<10} {:<14} {:<6} {:>4} {:>9} {:>4}  USED BY",
            "HOST", "STATE", "POWER", "CPU", "MEMORY", "NICS"
        )
        .ok();
        let (used, free): (Vec<_>, Vec<_>) = self.hosts.iter().partition(|host| host.consumer.is_some());
        for host in used.iter().chain(free.iter().take(6)) {
            let power = if host.powered_on { "on" } else { "off" };
            let consumer = host.consumer.as_deref().unwrap_or("-");
            let memory = format!("{} MiB", host.memory);
            writeln!(
                text,
                "{:<10} {:<14} {:<6} {:>4} {:>9} {:>4}  {consumer}",
                host.name, host.state, power, host.cpus, memory, host.nics
            )
            .ok();
        }
        if free.len() > 6 {
            writeln!(text, "… and {} more free hosts", free.len() - 6).ok();
        }
        writeln!(
            text,
            "\n{:<28} {:<12} {:<12} PROVIDER ID",
            "MACHINE", "PHASE", "NODE"
        )
        .ok();
        for machine in &self.machines {
            writeln!(
                text,
                "{:<28} {:<12} {:<12} {}",
                machine.name, machine.phase, machine.node, machine.provider_id
            )
            .ok();
        }
        writeln!(
            text,
            "\nCluster available: {}   control plane available: {}   nodes in Ironic: {}",
            yes(self.cluster_available),
            yes(self.control_plane_available),
            self.ironic_nodes
        )
        .ok();
        for (milestone, seconds) in &self.seconds {
            writeln!(text, "  {milestone:<44} {seconds:7.1} s").ok();
        }
        text
    }
}
