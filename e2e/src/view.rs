//! What can be seen of hosts, Machines and Cluster, for waiting and for the report.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use metal3_api::metal3::host::BareMetalHost;
use serde_json::Value;

use crate::progress::Progress;
use crate::report::{HostRow, MachineRow, PodRow, Report};

/// Beyond this many hosts their states are counted instead of listed.
const LISTED: usize = 8;

/// The objects of one namespace.
#[derive(Clone)]
pub struct View {
    client: Client,
    namespace: String,
    hosts: usize,
}

impl View {
    /// Of a namespace that holds this many hosts.
    pub fn new(client: Client, namespace: &str, hosts: usize) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            hosts,
        }
    }

    /// All hosts are there and free in this state.
    ///
    /// # Errors
    /// What is seen instead.
    pub async fn all_hosts(&self, progress: &Progress, state: &str) -> Result<(), String> {
        let hosts = self.list_hosts().await?;
        self.tell_hosts(progress, &hosts);
        let ready = hosts
            .iter()
            .filter(|host| row(host).state == state && host.spec.consumer_ref.is_none())
            .count();
        if ready == self.hosts {
            Ok(())
        } else {
            Err(self.summary(&hosts))
        }
    }

    /// No host is left.
    ///
    /// # Errors
    /// What is seen instead.
    pub async fn no_hosts(&self, progress: &Progress) -> Result<(), String> {
        let hosts = self.list_hosts().await?;
        self.tell_hosts(progress, &hosts);
        if hosts.is_empty() {
            Ok(())
        } else {
            Err(self.summary(&hosts))
        }
    }

    /// So many Machines run, and Cluster and control plane say that they are available.
    ///
    /// # Errors
    /// What is seen instead.
    pub async fn cluster_available(&self, progress: &Progress, machines: usize) -> Result<(), String> {
        let hosts = self.list_hosts().await?;
        self.tell_hosts(progress, &hosts);
        let found = self.list("cluster.x-k8s.io", "Machine", "machines").await?;
        for machine in &found {
            progress.state(&machine.name_any(), &machine_state(machine));
        }
        let running = found
            .iter()
            .filter(|machine| text(&machine.data, "/status/phase") == "Running")
            .count();
        let (cluster, control_plane) = self.availability().await?;
        // One that is on its way, or going, may not be counted yet by those above it.
        if running == machines && found.len() == machines && cluster && control_plane {
            return Ok(());
        }
        let states: Vec<String> = found
            .iter()
            .map(|machine| format!("{}: {}", machine.name_any(), machine_state(machine)))
            .collect();
        Err(format!(
            "{running} of {} Machines run, {machines} are to; Cluster available: {cluster}, control plane available: \
             {control_plane}; {}; {}",
            found.len(),
            states.join("; "),
            self.summary(&hosts)
        ))
    }

    /// The Cluster does not exist.
    ///
    /// # Errors
    /// What is seen instead.
    pub async fn cluster_gone(&self, progress: &Progress) -> Result<(), String> {
        let hosts = self.list_hosts().await?;
        self.tell_hosts(progress, &hosts);
        let machines = self.list("cluster.x-k8s.io", "Machine", "machines").await?;
        for machine in &machines {
            progress.state(&machine.name_any(), &machine_state(machine));
        }
        let clusters = self.list("cluster.x-k8s.io", "Cluster", "clusters").await?;
        if clusters.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = machines.iter().map(ResourceExt::name_any).collect();
        Err(format!(
            "Machines left: {}; {}",
            names.join(", "),
            self.summary(&hosts)
        ))
    }

    /// Writes what is there into a report.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn fill(&self, report: &mut Report) -> Result<()> {
        let hosts = self.list_hosts().await.map_err(anyhow::Error::msg)?;
        let used: BTreeMap<String, String> = hosts
            .iter()
            .filter_map(|host| Some((host.spec.consumer_ref.as_ref()?.name.clone()?, host.name_any())))
            .collect();
        report.hosts = hosts.iter().map(row).collect();
        let machines = self
            .list("cluster.x-k8s.io", "Machine", "machines")
            .await
            .map_err(anyhow::Error::msg)?;
        report.machines = machines
            .iter()
            .map(|machine| MachineRow {
                name: machine.name_any(),
                phase: text(&machine.data, "/status/phase"),
                provider_id: text(&machine.data, "/spec/providerID"),
                node: text(&machine.data, "/status/nodeRef/name"),
                host: used
                    .get(&text(&machine.data, "/spec/infrastructureRef/name"))
                    .cloned()
                    .unwrap_or_default(),
            })
            .collect();
        let (cluster, control_plane) = self.availability().await.map_err(anyhow::Error::msg)?;
        report.cluster_available = cluster;
        report.control_plane_available = control_plane;
        Ok(())
    }

    /// The pods of all namespaces; none where there is no node.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pods(&self) -> Result<Vec<PodRow>> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let pods = pods.list(&ListParams::default()).await?;
        Ok(pods.iter().map(pod_row).collect())
    }

    async fn availability(&self) -> Result<(bool, bool), String> {
        let clusters = self.list("cluster.x-k8s.io", "Cluster", "clusters").await?;
        let planes = self
            .list(
                "controlplane.cluster.x-k8s.io",
                "KubeadmControlPlane",
                "kubeadmcontrolplanes",
            )
            .await?;
        let all = |objects: &[DynamicObject]| !objects.is_empty() && objects.iter().all(available);
        Ok((all(&clusters), all(&planes)))
    }

    async fn list_hosts(&self) -> Result<Vec<BareMetalHost>, String> {
        let api: Api<BareMetalHost> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut hosts = api
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?
            .items;
        hosts.sort_by_key(|host| (host.name_any().len(), host.name_any()));
        Ok(hosts)
    }

    async fn list(&self, group: &str, kind: &str, plural: &str) -> Result<Vec<DynamicObject>, String> {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1beta2", kind), plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        Ok(api
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?
            .items)
    }

    fn tell_hosts(&self, progress: &Progress, hosts: &[BareMetalHost]) {
        if self.hosts > LISTED {
            progress.state("hosts", &counts(hosts));
            return;
        }
        for host in hosts {
            progress.state(&host.name_any(), &host_state(host));
        }
    }

    fn summary(&self, hosts: &[BareMetalHost]) -> String {
        let troubled: Vec<String> = hosts
            .iter()
            .filter(|host| {
                host.status
                    .as_ref()
                    .is_some_and(|status| !status.error_message.is_empty())
            })
            .take(3)
            .map(|host| format!("{}: {}", host.name_any(), host_state(host)))
            .collect();
        format!(
            "{} of {} hosts: {} {}",
            hosts.len(),
            self.hosts,
            counts(hosts),
            troubled.join("; ")
        )
    }
}

fn counts(hosts: &[BareMetalHost]) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for host in hosts {
        *counts.entry(row(host).state).or_default() += 1;
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    parts.join(", ")
}

fn host_state(host: &BareMetalHost) -> String {
    let row = row(host);
    let error = host
        .status
        .as_ref()
        .map_or("", |status| status.error_message.as_str());
    match (error.is_empty(), &row.consumer) {
        (false, _) => format!("{} ({error})", row.state),
        (true, Some(consumer)) => format!("{} for {consumer}", row.state),
        (true, None) => row.state,
    }
}

fn row(host: &BareMetalHost) -> HostRow {
    let status = host.status.clone().unwrap_or_default();
    let hardware = status.hardware.unwrap_or_default();
    let state = status.provisioning.state.as_str();
    HostRow {
        name: host.name_any(),
        state: if state.is_empty() {
            "new".into()
        } else {
            state.to_owned()
        },
        node: status.provisioning.id,
        powered_on: status.powered_on,
        cpus: hardware.cpu.and_then(|cpu| cpu.count).unwrap_or_default(),
        memory: hardware.ram_mebibytes.unwrap_or_default(),
        nics: hardware.nics.len(),
        consumer: host
            .spec
            .consumer_ref
            .as_ref()
            .and_then(|consumer| consumer.name.clone()),
    }
}

fn pod_row(pod: &Pod) -> PodRow {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let image = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers.first()?.image.clone());
    PodRow {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        ready: conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        restarts: containers.iter().map(|container| container.restart_count).sum(),
        image: image.unwrap_or_default(),
    }
}

fn machine_state(machine: &DynamicObject) -> String {
    let phase = text(&machine.data, "/status/phase");
    let conditions = machine
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let infrastructure = conditions
        .and_then(|all| {
            all.iter()
                .find(|condition| condition["type"] == "InfrastructureReady")
        })
        .filter(|condition| condition["status"] != "True")
        .map_or("", |condition| condition["message"].as_str().unwrap_or_default());
    // Remedies are in the object; here they would hide what changes.
    let brief = infrastructure.split("; ").next().unwrap_or_default();
    if brief.is_empty() {
        phase
    } else {
        format!("{phase}: {brief}")
    }
}

fn available(object: &DynamicObject) -> bool {
    let conditions = object
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions.is_some_and(|all| {
        all.iter()
            .any(|condition| condition["type"] == "Available" && condition["status"] == "True")
    })
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
