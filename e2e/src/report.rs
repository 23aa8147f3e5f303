//! What came out: the table at the end, and the same as JSON for tests.

use serde::{Deserialize, Serialize};

/// Free hosts that the table lists; there may be hundreds.
const LISTED: usize = 6;

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

/// A pod of the management cluster at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodRow {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether it is Ready.
    pub ready: bool,
    /// How often its containers were started again.
    pub restarts: i32,
    /// Image of its first container.
    pub image: String,
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
    /// What was killed on the way, in order.
    pub killed: Vec<String>,
    /// Pods of the management cluster.
    #[serde(default)]
    pub pods: Vec<PodRow>,
    /// Seconds until each milestone.
    pub seconds: Vec<(String, f64)>,
}

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut lines: Vec<String> = self.pods.iter().map(PodRow::line).collect();
        if !lines.is_empty() {
            lines.insert(
                0,
                format!(
                    "{:<34} {:<48} {:<6} {:>8}",
                    "NAMESPACE", "POD", "READY", "RESTARTS"
                ),
            );
            lines.push(String::new());
        }
        lines.push(format!(
            "{:<10} {:<14} {:<6} {:>4} {:>9} {:>4}  USED BY",
            "HOST", "STATE", "POWER", "CPU", "MEMORY", "NICS"
        ));
        let (used, free): (Vec<_>, Vec<_>) = self.hosts.iter().partition(|host| host.consumer.is_some());
        lines.extend(
            used.iter()
                .chain(free.iter().take(LISTED))
                .map(|host| host.line()),
        );
        if free.len() > LISTED {
            lines.push(format!("… and {} more free hosts", free.len() - LISTED));
        }
        if !self.machines.is_empty() {
            let yes = |value: bool| if value { "yes" } else { "NO" };
            lines.push(format!(
                "\n{:<28} {:<12} {:<12} PROVIDER ID",
                "MACHINE", "PHASE", "NODE"
            ));
            lines.extend(self.machines.iter().map(MachineRow::line));
            lines.push(format!(
                "\nCluster available: {}   control plane available: {}",
                yes(self.cluster_available),
                yes(self.control_plane_available)
            ));
        }
        lines.push(format!("Nodes in Ironic: {}\n", self.ironic_nodes));
        lines.extend(
            self.seconds
                .iter()
                .map(|(name, seconds)| format!("  {name:<50} {seconds:7.1} s")),
        );
        lines.join("\n")
    }
}

impl HostRow {
    fn line(&self) -> String {
        format!(
            "{:<10} {:<14} {:<6} {:>4} {:>9} {:>4}  {}",
            self.name,
            self.state,
            if self.powered_on { "on" } else { "off" },
            self.cpus,
            format!("{} MiB", self.memory),
            self.nics,
            self.consumer.as_deref().unwrap_or("-")
        )
    }
}

impl PodRow {
    fn line(&self) -> String {
        format!(
            "{:<34} {:<48} {:<6} {:>8}",
            self.namespace,
            self.name,
            if self.ready { "yes" } else { "NO" },
            self.restarts
        )
    }
}

impl MachineRow {
    fn line(&self) -> String {
        format!(
            "{:<28} {:<12} {:<12} {}",
            self.name, self.phase, self.node, self.provider_id
        )
    }
}
