//! Builders of the objects around one remediation, and what comes of them when questions are answered.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use metal3_api::capi::{Cluster, ContractVersionedObjectReference, Machine};
use metal3_api::capi::{MachineNodeReference, MachineStatus};
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3Remediation, RemediationStrategy};
use metal3_api::names;
use metal3_capm3_core::host::Consumer;
use metal3_capm3_core::machine::Finalizer;
use metal3_capm3_core::remediation::{
    Answer, Ask, FINALIZER, HostFacts, NodeAnswer, NodeSeen, Seen, Step, Verdict, View, plan,
};

/// Seconds of an attempt.
pub(crate) const TIMEOUT: i64 = 600;
pub(crate) const KEY: &str = "metal3-remediation-uid-m";

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("ns".into()),
        uid: Some(format!("uid-{name}")),
        ..ObjectMeta::default()
    }
}

/// A remediation and what surrounds it.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    pub(crate) remediation: Metal3Remediation,
    pub(crate) machine: Option<Machine>,
    pub(crate) metal3_machine: Option<Metal3Machine>,
    pub(crate) cluster: Option<Cluster>,
}

impl Fixture {
    /// A MachineHealthCheck has just made it; the Machine has a host and a Node.
    pub(crate) fn new() -> Self {
        let mut remediation = Metal3Remediation::new("m", Default::default());
        remediation.metadata = meta("m");
        remediation.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "cluster.x-k8s.io/v1beta2".into(),
            kind: "Machine".into(),
            name: "m".into(),
            ..OwnerReference::default()
        }]);
        remediation.spec.strategy = Some(RemediationStrategy {
            type_: Some("Reboot".into()),
            retry_limit: Some(1),
            timeout_seconds: Some(600),
        });
        let mut machine = Machine::new("m", Default::default());
        machine.metadata = meta("m");
        machine.spec.cluster_name = "c".into();
        machine.spec.infrastructure_ref = ContractVersionedObjectReference {
            kind: "Metal3Machine".into(),
            name: "m".into(),
            ..ContractVersionedObjectReference::default()
        };
        machine.status = Some(MachineStatus {
            node_ref: Some(MachineNodeReference { name: "node".into() }),
            ..MachineStatus::default()
        });
        let mut metal3_machine = Metal3Machine::new("m", Default::default());
        metal3_machine.metadata = meta("m");
        metal3_machine.metadata.annotations = Some([(names::ANNOTATION_HOST.into(), "ns/h".into())].into());
        let mut cluster = Cluster::new("c", Default::default());
        cluster.metadata = meta("c");
        Self {
            remediation,
            machine: Some(machine),
            metal3_machine: Some(metal3_machine),
            cluster: Some(cluster),
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// In a phase since second 1000, with so many retries.
    pub(crate) fn in_phase(self, phase: &str, retries: i32) -> Self {
        self.with(|f| {
            f.remediation.metadata.finalizers = Some(vec![FINALIZER.into()]);
            let status = f.remediation.status.get_or_insert_default();
            status.phase = Some(phase.into());
            status.last_remediated = Some(Time(at(1000)));
            status.retry_count = (retries > 0).then_some(retries);
        })
    }

    pub(crate) fn deleted(self, second: i64) -> Self {
        self.with(|f| f.remediation.metadata.deletion_timestamp = Some(Time(at(second))))
    }

    pub(crate) fn plan(&self, seen: &Seen, second: i64) -> Step {
        let view = View {
            remediation: &self.remediation,
            machine: self.machine.as_ref(),
            metal3_machine: self.metal3_machine.as_ref(),
            cluster: self.cluster.as_ref(),
        };
        plan(&view, seen, at(second))
    }

    /// Writes a verdict as the shell does, dying before the write with this number; answers whether the object is gone.
    pub(crate) fn commit(&mut self, verdict: &Verdict, writes: u8) -> bool {
        let metadata = &mut self.remediation.metadata;
        if writes >= 1 {
            if verdict.finalizer == Finalizer::Add {
                metadata.finalizers = Some(vec![FINALIZER.into()]);
            }
            let annotations = metadata.annotations.get_or_insert_default();
            for (name, value) in &verdict.annotations {
                match value {
                    Some(value) => annotations.insert((*name).into(), value.clone()),
                    None => annotations.remove(*name),
                };
            }
        }
        if writes >= 2 && verdict.finalizer != Finalizer::Drop {
            self.remediation.status = Some(verdict.status.clone());
        }
        if writes >= 3 && verdict.finalizer == Finalizer::Drop {
            metadata.finalizers = None;
        }
        metadata.deletion_timestamp.is_some() && metadata.finalizers.is_none()
    }
}

pub(crate) fn us() -> Consumer {
    Consumer {
        group: "infrastructure.cluster.x-k8s.io".into(),
        kind: "Metal3Machine".into(),
        namespace: "ns".into(),
        name: "m".into(),
    }
}

/// Ours, on, and wanted on.
pub(crate) fn host() -> HostFacts {
    HostFacts {
        consumer: Some(us()),
        powered_on: true,
        online: true,
        ..HostFacts::default()
    }
}

/// Held off by us.
pub(crate) fn off() -> HostFacts {
    HostFacts {
        powered_on: false,
        holds: vec![KEY.into()],
        ..host()
    }
}

/// Asks and is answered until it ends; asks about the Machine's conditions need no answer of the test.
pub(crate) fn run(fixture: &Fixture, second: i64, answers: &[Answer]) -> (Vec<Ask>, Option<Verdict>) {
    let (mut seen, mut asks, mut answers) = (Seen::default(), Vec::new(), answers.iter());
    loop {
        match fixture.plan(&seen, second) {
            Step::Finish(verdict) => return (asks, Some(*verdict)),
            Step::Ask(ask) => {
                let answer = match &*ask {
                    Ask::Tell(_) => Some(Answer::Told),
                    Ask::HandOver(_) => Some(Answer::HandedOver),
                    _ => answers.next().cloned(),
                };
                asks.push(*ask);
                match answer {
                    Some(answer) => seen.record(answer),
                    None => return (asks, None),
                }
            }
        }
    }
}

pub(crate) fn ends(fixture: &Fixture, second: i64, answers: &[Answer]) -> Verdict {
    let (asks, verdict) = run(fixture, second, answers);
    verdict.unwrap_or_else(|| panic!("asked: {asks:#?}"))
}

/// The last thing asked, which is not answered.
pub(crate) fn asks(fixture: &Fixture, second: i64, answers: &[Answer]) -> Ask {
    match run(fixture, second, answers) {
        (asks, None) => asks.last().unwrap().clone(),
        (_, Some(verdict)) => panic!("finished: {verdict:#?}"),
    }
}

pub(crate) fn phase(verdict: &Verdict) -> &str {
    verdict.status.phase.as_deref().unwrap_or_default()
}

pub(crate) fn waits(verdict: &Verdict) -> (&'static str, &str) {
    let wait = verdict.waiting.as_ref().unwrap();
    (wait.reason.as_str(), &wait.message)
}

pub(crate) fn events(verdict: &Verdict) -> Vec<&'static str> {
    verdict.events.iter().map(|event| event.reason).collect()
}

pub(crate) fn look(host: HostFacts) -> Answer {
    Answer::Host(Some(host))
}

pub(crate) fn node(seen: NodeSeen) -> Answer {
    Answer::Node(NodeAnswer::Present(Box::new(seen)))
}

pub(crate) fn modern() -> NodeSeen {
    NodeSeen {
        can_be_tainted: true,
        ..NodeSeen::default()
    }
}
