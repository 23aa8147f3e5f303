//! A paused Cluster: what is asked for the host until `clusterctl` has copied it, and until it goes on.

use crate::common::{Fixture, ID, asked, condition, finished, host, key, running, us};
use metal3_api::conditions;
use metal3_api::names;
use metal3_capm3_core::host::{Consumer, HostSummary};
use metal3_capm3_core::machine::{Answer, Ask, Finalizer, NodeAnswer, Released, Requeue, Trouble, Verdict};
use metal3_capm3_core::node::{NodeFacts, NodeMatches};

const SET_FAILED: &str = "False BareMetalHostPauseAnnotationSetFailed";
const REMOVE_FAILED: &str = "False BareMetalHostPauseAnnotationRemoveFailed";

fn pause(fixture: Fixture) -> Fixture {
    fixture.with(|f| f.cluster.as_mut().unwrap().spec.paused = Some(true))
}

fn annotate(fixture: Fixture, key: &str) -> Fixture {
    fixture.with(|f| {
        let annotations = f.machine.metadata.annotations.get_or_insert_default();
        annotations.insert(key.into(), String::new());
    })
}

fn prepare(name: &str) -> Ask {
    Ask::PrepareMove {
        host: key(name),
        consumer: us(),
    }
}

fn resume(name: &str) -> Ask {
    Ask::ResumeAfterMove {
        host: key(name),
        consumer: us(),
        cluster_name: "c".into(),
    }
}

fn paused_host(state: &str) -> HostSummary {
    HostSummary {
        paused_for_move: true,
        ..host("h0", state)
    }
}

fn look(host: HostSummary) -> Answer {
    Answer::Host(Some(Box::new(host)))
}

fn away() -> Answer {
    Answer::Trouble(Trouble::Unavailable("connection refused".into()))
}

fn untouched(verdict: &Verdict) {
    assert_eq!(verdict.finalizer, Finalizer::Keep);
    assert!(verdict.changes.is_empty());
}

#[test]
fn the_host_of_a_paused_cluster_is_prepared_whatever_else_is_the_matter_with_the_machine() {
    for fixture in [
        Fixture::new().claimed(),
        Fixture::new().claimed().deleting(),
        Fixture::new().claimed().with(|f| f.owner = None),
        annotate(Fixture::new().claimed(), names::ANNOTATION_CAPI_PAUSED),
        // As it arrives in the other cluster.
        Fixture::new().claimed().with(|f| f.infra = None),
    ] {
        let fixture = pause(fixture);
        assert_eq!(asked(&fixture, []), prepare("h0"));
        let verdict = finished(&fixture, [Answer::MovePrepared(key("h0"))]);
        assert_eq!(
            condition(&verdict, "Paused"),
            ("True Paused".into(), "the Cluster is paused")
        );
        untouched(&verdict);
        assert!(
            matches!(verdict.requeue, Requeue::After(_)),
            "prepared again by itself"
        );
    }
}

#[test]
fn a_host_that_was_claimed_without_being_written_down_is_prepared_too() {
    let fixture = pause(Fixture::new().guarded());
    assert_eq!(asked(&fixture, []), Ask::Held(us()));
    let held = || Answer::Held(vec![key("h1"), key("h2")]);
    assert_eq!(asked(&fixture, [held()]), prepare("h1"));
    assert_eq!(
        asked(&fixture, [held(), Answer::MovePrepared(key("h1"))]),
        prepare("h2")
    );
    let both = [key("h1"), key("h2")].map(Answer::MovePrepared);
    untouched(&finished(&fixture, [held()].into_iter().chain(both)));
    untouched(&finished(&fixture, [Answer::Held(vec![])]));
    // It never claimed anything.
    untouched(&finished(&pause(Fixture::new()), []));
}

#[test]
fn a_pause_that_fails_is_told_and_tried_again_and_nothing_else_changes() {
    let mut fixture = running();
    let ready = finished(&fixture, [look(host("h0", "provisioned"))]);
    fixture.apply(&ready);
    let denied = Answer::Trouble(Trouble::Denied("no".into()));
    for (trouble, remedy) in [
        (away(), "--host-service-address"),
        (denied, "hosts.host.metal3.io"),
    ] {
        let failed = finished(&pause(fixture.clone()), [trouble]);
        let (state, message) = condition(&failed, "Paused");
        assert_eq!(state, SET_FAILED);
        assert!(message.contains(remedy), "{message}");
        assert_eq!(failed.requeue, Requeue::Backoff);
        assert!(failed.events.iter().any(|event| event.warning));
        assert!(conditions::is_true(&failed.status.conditions, "Ready"));
        untouched(&failed);
        // It comes to that in the end.
        let mut fixture = fixture.clone();
        fixture.apply(&failed);
        let done = finished(&pause(fixture), [Answer::MovePrepared(key("h0"))]);
        assert_eq!(condition(&done, "Paused").0, "True Paused");
    }
    let unknown = finished(&pause(Fixture::new().guarded()), [away()]);
    assert_eq!(condition(&unknown, "Paused").0, SET_FAILED);
}

#[test]
fn a_machine_without_a_host_says_that_it_gets_none_while_it_is_paused_and_one_that_runs_stays_ready() {
    for fixture in [
        pause(Fixture::new()),
        annotate(Fixture::new().guarded(), names::ANNOTATION_CAPI_PAUSED),
    ] {
        let verdict = finished(&fixture, [Answer::Held(vec![])]);
        assert_eq!(condition(&verdict, "AssociateBareMetalHost").0, "False Paused");
        assert!(verdict.events.is_empty(), "{:?}", verdict.events);
    }
    let mut fixture = running();
    let ready = finished(&fixture, [look(host("h0", "provisioned"))]);
    fixture.apply(&ready);
    let paused = finished(&pause(fixture), [Answer::MovePrepared(key("h0"))]);
    assert!(conditions::is_true(&paused.status.conditions, "Ready"));
}

#[test]
fn a_copied_machine_that_is_deleted_asks_nothing_of_its_host() {
    for fixture in [
        Fixture::new().claimed().deleting(),
        pause(Fixture::new().claimed().deleting()),
    ] {
        let verdict = finished(&annotate(fixture, names::ANNOTATION_DELETE_FOR_MOVE), []);
        assert_eq!(condition(&verdict, "Paused").0, "True Paused");
        untouched(&verdict);
    }
}

#[test]
fn the_host_goes_on_before_anything_else_is_asked_for_it() {
    let mut fixture = running();
    assert_eq!(asked(&fixture, [look(paused_host("provisioned"))]), resume("h0"));
    let resumed = || [look(paused_host("provisioned")), Answer::Resumed(key("h0"), None)];
    let verdict = finished(&fixture, resumed());
    assert_eq!(condition(&verdict, "Paused").0, "False NotPaused");
    assert!(conditions::is_true(&verdict.status.conditions, "Ready"));
    fixture.apply(&verdict);
    assert_eq!(
        Some(&finished(&fixture, resumed()).status),
        fixture.machine.status.as_ref()
    );

    let idle = HostSummary {
        requested: false,
        ..paused_host("available")
    };
    let claimed = Fixture::new().claimed();
    assert_eq!(asked(&claimed, [look(idle.clone())]), resume("h0"));
    let next = asked(&claimed, [look(idle), Answer::Resumed(key("h0"), None)]);
    assert!(matches!(next, Ask::Provision { .. }), "{next:?}");
    // The pause of somebody else is none of ours.
    finished(&claimed, [look(host("h0", "available"))]);
    let other = Consumer {
        name: "other".into(),
        ..us()
    };
    let foreign = HostSummary {
        consumer: Some(other),
        ..paused_host("provisioned")
    };
    assert_eq!(
        condition(&finished(&claimed, [look(foreign)]), "AssociateBareMetalHost").0,
        "False HostTaken"
    );
}

#[test]
fn a_pause_that_cannot_be_ended_is_told_with_what_to_do() {
    let paused = || look(paused_host("provisioned"));
    let failed = finished(&running(), [paused(), away()]);
    assert_eq!(condition(&failed, "Paused").0, REMOVE_FAILED);
    assert_eq!(failed.requeue, Requeue::Backoff);
    let refusal = Some("host ns/h0 is of cluster \"d\"".to_owned());
    let refused = finished(&running(), [paused(), Answer::Resumed(key("h0"), refusal)]);
    let (state, message) = condition(&refused, "Paused");
    assert_eq!(state, REMOVE_FAILED);
    assert!(
        message.contains("of cluster \"d\"; correct the label"),
        "{message}"
    );
    assert!(matches!(refused.requeue, Requeue::After(_)));
}

#[test]
fn the_pause_of_a_machine_alone_is_not_that_of_its_host() {
    let fixture = annotate(running(), names::ANNOTATION_CAPI_PAUSED);
    assert_eq!(asked(&fixture, []), Ask::Host(key("h0")));
    assert_eq!(asked(&fixture, [look(paused_host("provisioned"))]), resume("h0"));
    for answers in [
        vec![look(host("h0", "provisioned"))],
        vec![look(paused_host("provisioned")), Answer::Resumed(key("h0"), None)],
        vec![Answer::Host(None)],
        vec![away()],
    ] {
        let verdict = finished(&fixture, answers);
        assert_eq!(condition(&verdict, "Paused").0, "True Paused");
        untouched(&verdict);
    }
    // While objects are copied, the Cluster may be seen after its machines.
    untouched(&finished(&fixture.with(|f| f.cluster = None), []));
    untouched(&finished(
        &annotate(Fixture::new().guarded(), names::ANNOTATION_CAPI_PAUSED),
        [],
    ));
}

#[test]
fn a_host_that_is_still_paused_goes_on_before_it_is_given_back() {
    let fixture = Fixture::new().claimed().deleting();
    let still = || Answer::Release(key("h0"), Released::PausedForMove);
    assert_eq!(asked(&fixture, [still()]), resume("h0"));
    let resumed = || Answer::Resumed(key("h0"), None);
    assert!(matches!(
        asked(&fixture, [still(), resumed()]),
        Ask::Release { .. }
    ));
    // The service has not heard of it yet, or does not do it.
    let refused = Answer::Resumed(key("h0"), Some("it is of another cluster".into()));
    for (answer, expected) in [
        (resumed(), "its pause is being ended"),
        (refused, "it is of another cluster"),
    ] {
        let verdict = finished(&fixture, [still(), answer, still()]);
        let (state, message) = condition(&verdict, "AssociateMetal3MachineMetaData");
        assert_eq!(state, "False Deleting");
        assert!(message.ends_with(expected), "{message}");
        assert!(matches!(verdict.requeue, Requeue::After(_)));
    }
    let failed = finished(&fixture, [still(), away()]);
    assert_eq!(condition(&failed, "Paused").0, REMOVE_FAILED);
    assert_eq!(
        (failed.finalizer, failed.requeue),
        (Finalizer::Keep, Requeue::Backoff)
    );
}

#[test]
fn a_machine_that_arrives_without_a_status_finds_host_and_node_as_they_were() {
    let mut fixture = running().with(|f| f.machine.status = None);
    let moved = HostSummary {
        uid: "another".into(),
        ..paused_host("provisioned")
    };
    let answers = || [look(moved.clone()), Answer::Resumed(key("h0"), None)];
    let Ask::Nodes(query) = asked(&fixture, answers()) else {
        panic!("something is done to a host that runs")
    };
    assert_eq!(query.provider_id, ID);
    let found = Answer::Nodes(NodeAnswer::Found(NodeMatches {
        by_provider_id: vec![NodeFacts {
            provider_id: ID.into(),
            ..NodeFacts::default()
        }],
        ..NodeMatches::default()
    }));
    let verdict = finished(&fixture, answers().into_iter().chain([found]));
    assert!(verdict.changes.is_empty(), "{:?}", verdict.changes);
    fixture.apply(&verdict);
    let status = fixture.machine.status.unwrap();
    assert!(conditions::is_true(&status.conditions, "Ready"));
    assert_eq!(status.initialization.unwrap().provisioned, Some(true));
    assert_eq!(status.user_data.unwrap().name.as_deref(), Some("m-bootstrap"));
}
