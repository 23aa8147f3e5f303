//! Builders of the objects around one machine.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use metal3_api::capi::ContractVersionedObjectReference;
use metal3_api::capi::{
    Cluster, ClusterInitialization, ClusterStatus, Machine, MachineNodeReference, MachineStatus,
};
use metal3_api::conditions;
use metal3_api::infra::v1beta2::{Image, Initialization, Metal3Cluster, Metal3Machine, Metal3MachineStatus};
use metal3_api::names;
use metal3_capm3_core::host::{Consumer, HostKey, HostSummary};
use metal3_capm3_core::machine::{Answer, Ask, Policy, Seen, Step, Verdict, View, plan};

pub(crate) const ID: &str = "metal3://ns/h0/m";

pub(crate) fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("ns".into()),
        uid: Some(format!("uid-{name}")),
        generation: Some(1),
        ..ObjectMeta::default()
    }
}

/// A machine and what surrounds it.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    pub(crate) machine: Metal3Machine,
    pub(crate) owner: Option<Machine>,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) infra: Option<Metal3Cluster>,
    pub(crate) policy: Policy,
}

impl Fixture {
    /// Everything is there, nothing has happened to the machine yet.
    pub(crate) fn new() -> Self {
        let mut machine = Metal3Machine::new("m", Default::default());
        machine.metadata = meta("m");
        machine.metadata.labels = Some([(names::LABEL_CLUSTER_NAME.into(), "c".into())].into());
        machine.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "cluster.x-k8s.io/v1beta2".into(),
            kind: "Machine".into(),
            name: "m".into(),
            ..OwnerReference::default()
        }]);
        machine.spec.image = Some(Image {
            url: "http://images/a.qcow2".into(),
            checksum: Some("abc".into()),
            ..Image::default()
        });
        let mut owner = Machine::new("m", Default::default());
        owner.metadata = meta("m");
        owner.spec.cluster_name = "c".into();
        owner.spec.bootstrap.config_ref = Some(ContractVersionedObjectReference::default());
        owner.spec.bootstrap.data_secret_name = Some("m-bootstrap".into());
        let mut cluster = Cluster::new("c", Default::default());
        cluster.metadata = meta("c");
        cluster.status = Some(ClusterStatus {
            initialization: Some(ClusterInitialization {
                infrastructure_provisioned: Some(true),
                ..ClusterInitialization::default()
            }),
            ..ClusterStatus::default()
        });
        let mut infra = Metal3Cluster::new("c", Default::default());
        infra.metadata = meta("c");
        Self {
            machine,
            owner: Some(owner),
            cluster: Some(cluster),
            infra: Some(infra),
            policy: Policy::default(),
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The finalizer was written.
    pub(crate) fn guarded(self) -> Self {
        self.with(|f| f.machine.metadata.finalizers = Some(vec![names::FINALIZER_METAL3_MACHINE.into()]))
    }

    /// The host was claimed and the annotation written.
    pub(crate) fn claimed(self) -> Self {
        self.guarded().with(|f| {
            let annotations = f.machine.metadata.annotations.get_or_insert_default();
            annotations.insert(names::ANNOTATION_HOST.into(), "ns/h0".into());
        })
    }

    pub(crate) fn deleting(self) -> Self {
        self.with(|f| f.machine.metadata.deletion_timestamp = Some(Time(at(100))))
    }

    pub(crate) fn with_node(self) -> Self {
        self.with(|f| {
            f.owner.as_mut().unwrap().status = Some(MachineStatus {
                node_ref: Some(MachineNodeReference { name: "node".into() }),
                ..MachineStatus::default()
            });
        })
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            machine: &self.machine,
            owner: self.owner.as_ref(),
            cluster: self.cluster.as_ref(),
            infra: self.infra.as_ref(),
            policy: self.policy,
        }
    }

    pub(crate) fn plan(&self, seen: &Seen) -> Step {
        plan(&self.view(), seen, at(1000))
    }

    /// Writes a verdict as the shell does.
    pub(crate) fn apply(&mut self, verdict: &Verdict) {
        use metal3_capm3_core::machine::Finalizer;
        let metadata = &mut self.machine.metadata;
        match verdict.finalizer {
            Finalizer::Keep => {}
            Finalizer::Add => metadata.finalizers = Some(vec![names::FINALIZER_METAL3_MACHINE.into()]),
            Finalizer::Drop => metadata.finalizers = None,
        }
        if let Some(host) = &verdict.changes.host {
            let annotations = metadata.annotations.get_or_insert_default();
            annotations.insert(names::ANNOTATION_HOST.into(), host.clone());
        }
        if let Some(id) = &verdict.changes.provider_id {
            self.machine.spec.provider_id = Some(id.clone());
        }
        if let Some(domain) = &verdict.changes.failure_domain {
            self.machine.spec.failure_domain.clone_from(domain);
        }
        self.machine.status = Some(verdict.status.clone());
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

pub(crate) fn key(name: &str) -> HostKey {
    HostKey {
        namespace: "ns".into(),
        name: name.into(),
    }
}

/// A host of ours in this state that was told what to run.
pub(crate) fn host(name: &str, state: &str) -> HostSummary {
    HostSummary {
        key: key(name),
        uid: format!("uid-{name}"),
        consumer: Some(us()),
        state: state.into(),
        requested: true,
        cleaning_mode: String::new(),
        error: String::new(),
        paused_for_move: false,
        wait: None,
        ips: vec!["10.0.0.1".into()],
        hostname: "node".into(),
    }
}

fn seen(answers: impl IntoIterator<Item = Answer>) -> Seen {
    let mut seen = Seen::default();
    for answer in answers {
        seen.record(answer);
    }
    seen
}

/// What is asked after these answers.
pub(crate) fn asked(fixture: &Fixture, answers: impl IntoIterator<Item = Answer>) -> Ask {
    match fixture.plan(&seen(answers)) {
        Step::Ask(ask) => *ask,
        Step::Finish(verdict) => panic!("finished: {verdict:#?}"),
    }
}

/// What comes of these answers.
pub(crate) fn finished(fixture: &Fixture, answers: impl IntoIterator<Item = Answer>) -> Verdict {
    match fixture.plan(&seen(answers)) {
        Step::Finish(verdict) => *verdict,
        Step::Ask(ask) => panic!("asked: {ask:#?}"),
    }
}

/// `Status Reason` of a condition, and its message.
pub(crate) fn condition<'a>(verdict: &'a Verdict, type_: &str) -> (String, &'a str) {
    let condition = conditions::find(&verdict.status.conditions, type_).unwrap();
    (
        format!("{} {}", condition.status, condition.reason),
        &condition.message,
    )
}

/// Cluster API knows the Node.
pub(crate) fn running() -> Fixture {
    Fixture::new().claimed().with_node().with(|f| {
        f.machine.spec.provider_id = Some(ID.into());
        f.machine.status = Some(Metal3MachineStatus {
            initialization: Some(Initialization {
                provisioned: Some(true),
            }),
            ..Metal3MachineStatus::default()
        });
    })
}
