//! What becomes of the host of a machine that goes, and which hosts are kept for one that comes.

use crate::common::{Fixture, asked, at, finished, host, key};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use metal3_api::conditions;
use metal3_api::names;
use metal3_capm3_core::machine::{
    Answer, Ask, Claimed, Finalizer, Owner, Policy, Released, Requeue, Reservation, Reservations, Successor,
    Verdict,
};

fn owned_by(api_version: &str, kind: &str, name: &str) -> OwnerReference {
    OwnerReference {
        api_version: api_version.into(),
        kind: kind.into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        ..OwnerReference::default()
    }
}

fn worker() -> Fixture {
    Fixture::new().claimed().with(|f| {
        let metadata = &mut f.owner.as_mut().unwrap().metadata;
        metadata.labels = Some([(names::LABEL_DEPLOYMENT_NAME.to_owned(), "d".to_owned())].into());
        metadata.owner_references = Some(vec![owned_by("cluster.x-k8s.io/v1beta2", "MachineSet", "d-1")]);
        f.policy = Policy {
            reuse_timeout: Some(SignedDuration::from_hours(1)),
            ..Policy::default()
        };
    })
}

fn control_plane() -> Fixture {
    worker().with(|f| {
        let metadata = &mut f.owner.as_mut().unwrap().metadata;
        metadata.labels = Some([(names::LABEL_CONTROL_PLANE.to_owned(), String::new())].into());
        let group = "controlplane.cluster.x-k8s.io/v1alpha1";
        metadata.owner_references = Some(vec![owned_by(group, "OtherControlPlane", "p")]);
    })
}

const fn wanted(replicas: u32, settled: u32) -> Answer {
    Answer::Successor(Successor::Wanted { replicas, settled })
}

fn released() -> Answer {
    Answer::Release(key("h0"), Released::Done)
}

#[test]
fn a_claim_asks_for_the_hosts_that_its_parent_kept() {
    let unclaimed = |fixture: Fixture| fixture.with(|f| f.machine.metadata.annotations = None);
    let alone = Fixture::new().guarded();
    for (fixture, expected) in [
        (unclaimed(worker()), "md-d"),
        (unclaimed(control_plane()), "cp-p"),
        (alone, ""),
    ] {
        let Ask::Claim(claim) = asked(&fixture, []) else {
            panic!("no claim")
        };
        assert_eq!(claim.wish.reuse_key, expected);
        assert!(!claim.wish.failure_domain_required);
    }
    let strict = unclaimed(worker()).with(|f| f.policy.failure_domain_required = true);
    assert!(matches!(asked(&strict, []), Ask::Claim(claim) if claim.wish.failure_domain_required));
}

#[test]
fn the_parent_is_asked_before_the_host_is_given_back() {
    let Ask::Successor(parent) = asked(&worker().deleting(), []) else {
        panic!("not asked")
    };
    assert_eq!(parent.key, "md-d");
    assert!(matches!(parent.owner, Owner::MachineSet(set, name) if set.uid == "uid-d-1" && name == "d"));
    let Ask::Successor(parent) = asked(&control_plane().deleting(), []) else {
        panic!("not asked")
    };
    assert_eq!(parent.key, "cp-p");
    assert!(matches!(parent.owner, Owner::ControlPlane(owner) if owner.kind == "OtherControlPlane"));
}

#[test]
fn a_host_is_kept_only_when_somebody_comes_for_it() {
    let table = [
        ("a rollout makes a new machine", wanted(3, 2), true),
        ("all are replaced", wanted(3, 0), true),
        ("a scale-down makes none", wanted(2, 2), false),
        ("the parent goes", wanted(0, 0), false),
        (
            "no template asks for it",
            Answer::Successor(Successor::Unwanted),
            false,
        ),
        (
            "nobody may say so",
            Answer::Successor(Successor::Unknown("forbidden".into())),
            false,
        ),
    ];
    for fixture in [worker(), control_plane()] {
        for (name, answer, kept) in table.clone() {
            let Ask::Release { reservation, .. } = asked(&fixture.clone().deleting(), [answer]) else {
                panic!("{name}: not released")
            };
            assert_eq!(reservation.is_some(), kept, "{name}");
            if let Some(Reservation {
                key,
                cluster,
                expires,
            }) = reservation
            {
                assert!(["md-d", "cp-p"].contains(&key.as_str()));
                assert_eq!((cluster.kind.as_str(), cluster.name.as_str()), ("Cluster", "c"));
                assert_eq!(expires, Some(at(1000 + 3600)), "an hour from now");
            }
        }
    }
}

#[test]
fn a_host_that_is_kept_without_end_has_none() {
    let fixture = worker().deleting().with(|f| f.policy.reuse_timeout = None);
    let Ask::Release { reservation, .. } = asked(&fixture, [wanted(3, 2)]) else {
        panic!("not released")
    };
    assert_eq!(reservation.unwrap().expires, None);
}

#[test]
fn what_nobody_comes_for_is_freed_before_the_machine_goes() {
    let fixture = worker().deleting();
    let held = || Answer::Held(vec![]);
    let Ask::EndReservations(scope) = asked(&fixture, [wanted(2, 2), released(), held()]) else {
        panic!("nothing is freed")
    };
    assert!(matches!(scope, Reservations::Key { key, .. } if key == "md-d"));
    let gone = finished(
        &fixture,
        [wanted(2, 2), released(), held(), Answer::ReservationsEnded],
    );
    assert_eq!(gone.finalizer, Finalizer::Drop);

    let kept = finished(&fixture, [wanted(3, 2), released(), held()]);
    assert_eq!(kept.finalizer, Finalizer::Drop);
    let told = kept
        .events
        .iter()
        .find(|event| event.reason == "HostReleased")
        .unwrap();
    assert!(
        told.message
            .contains("kept for the next machine of md-d until 1970-01-01T01:16:40Z"),
        "{}",
        told.message
    );
}

#[test]
fn a_cluster_that_goes_keeps_no_host() {
    let fixture = worker()
        .deleting()
        .with(|f| f.cluster.as_mut().unwrap().metadata.deletion_timestamp = Some(Time(at(1))));
    assert!(matches!(
        asked(&fixture, []),
        Ask::Release {
            reservation: None,
            ..
        }
    ));
    let scope = asked(&fixture, [released(), Answer::Held(vec![])]);
    assert!(
        matches!(scope, Ask::EndReservations(Reservations::Cluster(cluster)) if cluster.kind == "Cluster" && cluster.name == "c")
    );
}

#[test]
fn a_parent_that_nobody_may_read_is_told_and_holds_nothing_up() {
    let fixture = control_plane().deleting();
    let unknown = Answer::Successor(Successor::Unknown("forbidden; grant get".into()));
    let verdict = finished(&fixture, [unknown, released(), Answer::Held(vec![])]);
    assert_eq!(verdict.finalizer, Finalizer::Drop);
    let event = verdict
        .events
        .iter()
        .find(|event| event.reason == "NodeReuseUnknown")
        .unwrap();
    assert!(event.warning && event.message.contains("forbidden; grant get"));
}

#[test]
fn a_host_that_was_kept_is_said_to_be_reused_also_later() {
    let mut fixture = worker().with(|f| f.machine.metadata.annotations = None);
    let verdict = finished(
        &fixture,
        [Answer::Claim(Claimed::Reused(Box::new(host(
            "h0",
            "provisioning",
        ))))],
    );
    let reason = |verdict: &Verdict| {
        let condition = conditions::find(&verdict.status.conditions, "AssociateBareMetalHost").unwrap();
        condition.reason.clone()
    };
    assert_eq!(reason(&verdict), "AssociateBareMetalHostViaNodeReuseSuccess");
    fixture.apply(&verdict);
    let look = Answer::Host(Some(Box::new(host("h0", "provisioning"))));
    let later = finished(&fixture, [look]);
    assert_eq!(reason(&later), "AssociateBareMetalHostViaNodeReuseSuccess");
    assert_eq!(later.events, []);
}

#[test]
fn a_kept_host_that_is_not_ready_is_a_wait_and_no_failure() {
    let fixture = worker().with(|f| f.machine.metadata.annotations = None);
    let waits = Answer::Claim(Claimed::Reserved("host ns/a is cleaning".into()));
    let verdict = finished(&fixture, [waits]);
    let wait = verdict.waiting.unwrap();
    assert_eq!(
        (wait.reason.as_str(), wait.message.as_str()),
        ("WaitingForReservedHost", "host ns/a is cleaning")
    );
    assert!(matches!(verdict.requeue, Requeue::After(_)));
    assert!(!verdict.events.iter().any(|event| event.warning));
}

#[test]
fn a_machine_with_several_hosts_says_how_it_is_rid_of_them() {
    let fixture = worker().with(|f| f.machine.metadata.annotations = None);
    let several = Answer::Claim(Claimed::Several("hosts a and b are in use by it".into()));
    let verdict = finished(&fixture, [several]);
    let wait = verdict.waiting.unwrap();
    assert_eq!(wait.reason.as_str(), "SeveralHosts");
    assert!(wait.remedy.contains("delete the Machine"));
    assert!(verdict.events.iter().any(|event| event.warning));
}

#[test]
fn the_cleaning_mode_follows_the_machine_and_nothing_else_does() {
    let fixture = worker().with(|f| f.machine.spec.automated_cleaning_mode = Some("disabled".into()));
    let look = || Answer::Host(Some(Box::new(host("h0", "provisioning"))));
    assert!(matches!(asked(&fixture, [look()]), Ask::Cleaning { mode, .. } if mode == "disabled"));
    finished(&fixture, [look(), Answer::Cleaning]);
    let mut same = host("h0", "provisioning");
    same.cleaning_mode = "disabled".into();
    finished(&fixture, [Answer::Host(Some(Box::new(same)))]);
    // Without a wish of the machine, the host keeps what its user said.
    finished(&worker(), [look()]);
}
