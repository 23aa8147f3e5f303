//! A MachineHealthCheck found a Machine unhealthy: its host is rebooted, and in the end the Machine is its owner's to replace.
//!
//! Hours are passed by writing an earlier begin of the attempt into the status. `remediation/away.rs` has the host service that
//! does not answer, `remediation/old.rs` a workload cluster that does not know the taint.

mod away;
mod old;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use metal3_api::capi::Machine;
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3Remediation};
use metal3_testkit::wait;
use serde_json::{Value, json};

use crate::broken::remove;
use crate::lab::Lab;
use crate::workload::shared;
use crate::world::World;

const EXTERNAL: &str = "ExternallyRemediated";
/// Long ago.
const BEGIN: &str = "2026-01-01T00:00:00Z";
const RUNNING: &str = "Running";
const WAITING: &str = "Waiting";
const GIVEN_UP: &str = "Deleting machine";

impl Lab {
    /// A machine that runs, with its host and its Node.
    async fn running(&self, machine: &str) -> (String, String) {
        self.free_host(&format!("host-of-{machine}"));
        self.machine(machine, "c").await;
        self.becomes_a_node(machine).await;
        let host = self.claimed(machine).await;
        self.switched_on(&host);
        let node = format!("{}-{host}", self.namespace);
        self.machine_status(machine, json!({"nodeRef": {"name": node}}))
            .await;
        (host, node)
    }

    pub(crate) fn switched_on(&self, host: &str) {
        self.hosts
            .change(host, |host| (host.online, host.powered_on) = (true, true));
    }

    pub(crate) async fn machine_status(&self, machine: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<Machine>()
            .patch_status(machine, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// What a MachineHealthCheck makes of its template.
    pub(crate) async fn is_sick(&self, machine: &str) {
        let conditions = json!([
            {"type": "HealthCheckSucceeded", "status": "False", "reason": "UnhealthyNode", "lastTransitionTime": BEGIN},
            {"type": EXTERNAL, "status": "False", "reason": "WaitingForRemediation", "lastTransitionTime": BEGIN},
        ]);
        self.machine_status(machine, json!({"conditions": conditions}))
            .await;
        let owner: Machine = self.get(machine).await;
        self.create::<Metal3Remediation>(json!({
            "metadata": {"name": machine, "ownerReferences": [{
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "name": machine, "uid": owner.uid(),
            }]},
            "spec": {"strategy": {"type": "Reboot", "retryLimit": 1, "timeoutSeconds": 600}},
        }))
        .await;
    }

    /// Waits until a remediation is in a phase, with so many retries, and the Machine says why.
    pub(crate) async fn phase(&self, name: &str, phase: &str, retries: i32) {
        let api = self.api::<Metal3Remediation>();
        let what = format!("{name} to be {phase:?} after {retries} retries");
        wait::until(&what, wait::LONG, async || {
            let object = api.get(name).await.map_err(|error| error.to_string())?;
            let status = object.status.unwrap_or_default();
            let there = status.phase.as_deref() == Some(phase) && status.retry_count.unwrap_or(0) == retries;
            if there { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }

    /// The time of the attempt is over.
    pub(crate) async fn time_passes(&self, name: &str) {
        let api = self.api::<Metal3Remediation>();
        let (params, past) = (
            PatchParams::default(),
            json!({"status": {"lastRemediated": BEGIN}}),
        );
        api.patch_status(name, &params, &Patch::Merge(past))
            .await
            .unwrap();
        // Wakes the provider, which does not look at what is its own.
        let touch =
            json!({"metadata": {"annotations": {"touched": format!("{:?}", std::time::Instant::now())}}});
        self.patch::<Metal3Remediation>(name, touch).await;
    }

    /// Waits until the Machine says this about its remediation.
    pub(crate) async fn told(&self, machine: &str, reason: &str, text: &str) {
        self.condition_saying::<Machine>(machine, [EXTERNAL, "False", reason], text)
            .await;
    }

    async fn is_given_up(&self, machine: &str, host: &str) {
        self.phase(machine, GIVEN_UP, 1).await;
        let object = json!(self.raw_machine(machine).await);
        let old = object["status"]["deprecated"]["v1beta1"]["conditions"].clone();
        for list in [&object["status"]["conditions"], &old] {
            let mut list = list.as_array().unwrap().iter();
            let owner = list
                .find(|condition| condition["type"] == "OwnerRemediated")
                .unwrap();
            assert_eq!(
                (&owner["status"], &owner["reason"]),
                (&json!("False"), &json!("WaitingForRemediation"))
            );
        }
        let host = self.hosts.with(|world| world.hosts[host].clone());
        assert!(host.unhealthy && host.power_holds.is_empty(), "{host:?}");
    }

    async fn raw_machine(&self, name: &str) -> kube::api::DynamicObject {
        let resource = kube::api::ApiResource::erase::<Machine>(&());
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.plane.client(), &self.namespace, &resource);
        api.get(name).await.unwrap()
    }

    /// The object goes, and nothing of it stays.
    async fn ends(&self, name: &str, node: Option<&str>) {
        self.delete::<Metal3Remediation>(name).await;
        self.is_gone::<Metal3Remediation>(name).await;
        let held: Vec<String> = self.hosts.with(|world| {
            let hosts = world.hosts.values();
            hosts.flat_map(|host| host.power_holds.clone()).collect()
        });
        assert_eq!(held, Vec::<String>::new());
        if let Some(node) = node {
            assert!(!is_tainted(node).await, "{node} is out of service");
        }
        let machine = json!(self.raw_machine(name).await);
        let conditions = machine["status"]["conditions"].as_array().cloned();
        let mut conditions = conditions.unwrap_or_default().into_iter();
        assert!(conditions.all(|condition| condition["type"] != EXTERNAL));
    }

    fn held(&self, host: &str) -> usize {
        self.hosts.with(|world| world.hosts[host].power_holds.len())
    }

    fn calls(&self, method: &str) -> usize {
        let log = self.hosts.with(|world| world.log.clone());
        log.iter().filter(|line| *line == method).count()
    }
}

async fn is_tainted(node: &str) -> bool {
    let nodes: Api<Node> = Api::all(shared().await.client());
    let node = nodes.get(node).await.unwrap();
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    taints.iter().any(|taint| {
        taint.key == "node.kubernetes.io/out-of-service"
            && taint.effect == "NoExecute"
            && taint.value.as_deref() == Some("nodeshutdown")
    })
}

async fn tainted(node: &str, wanted: bool) {
    let what = format!("the taint of {node} to be {wanted}");
    wait::until(&what, wait::LONG, async || {
        (is_tainted(node).await == wanted).then_some(())
    })
    .await;
}

/// A volume that is attached to a Node.
async fn attach(node: &str) {
    let volume: VolumeAttachment = serde_json::from_value(json!({
        "metadata": {"name": node},
        "spec": {"attacher": "a.test", "nodeName": node, "source": {"persistentVolumeName": "v"}},
    }))
    .unwrap();
    volumes()
        .await
        .create(&PostParams::default(), &volume)
        .await
        .unwrap();
}

async fn volumes() -> Api<VolumeAttachment> {
    Api::all(shared().await.client())
}

/// A cluster with the way into its workload cluster.
async fn start(name: &str) -> World {
    let world = World::start(name).await;
    world.lab.ready_cluster("c").await;
    world.lab.kubeconfig_secret("c").await;
    world
}

#[tokio::test]
async fn a_node_is_out_of_service_while_its_host_is_off_and_in_service_when_it_returns() {
    let world = start("returns").await;
    let lab = &world.lab;
    let (host, node) = lab.running("m").await;
    attach(&node).await;
    lab.is_sick("m").await;
    lab.told("m", "Rebooting", "1 volumes are attached").await;
    assert!(is_tainted(&node).await);
    let off = lab.hosts.with(|world| world.hosts[&host].clone());
    assert!(!off.powered_on);
    let remediation: Metal3Remediation = lab.get("m").await;
    assert_eq!(
        off.power_holds,
        [format!("metal3-remediation-{}", remediation.uid().unwrap())]
    );
    volumes()
        .await
        .delete(&node, &DeleteParams::default())
        .await
        .unwrap();
    lab.phase("m", WAITING, 0).await;
    tainted(&node, false).await;
    lab.told("m", "WaitingForNode", "to be healthy").await;
    assert_eq!(lab.held(&host), 0);
    assert!(lab.hosts.with(|world| world.hosts[&host].powered_on));
    assert_eq!(lab.calls("HoldPowerOff"), 1);
    // The MachineHealthCheck finds the Node healthy.
    lab.ends("m", Some(&node)).await;
    let machine = json!(lab.raw_machine("m").await);
    let conditions = machine["status"]["conditions"].to_string();
    assert!(!conditions.contains("OwnerRemediated"), "{conditions}");
}

#[tokio::test]
async fn a_machine_that_reboots_do_not_help_is_its_owners_to_replace() {
    let world = start("exhausted").await;
    let lab = &world.lab;
    let (host, node) = lab.running("m").await;
    lab.is_sick("m").await;
    lab.phase("m", WAITING, 0).await;
    lab.told("m", "WaitingForNode", "to be healthy").await;
    lab.time_passes("m").await;
    lab.phase("m", WAITING, 1).await;
    lab.told("m", "WaitingForNode", "to be healthy").await;
    lab.time_passes("m").await;
    lab.is_given_up("m", &host).await;
    assert_eq!(lab.calls("HoldPowerOff"), 2, "one more than retries");
    lab.ends("m", Some(&node)).await;
}

#[tokio::test]
async fn a_host_that_does_not_go_off_or_does_not_come_on_ends_within_the_time_of_its_attempts() {
    let world = start("stuck").await;
    let lab = &world.lab;
    let (on, node) = lab.running("m").await;
    let (off, _) = lab.running("n").await;
    lab.hosts.with(|world| {
        world.stuck_on.insert(on.clone());
        world.stuck_off.insert(off.clone());
    });
    lab.is_sick("m").await;
    lab.is_sick("n").await;
    lab.told("m", "Rebooting", "to power off").await;
    lab.told("n", "WaitingForNode", "to power on").await;
    assert!(!is_tainted(&node).await, "its workloads still run");
    for retries in [0, 1] {
        lab.phase("m", RUNNING, retries).await;
        lab.phase("n", WAITING, retries).await;
        lab.time_passes("m").await;
        lab.time_passes("n").await;
    }
    lab.is_given_up("m", &on).await;
    lab.is_given_up("n", &off).await;
}

#[tokio::test]
async fn a_remediation_that_is_deleted_leaves_nothing_behind_in_any_phase() {
    let world = start("deleted").await;
    let lab = &world.lab;
    let (host, node) = lab.running("m").await;

    // While the host is off, with the Node out of service.
    attach(&node).await;
    lab.is_sick("m").await;
    tainted(&node, true).await;
    assert_eq!(lab.held(&host), 1);
    lab.ends("m", Some(&node)).await;
    volumes()
        .await
        .delete(&node, &DeleteParams::default())
        .await
        .unwrap();

    // While it goes off.
    lab.switched_on(&host);
    lab.hosts.with(|world| world.stuck_on.insert(host.clone()));
    lab.is_sick("m").await;
    lab.told("m", "Rebooting", "to power off").await;
    lab.ends("m", Some(&node)).await;
    lab.hosts.with(|world| world.stuck_on.clear());

    // While it comes on.
    lab.hosts.with(|world| world.stuck_off.insert(host.clone()));
    lab.is_sick("m").await;
    lab.told("m", "WaitingForNode", "to power on").await;
    lab.ends("m", None).await;
    lab.hosts.with(|world| world.stuck_off.clear());

    // The user switched it off.
    lab.hosts.change(&host, |host| host.online = false);
    lab.is_sick("m").await;
    lab.phase("m", "Failed", 0).await;
    lab.told("m", "RemediationFailed", "switched off").await;
    lab.ends("m", Some(&node)).await;

    // The host is gone meanwhile.
    lab.switched_on(&host);
    lab.hosts.with(|world| world.stuck_on.insert(host.clone()));
    lab.is_sick("m").await;
    lab.told("m", "Rebooting", "to power off").await;
    remove(&lab.hosts, &host);
    lab.told("m", "Rebooting", "does not exist").await;
    lab.ends("m", None).await;
}

#[tokio::test]
async fn a_machine_without_a_node_and_without_a_way_into_its_cluster_is_rebooted_and_given_up() {
    let world = World::start("nodeless").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.free_host("a");
    lab.machine("m", "c").await;
    lab.claimed("m").await;
    lab.host_is_provisioned("a");
    lab.switched_on("a");
    lab.is_sick("m").await;
    for retries in [0, 1] {
        lab.phase("m", WAITING, retries).await;
        lab.told("m", "WaitingForNode", "to become a Node").await;
        lab.time_passes("m").await;
    }
    lab.is_given_up("m", "a").await;
    lab.ends("m", None).await;

    // With a Node, and nobody to ask about it.
    lab.machine_status("m", json!({"nodeRef": {"name": "nowhere"}}))
        .await;
    lab.is_sick("m").await;
    lab.told("m", "Rebooting", "does not answer").await;
    assert_eq!(lab.held("a"), 1);
    lab.ends("m", None).await;
}

#[tokio::test]
async fn nothing_is_done_while_the_cluster_is_paused() {
    let world = start("idle").await;
    let lab = &world.lab;
    let (host, node) = lab.running("m").await;
    let pause = async |paused: bool| {
        lab.patch::<metal3_api::capi::Cluster>("c", json!({"spec": {"paused": paused}}))
            .await;
        let status = if paused {
            ["True", "Paused"]
        } else {
            ["False", "NotPaused"]
        };
        lab.condition::<Metal3Machine>("m", "Paused", status[0], status[1])
            .await;
    };
    attach(&node).await;
    lab.is_sick("m").await;
    tainted(&node, true).await;
    pause(true).await;
    lab.delete::<Metal3Remediation>("m").await;
    pause(false).await;
    lab.is_gone::<Metal3Remediation>("m").await;
    assert_eq!(lab.held(&host), 0);

    pause(true).await;
    let calls = lab.calls("HoldPowerOff");
    lab.is_sick("m").await;
    lab.time_is_used(&world).await;
    let idle: Metal3Remediation = lab.get("m").await;
    assert!(idle.finalizers().is_empty() && idle.status.is_none());
    assert_eq!(lab.calls("HoldPowerOff"), calls);
    volumes()
        .await
        .delete(&node, &DeleteParams::default())
        .await
        .unwrap();
    pause(false).await;
    lab.phase("m", WAITING, 0).await;
}

impl Lab {
    /// Another remediation came after the one that is paused and was looked at.
    async fn time_is_used(&self, world: &World) {
        let orphan = json!({"metadata": {"name": "orphan"}, "spec": {"strategy": {"type": "Reboot"}}});
        self.create::<Metal3Remediation>(orphan).await;
        let process = &world.capm3.process;
        wait::until("the orphan to be looked at", wait::LONG, async || {
            let log = process.log();
            log.contains("no Machine owns this Metal3Remediation")
                .then_some(())
        })
        .await;
    }
}
