//! Paths of a cluster.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use metal3_api::capi::Cluster;
use metal3_api::conditions;
use metal3_api::infra::v1beta2::{APIEndpoint, FailureDomain, Metal3Cluster};
use metal3_api::names;
use metal3_capm3_core::cluster::{Seen, Step, Verdict, View, plan};
use metal3_capm3_core::machine::Finalizer;

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

fn infra() -> Metal3Cluster {
    let mut infra = Metal3Cluster::new("c", Default::default());
    infra.metadata.namespace = Some("ns".into());
    infra.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "cluster.x-k8s.io/v1beta2".into(),
        kind: "Cluster".into(),
        name: "c".into(),
        ..OwnerReference::default()
    }]);
    infra.spec.control_plane_endpoint = Some(APIEndpoint {
        host: Some("10.0.0.9".into()),
        port: Some(6443),
    });
    infra
}

fn verdict(infra: &Metal3Cluster, cluster: Option<&Cluster>, seen: Seen) -> Verdict {
    match plan(&View { infra, cluster }, &seen, at(7)) {
        Step::Finish(verdict) => *verdict,
        other => panic!("{other:?}"),
    }
}

fn state(verdict: &Verdict, type_: &str) -> String {
    let condition = conditions::find(&verdict.status.conditions, type_).unwrap();
    format!("{} {}", condition.status, condition.reason)
}

#[test]
fn an_endpoint_makes_the_cluster_provisioned() {
    let cluster = Cluster::new("c", Default::default());
    let mut infra = infra();
    infra.spec.failure_domains = vec![FailureDomain {
        name: "rack".into(),
        ..FailureDomain::default()
    }];
    let first = verdict(&infra, Some(&cluster), Seen::default());
    assert_eq!(first.finalizer, Finalizer::Add);
    assert_eq!(
        first.status.initialization.as_ref().unwrap().provisioned,
        Some(true)
    );
    assert_eq!(first.status.failure_domains, infra.spec.failure_domains);
    assert_eq!(state(&first, "Ready"), "True Ready");
    let told: Vec<_> = first
        .events
        .iter()
        .map(|event| (event.reason, event.message.as_str()))
        .collect();
    assert_eq!(told, [("Ready", "the control plane endpoint is 10.0.0.9:6443")]);
    infra.metadata.finalizers = Some(vec![names::FINALIZER_METAL3_CLUSTER.into()]);
    infra.status = Some(first.status.clone());
    let second = match plan(
        &View {
            infra: &infra,
            cluster: Some(&cluster),
        },
        &Seen::default(),
        at(99),
    ) {
        Step::Finish(verdict) => *verdict,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        second.status, first.status,
        "an unchanged cluster is not written again"
    );
}

#[test]
fn a_missing_endpoint_and_a_missing_owner_are_named() {
    let cluster = Cluster::new("c", Default::default());
    let mut unset = infra();
    unset.spec.control_plane_endpoint = None;
    let refused = verdict(&unset, Some(&cluster), Seen::default());
    assert_eq!(
        state(&refused, "BaremetalInfrastructureReady"),
        "False InvalidConfiguration"
    );
    assert_eq!(refused.status.initialization, None);
    let orphan = verdict(&infra(), None, Seen::default());
    assert_eq!(state(&orphan, "Ready"), "False NotReady");
    assert_eq!(orphan.finalizer, Finalizer::Keep);
}

#[test]
fn deletion_waits_for_machines_but_not_for_the_cluster_object() {
    let mut infra = infra();
    infra.metadata.finalizers = Some(vec![names::FINALIZER_METAL3_CLUSTER.into()]);
    infra.metadata.deletion_timestamp = Some(Time(at(1)));
    let view = View {
        infra: &infra,
        cluster: None,
    };
    assert_eq!(
        plan(&view, &Seen::default(), at(2)),
        Step::CountMachines("c".into())
    );
    let waits = verdict(&infra, None, Seen { machines: Some(2) });
    assert_eq!(waits.finalizer, Finalizer::Keep);
    assert_eq!(state(&waits, "BaremetalInfrastructureReady"), "False Deleting");
    assert_eq!(
        verdict(&infra, None, Seen { machines: Some(0) }).finalizer,
        Finalizer::Drop
    );
    infra.metadata.owner_references = None;
    let unowned = verdict(&infra, None, Seen::default());
    assert_eq!(
        unowned.finalizer,
        Finalizer::Drop,
        "an object nobody owns can be deleted"
    );
}

#[test]
fn a_cluster_managed_by_others_is_left_alone() {
    let mut infra = infra();
    infra.metadata.annotations = Some([(names::ANNOTATION_MANAGED_BY.into(), "them".into())].into());
    assert_eq!(
        plan(
            &View {
                infra: &infra,
                cluster: None
            },
            &Seen::default(),
            at(1)
        ),
        Step::Leave
    );
}

#[test]
fn a_paused_cluster_says_so_and_keeps_its_finalizer() {
    let mut cluster = Cluster::new("c", Default::default());
    cluster.spec.paused = Some(true);
    let mut infra = infra();
    infra.metadata.deletion_timestamp = Some(Time(at(1)));
    let paused = verdict(&infra, Some(&cluster), Seen::default());
    assert_eq!(state(&paused, "Paused"), "True Paused");
    assert_eq!(paused.finalizer, Finalizer::Keep);
}
