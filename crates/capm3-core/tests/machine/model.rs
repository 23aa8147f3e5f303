//! A machine in a world that changes, fails and kills the process between any two asks and any two writes.
//!
//! Whatever happens: the host is never held without a finalizer, the machine never has two hosts, it is never said to be
//! unprovisioned again, its provider ID never changes, and once the world is well it becomes ready, or goes.

use std::collections::BTreeMap;

use metal3_api::capi::{MachineNodeReference, MachineStatus};
use metal3_api::conditions;
use metal3_capm3_core::host::{Consumer, HostKey, HostSummary};
use metal3_capm3_core::machine::{
    Answer, Ask, Claimed, Finalizer, NodeAnswer, Provisioned, Released, Seen, Step, Successor, Trouble,
    Verdict,
};
use metal3_capm3_core::node::{NodeFacts, NodeIndex};
use proptest::prelude::*;

use crate::common::{Fixture, host, us};

/// Passes that a well world needs at most.
const ENOUGH: usize = 40;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A pass that dies after this many asks.
    Pass {
        asks: u8,
        fault: u8,
        writes: u8,
    },
    /// A host goes one state on.
    Progress,
    /// The hosts' Node comes up, or goes.
    Node(bool),
    /// Cluster API learns of the Node.
    NodeRef,
    /// Somebody deletes the Machine.
    Delete,
    /// Somebody deletes a free host, or makes one.
    Host(bool),
    Pause(bool),
    /// The Machine, the Cluster and its infrastructure are there, or not.
    Around(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let pass =
        (0..10_u8, 0..8_u8, 0..5_u8).prop_map(|(asks, fault, writes)| Event::Pass { asks, fault, writes });
    prop_oneof![
        12 => pass,
        4 => Just(Event::Progress),
        2 => any::<bool>().prop_map(Event::Node),
        1 => Just(Event::NodeRef),
        1 => Just(Event::Delete),
        1 => any::<bool>().prop_map(Event::Host),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => any::<bool>().prop_map(Event::Around),
    ]
}

struct World {
    fixture: Fixture,
    around: Fixture,
    hosts: BTreeMap<HostKey, HostSummary>,
    made: usize,
    node: Option<NodeFacts>,
    gone: bool,
    provisioned: bool,
    provider_id: Option<String>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            fixture: Fixture::new(),
            around: Fixture::new(),
            hosts: BTreeMap::new(),
            made: 0,
            node: None,
            gone: false,
            provisioned: false,
            provider_id: None,
        };
        world.make_host();
        world.make_host();
        world
    }

    fn make_host(&mut self) {
        let mut free = host(&format!("h{}", self.made), "available");
        self.made += 1;
        (free.consumer, free.requested) = (None, false);
        self.hosts.insert(free.key.clone(), free);
    }

    fn held(&self) -> Vec<HostKey> {
        let ours = |host: &&HostSummary| host.consumer == Some(us());
        self.hosts
            .values()
            .filter(ours)
            .map(|host| host.key.clone())
            .collect()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Pass { asks, fault, writes } => self.pass(asks.into(), fault, writes),
            Event::Progress => self.progress(),
            Event::Node(up) => self.node = up.then(|| self.kubelet()).flatten(),
            Event::NodeRef => {
                if self
                    .node
                    .as_ref()
                    .is_some_and(|node| !node.provider_id.is_empty())
                    && let Some(owner) = &mut self.around.owner
                {
                    owner.status = Some(MachineStatus {
                        node_ref: Some(MachineNodeReference { name: "node".into() }),
                        ..MachineStatus::default()
                    });
                }
            }
            Event::Delete => self.fixture = self.fixture.clone().deleting(),
            Event::Host(true) => self.make_host(),
            Event::Host(false) => {
                let free = self.hosts.values().find(|host| host.consumer.is_none());
                if let Some(key) = free.map(|host| host.key.clone()) {
                    self.hosts.remove(&key);
                }
            }
            Event::Pause(paused) => {
                if let Some(cluster) = &mut self.around.cluster {
                    cluster.spec.paused = Some(paused);
                }
            }
            Event::Around(there) => {
                let around = there.then(|| self.around.clone());
                self.fixture.owner = around.as_ref().and_then(|around| around.owner.clone());
                self.fixture.cluster = around.as_ref().and_then(|around| around.cluster.clone());
                self.fixture.infra = around.and_then(|around| around.infra);
            }
        }
    }

    /// A host that was told what to run goes on; one that was given back is cleaned.
    fn progress(&mut self) {
        let moving = self.hosts.values_mut().filter(|host| !host.paused_for_move);
        for host in moving {
            let next = match (host.consumer.is_some(), host.requested, host.state.as_str()) {
                (true, true, "available") => "provisioning",
                (true, true, "provisioning") => "provisioned",
                (_, false, "provisioned" | "provisioning") => "deprovisioning",
                (_, false, "deprovisioning") => "available",
                _ => continue,
            };
            next.clone_into(&mut host.state);
        }
    }

    fn kubelet(&self) -> Option<NodeFacts> {
        let running = self.hosts.values().find(|host| host.provisioned())?;
        Some(NodeFacts {
            name: "node".into(),
            provider_id: String::new(),
            host_uid: running.uid.clone(),
            hostname: running.hostname.clone(),
        })
    }

    /// One pass; `fault` says which of the calls fails, `writes` how many of the writes happen before the process dies.
    fn pass(&mut self, asks: usize, fault: u8, writes: u8) {
        if self.gone {
            return;
        }
        let mut seen = Seen::default();
        for number in 0..=asks {
            match self.fixture.plan(&seen) {
                Step::Finish(verdict) => return self.commit(&verdict, writes),
                Step::Ask(ask) => {
                    let answer = if number == usize::from(fault) {
                        // The service did it and the answer was lost, or it did nothing; the core is told the same.
                        if asks.is_multiple_of(2) {
                            self.answer(&ask);
                        }
                        failure(&ask)
                    } else {
                        self.answer(&ask)
                    };
                    seen.record(answer);
                }
            }
        }
    }

    /// As the shell: finalizer added, metadata and spec; status; finalizer dropped.
    fn commit(&mut self, verdict: &Verdict, writes: u8) {
        let mut after = self.fixture.clone();
        after.apply(verdict);
        if writes >= 1 {
            let annotations = after.machine.metadata.annotations.clone();
            self.fixture.machine.metadata.annotations = annotations;
            self.fixture.machine.spec = after.machine.spec.clone();
            if verdict.finalizer == Finalizer::Add {
                self.fixture.machine.metadata.finalizers = after.machine.metadata.finalizers.clone();
            }
        }
        if writes >= 2 && verdict.finalizer != Finalizer::Drop {
            self.fixture.machine.status = after.machine.status;
        }
        if writes >= 3 && verdict.finalizer == Finalizer::Drop {
            self.fixture.machine.metadata.finalizers = None;
        }
        let metadata = &self.fixture.machine.metadata;
        self.gone = metadata.deletion_timestamp.is_some() && metadata.finalizers.is_none();
    }

    /// The services do what is asked, as their contract says.
    fn answer(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Claim(request) => Answer::Claim(self.claim(&request.consumer)),
            Ask::Host(key) => Answer::Host(self.hosts.get(key).cloned().map(Box::new)),
            Ask::Provision { host, consumer, .. } => Answer::Provision(match self.hosts.get_mut(host) {
                None => Provisioned::Missing,
                Some(host) if host.consumer.as_ref() != Some(consumer) => {
                    Provisioned::Foreign("another".into())
                }
                Some(host) => {
                    host.requested = true;
                    Provisioned::Accepted(Box::new(host.clone()))
                }
            }),
            Ask::Nodes(query) => {
                let mut index = NodeIndex::default();
                if let Some(node) = &self.node {
                    index.put(node.clone());
                }
                Answer::Nodes(NodeAnswer::Found(index.find(query)))
            }
            Ask::LinkNode { query, .. } => Answer::NodeLinked(match &mut self.node {
                None => Some("it is gone".into()),
                Some(node) => {
                    node.provider_id.clone_from(&query.provider_id);
                    None
                }
            }),
            Ask::Release { host, consumer, .. } => {
                Answer::Release(host.clone(), self.release(host, consumer))
            }
            Ask::PrepareMove { host, consumer } => {
                self.pause(host, consumer, true);
                Answer::MovePrepared(host.clone())
            }
            Ask::ResumeAfterMove { host, consumer, .. } => {
                self.pause(host, consumer, false);
                Answer::Resumed(host.clone(), None)
            }
            Ask::Held(_) => Answer::Held(self.held()),
            Ask::Cleaning { .. } => Answer::Cleaning,
            Ask::Successor(_) => Answer::Successor(Successor::Unwanted),
            Ask::EndReservations(_) => Answer::ReservationsEnded,
        }
    }

    fn claim(&mut self, consumer: &Consumer) -> Claimed {
        let known = self
            .hosts
            .values_mut()
            .find(|host| host.consumer.as_ref() == Some(consumer));
        if let Some(host) = known {
            return Claimed::Host(Box::new(host.clone()));
        }
        let mut free = self
            .hosts
            .values_mut()
            .filter(|host| host.consumer.is_none() && host.state == "available");
        match free.next() {
            None => Claimed::NoHost {
                candidates: 0,
                rejections: vec![],
            },
            Some(host) => {
                host.consumer = Some(consumer.clone());
                Claimed::Host(Box::new(host.clone()))
            }
        }
    }

    fn release(&mut self, key: &HostKey, consumer: &Consumer) -> Released {
        match self.hosts.get_mut(key) {
            Some(host) if host.consumer.as_ref() == Some(consumer) => {
                host.requested = false;
                if host.state == "available" {
                    host.consumer = None;
                    host.paused_for_move = false;
                    return Released::Done;
                }
                if host.paused_for_move {
                    return Released::PausedForMove;
                }
                Released::Waiting(host.state.clone())
            }
            Some(_) | None => Released::Done,
        }
    }

    fn pause(&mut self, key: &HostKey, consumer: &Consumer, paused: bool) {
        if let Some(host) = self.hosts.get_mut(key)
            && host.consumer.as_ref() == Some(consumer)
        {
            host.paused_for_move = paused;
        }
    }

    fn check(&mut self) {
        let held = self.held();
        let metadata = &self.fixture.machine.metadata;
        assert!(held.len() <= 1, "two hosts: {held:?}");
        assert!(
            held.is_empty() || (!self.gone && metadata.finalizers.is_some()),
            "{held:?} is held by a machine without finalizer"
        );
        let status = self.fixture.machine.status.clone().unwrap_or_default();
        let provisioned = status
            .initialization
            .is_some_and(|done| done.provisioned == Some(true));
        assert!(provisioned || !self.provisioned, "it was provisioned");
        self.provisioned = provisioned;
        let provider_id = self.fixture.machine.spec.provider_id.clone();
        assert!(
            self.provider_id.is_none() || self.provider_id == provider_id,
            "another provider ID"
        );
        self.provider_id = provider_id;
    }

    /// All is well from now on.
    fn settle(&mut self) {
        self.happen(Event::Pause(false));
        self.happen(Event::Around(true));
        self.make_host();
        for _ in 0..ENOUGH {
            self.pass(usize::from(u8::MAX), u8::MAX, u8::MAX);
            self.progress();
            if self.node.is_none() {
                self.happen(Event::Node(true));
            }
            self.check();
        }
    }
}

/// What the core is told of a call that failed.
fn failure(ask: &Ask) -> Answer {
    match ask {
        Ask::Nodes(_) => Answer::Nodes(NodeAnswer::Unreachable("refused".into())),
        Ask::LinkNode { .. } => Answer::NodeLinked(Some("refused".into())),
        Ask::Successor(_) => Answer::Successor(Successor::Unknown("refused".into())),
        Ask::Claim(_)
        | Ask::Host(_)
        | Ask::Provision { .. }
        | Ask::Release { .. }
        | Ask::PrepareMove { .. }
        | Ask::ResumeAfterMove { .. }
        | Ask::Held(_)
        | Ask::Cleaning { .. }
        | Ask::EndReservations(_) => Answer::Trouble(Trouble::Unavailable("refused".into())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_machine_keeps_its_promises_whatever_happens(
        events in prop::collection::vec(event(), 1..60),
        ends in any::<bool>(),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            world.check();
        }
        if ends {
            world.happen(Event::Delete);
        }
        let going = world.fixture.machine.metadata.deletion_timestamp.is_some();
        world.settle();
        if going {
            prop_assert!(world.gone, "still there: {:#?}", world.fixture.machine);
            prop_assert!(world.held().is_empty());
        } else {
            let status = world.fixture.machine.status.clone().unwrap_or_default();
            prop_assert!(conditions::is_true(&status.conditions, "Ready"), "not ready: {status:#?}");
            prop_assert!(world.hosts.values().all(|host| !host.paused_for_move), "it stayed paused");
        }
    }
}
