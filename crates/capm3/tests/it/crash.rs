//! `kill -9` at the instant of each request that changes something: nothing is lost, nothing is done twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use metal3_api::capi::Machine;
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_testkit::ControlPlane;
use metal3_testkit::gate::{Fate, Gate, Keeper, Passing};
use metal3_testkit::process::Process;

use crate::hosts::Moment;
use crate::workload;
use crate::world::{World, account};

/// Where a machine is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Cluster,
    Unclaimed,
    Claimed,
    Running,
    Deleted,
    ClusterDeleted,
}

/// Kills the provider once at each kind of request, and starts it again.
struct Reaper {
    moment: Moment,
    phase: Mutex<Phase>,
    deaths: Mutex<BTreeSet<String>>,
    victim: OnceLock<Weak<Process>>,
}

impl Reaper {
    fn new(moment: Moment) -> Arc<Self> {
        Arc::new(Self {
            moment,
            phase: Mutex::new(Phase::Cluster),
            deaths: Mutex::default(),
            victim: OnceLock::new(),
        })
    }

    fn is(&self, phase: Phase) {
        *self.phase.lock().unwrap() = phase;
    }

    /// Whether this is a request at which the provider has not died yet.
    fn dies(&self, request: &str) -> bool {
        let phase = *self.phase.lock().unwrap();
        self.deaths
            .lock()
            .unwrap()
            .insert(format!("{phase:?}: {request}"))
    }

    fn kill(&self) {
        if let Some(process) = self.victim.get().and_then(Weak::upgrade) {
            process.restart().unwrap();
        }
    }

    /// Lets it die at a call of the host service.
    fn at_call(&self, moment: Moment, method: &str) -> bool {
        let changes = ["ClaimHost", "ProvisionHost", "ReleaseHost"].contains(&method);
        let dies = changes && moment == self.moment && self.dies(method);
        if (moment, method) == (Moment::After, "ClaimHost") {
            self.is(Phase::Claimed);
        }
        if dies {
            self.kill();
        }
        dies
    }
}

impl Keeper for Reaper {
    fn judge(&self, passing: &Passing) -> Fate {
        let path = passing.target.split('?').next().unwrap_or_default();
        let last = |count: usize| {
            let parts: Vec<_> = path.rsplit('/').take(count).collect();
            parts.into_iter().rev().collect::<Vec<_>>().join("/")
        };
        let request = match (passing.method.as_str(), path) {
            ("PATCH" | "PUT", path) if path.ends_with("/status") => format!("{} {}", passing.method, last(3)),
            ("PATCH" | "PUT", _) => format!("{} {}", passing.method, last(2)),
            ("POST", _) => format!("{} {}", passing.method, last(1)),
            _ => return Fate::Pass,
        };
        match (self.dies(&request), self.moment) {
            (false, _) => Fate::Pass,
            (true, Moment::Before) => Fate::DieBefore,
            (true, Moment::After) => Fate::DieAfter,
        }
    }

    fn strike(&self, _: &Passing) {
        self.kill();
    }
}

async fn a_life_with_deaths(name: &str, moment: Moment) {
    let reaper = Reaper::new(moment);
    let keeper = || Arc::clone(&reaper) as Arc<dyn Keeper>;
    let (plane, cluster) = (ControlPlane::shared().await, workload::shared().await);
    let ca = |plane: &ControlPlane| std::fs::read_to_string(plane.ca_file()).unwrap();
    let management = Gate::open(plane.address().unwrap(), Some(&ca(plane)), keeper())
        .await
        .unwrap();
    let nodes = Gate::open(cluster.address().unwrap(), Some(&ca(cluster)), keeper())
        .await
        .unwrap();
    let account = account(plane, name, "capm3").await;
    let kubeconfig = account.kubeconfig_by(management.url()).unwrap();
    let world = World::by(plane, account, &kubeconfig, &[]).await;
    let lab = &world.lab;
    assert!(reaper.victim.set(Arc::downgrade(&world.capm3.process)).is_ok());
    let striking = Arc::clone(&reaper);
    lab.hosts.with(|hosts| {
        hosts.bare_claims = true;
        hosts.strike = Some(Arc::new(move |moment, method| striking.at_call(moment, method)));
    });
    for host in ["a", "b", "c"] {
        lab.free_host(host);
    }
    let user = workload::user(lab).await;
    let kubeconfig = workload::kubeconfig(&user, nodes.url(), "");

    lab.ready_cluster("c").await;
    lab.kubeconfig_secret_with("c", &kubeconfig).await;
    reaper.is(Phase::Unclaimed);
    let machine = lab.machine("m", "c").await;
    lab.claimed("m").await;
    lab.condition::<Metal3Machine>("m", crate::lab::PROVISIONED, "False", "Provisioning")
        .await;
    reaper.is(Phase::Running);
    lab.becomes_a_node("m").await;
    let (granted, hosts) = lab
        .hosts
        .with(|hosts| (hosts.granted.clone(), hosts.hosts.clone()));
    let uids: BTreeSet<_> = lab.hosts.with(|hosts| {
        let consumers = hosts
            .claims
            .iter()
            .map(|claim| claim.consumer.clone().unwrap().uid);
        consumers.collect()
    });
    assert_eq!(granted.len(), 1, "{granted:?}");
    assert_eq!(uids, BTreeSet::from([machine.metadata.uid.unwrap()]));
    assert_eq!(hosts.values().filter(|host| host.consumer.is_some()).count(), 1);
    reaper.is(Phase::Deleted);
    lab.delete::<Metal3Machine>("m").await;
    lab.is_gone::<Metal3Machine>("m").await;
    lab.delete::<Machine>("m").await;
    reaper.is(Phase::ClusterDeleted);
    lab.delete::<Metal3Cluster>("c").await;
    lab.is_gone::<Metal3Cluster>("c").await;
    let busy = lab.hosts.with(|hosts| {
        hosts
            .hosts
            .values()
            .filter(|host| host.consumer.is_some())
            .count()
    });
    assert_eq!(busy, 0);
    let deaths = reaper.deaths.lock().unwrap().clone();
    let node = format!("Running: PATCH nodes/{name}-{}", granted[0].0);
    let expected = [
        "Cluster: PATCH metal3clusters/c",
        "Cluster: PUT metal3clusters/c/status",
        "Unclaimed: PATCH metal3machines/m",
        "Unclaimed: ClaimHost",
        "Claimed: ProvisionHost",
        "Claimed: PATCH metal3machines/m",
        "Claimed: PUT metal3machines/m/status",
        node.as_str(),
        "Running: PATCH metal3machines/m",
        "Running: PUT metal3machines/m/status",
        "Deleted: ReleaseHost",
        "Deleted: PATCH metal3machines/m",
        "ClusterDeleted: PATCH metal3clusters/c",
    ];
    for request in expected {
        assert!(deaths.contains(request), "no death at {request}: {deaths:#?}");
    }
}

#[tokio::test]
async fn a_machine_survives_its_provider_dying_before_each_request() {
    a_life_with_deaths("crash-before", Moment::Before).await;
}

#[tokio::test]
async fn a_machine_survives_its_provider_dying_when_each_request_was_done() {
    a_life_with_deaths("crash-after", Moment::After).await;
}
