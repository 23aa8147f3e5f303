//! Paths of a cluster.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use metal3_api::capi::Cluster;
use metal3_api::conditions;
use metal3_api::infra::v1beta2::{APIEndpoint, FailureDomain, Metal3Cluster};
use metal3_api::names;
use metal3_capm3_core::cluster::{Seen, Step, Verdict, View, plan};
use metal3_capm3_core::host::Consumer;
use metal3_capm3_core::machine::{Finalizer, Reservations, Trouble};

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

fn verdict(infra: &Metal3Cluster, cluster: Option<&Cluster>, seen: &Seen) -> Verdict {
    verdict_at(infra, cluster, seen, 7)
}

fn verdict_at(infra: &Metal3Cluster, cluster: Option<&Cluster>, seen: &Seen, second: i64) -> Verdict {
    match plan(&View { infra, cluster }, seen, at(second)) {
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
    let first = verdict(&infra, Some(&cluster), &Seen::default());
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
    let refused = verdict(&unset, Some(&cluster), &Seen::default());
    assert_eq!(
        state(&refused, "BaremetalInfrastructureReady"),
        "False InvalidConfiguration"
    );
    assert_eq!(refused.status.initialization, None);
    let orphan = verdict(&infra(), None, &Seen::default());
    assert_eq!(state(&orphan, "Ready"), "False NotReady");
    assert_eq!(orphan.finalizer, Finalizer::Keep);
}

/// What v1beta1 shows: its conditions, and what failed.
fn old_state(verdict: &Verdict) -> (Vec<String>, Option<String>) {
    let part = verdict.status.deprecated.clone().unwrap().v1beta1.unwrap();
    let word = |word: Option<String>| word.unwrap_or_else(|| "-".into());
    let conditions = part.conditions.into_iter().map(|condition| {
        format!(
            "{} {} {} {}",
            condition.type_,
            condition.status,
            word(condition.reason),
            word(condition.severity)
        )
    });
    (conditions.collect(), part.failure_reason)
}

#[test]
fn v1beta1_shows_the_same_with_severities_and_a_failure_until_it_is_corrected() {
    let cluster = Cluster::new("c", Default::default());
    let mut infra = infra();
    let endpoint = infra.spec.control_plane_endpoint.take();
    let refused = verdict(&infra, Some(&cluster), &Seen::default());
    let (conditions, failure) = old_state(&refused);
    assert_eq!(
        conditions,
        [
            "Ready False ControlPlaneEndpointFailed Error",
            "BaremetalInfrastructureReady False ControlPlaneEndpointFailed Error"
        ]
    );
    assert_eq!(failure.as_deref(), Some("InvalidConfiguration"));
    let part = refused.status.deprecated.clone().unwrap().v1beta1.unwrap();
    assert!(part.failure_message.unwrap().contains("controlPlaneEndpoint"));

    infra.status = Some(refused.status);
    infra.spec.control_plane_endpoint = endpoint;
    let corrected = verdict(&infra, Some(&cluster), &Seen::default());
    let (conditions, failure) = old_state(&corrected);
    assert_eq!(
        conditions,
        ["Ready True - -", "BaremetalInfrastructureReady True - -"]
    );
    assert_eq!(failure, None);

    // A failure that somebody else reported is theirs.
    let mut status = corrected.status;
    let part = status
        .deprecated
        .get_or_insert_default()
        .v1beta1
        .get_or_insert_default();
    part.failure_reason = Some("Theirs".into());
    infra.status = Some(status);
    let (_, failure) = old_state(&verdict(&infra, Some(&cluster), &Seen::default()));
    assert_eq!(failure.as_deref(), Some("Theirs"));
    let (conditions, _) = old_state(&verdict(&infra, None, &Seen::default()));
    assert_eq!(conditions[0], "Ready False WaitingForClusterOwnerRef Info");
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
    let waits = verdict(&infra, None, &after(2, None));
    assert_eq!(waits.finalizer, Finalizer::Keep);
    assert_eq!(state(&waits, "BaremetalInfrastructureReady"), "False Deleting");
    let Step::EndReservations(Reservations::Cluster(owner)) = plan(&view, &after(0, None), at(2)) else {
        panic!("nothing is kept for Machines that will not come");
    };
    let expected = Consumer {
        group: "cluster.x-k8s.io".into(),
        kind: "Cluster".into(),
        namespace: "ns".into(),
        name: "c".into(),
    };
    assert_eq!(owner, expected);
    let gone = verdict(&infra, None, &after(0, Some(Ok(()))));
    assert_eq!((gone.finalizer, gone.events), (Finalizer::Drop, vec![]));
    infra.metadata.owner_references = None;
    let unowned = verdict(&infra, None, &Seen::default());
    assert_eq!(
        unowned.finalizer,
        Finalizer::Drop,
        "an object nobody owns can be deleted"
    );
}

/// What was found out by a deletion.
fn after(machines: usize, ended: Option<Result<(), Trouble>>) -> Seen {
    Seen {
        machines: Some(machines),
        ended,
    }
}

#[test]
fn a_host_service_that_is_away_holds_a_deletion_up_for_a_bounded_time_only() {
    let mut infra = infra();
    infra.metadata.finalizers = Some(vec![names::FINALIZER_METAL3_CLUSTER.into()]);
    infra.metadata.deletion_timestamp = Some(Time(at(1000)));
    let away = |trouble| after(0, Some(Err(trouble)));
    for (trouble, told) in [
        (
            Trouble::Unavailable("nobody answers".into()),
            "False HostServiceUnavailable",
        ),
        (Trouble::Denied("no".into()), "False HostServiceDenied"),
        (Trouble::Invalid("what".into()), "False Deleting"),
    ] {
        let waits = verdict_at(&infra, None, &away(trouble.clone()), 1001);
        assert_eq!(waits.finalizer, Finalizer::Keep);
        assert_eq!(state(&waits, "BaremetalInfrastructureReady"), told);
        let message = waits.waiting.as_ref().unwrap().message.clone();
        assert!(message.ends_with("timeout at 1970-01-01T00:31:40Z"), "{message}");
        infra.status = Some(waits.status.clone());
        let later = verdict_at(&infra, None, &away(trouble.clone()), 1899);
        assert_eq!(later.status, waits.status, "said once");
        assert_eq!(later.after, Some(jiff::SignedDuration::from_secs(1)));
        let gone = verdict_at(&infra, None, &away(trouble), 1900);
        assert_eq!(gone.finalizer, Finalizer::Drop);
        let told: Vec<_> = gone.events.iter().map(|event| event.reason).collect();
        assert_eq!(told, ["ReservationsLeft"]);
        infra.status = None;
    }
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
    let paused = verdict(&infra, Some(&cluster), &Seen::default());
    assert_eq!(state(&paused, "Paused"), "True Paused");
    assert_eq!(paused.finalizer, Finalizer::Keep);
}
