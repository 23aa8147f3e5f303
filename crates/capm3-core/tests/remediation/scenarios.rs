//! Each documented path of a remediation: what is there, what is answered and what comes of it.

use metal3_api::names;
use metal3_capm3_core::machine::{Finalizer, Requeue, Trouble};
use metal3_capm3_core::remediation::{
    ANNOTATION_HOLD, ANNOTATION_LABELS, Answer, Ask, Backup, HostFacts, NodeAnswer, NodeChange, NodeSeen,
};

use crate::common::{
    Fixture, KEY, TIMEOUT, asks, ends, events, host, look, modern, node, off, phase, run, waits,
};

fn label(key: &str) -> Backup {
    Backup {
        labels: [(key.to_owned(), "v".to_owned())].into(),
        ..Backup::default()
    }
}

#[test]
fn the_finalizer_and_the_key_of_the_hold_are_written_before_anything_is_done() {
    let new = Fixture::new();
    let verdict = ends(&new, 1000, &[]);
    assert_eq!(verdict.finalizer, Finalizer::Add);
    assert_eq!(verdict.annotations[ANNOTATION_HOLD].as_deref(), Some(KEY));
    let mut guarded = new;
    guarded.commit(&verdict, 9);
    let verdict = ends(&guarded, 1000, &[]);
    assert_eq!(
        (phase(&verdict), verdict.status.retry_count, events(&verdict)),
        ("Running", None, vec!["RemediationStarted"])
    );
}

#[test]
fn a_hold_that_was_moved_to_another_cluster_is_found_by_its_old_key() {
    let moved = |value: &str| {
        let value = value.to_owned();
        let fixture = Fixture::new().in_phase("Running", 0);
        let fixture = fixture.with(|f| {
            f.remediation.metadata.annotations = Some([(ANNOTATION_HOLD.into(), value)].into());
        });
        match asks(&fixture, 1000, &[look(host())]) {
            Ask::Hold(hold) => hold.key,
            ask => panic!("{ask:?}"),
        }
    };
    assert_eq!(moved("metal3-remediation-old"), "metal3-remediation-old");
    for foreign in ["repair", "metal3-remediation-", "metal3-remediation-a b", ""] {
        assert_eq!(moved(foreign), KEY, "{foreign:?} may be somebody else's");
    }
}

#[test]
fn the_host_is_held_until_it_is_off_and_nothing_is_left_on_its_node() {
    let running = Fixture::new().in_phase("Running", 0);
    assert!(matches!(asks(&running, 1000, &[look(host())]), Ask::Hold(hold) if hold.key == KEY));
    let held = HostFacts {
        powered_on: true,
        ..off()
    };
    let verdict = ends(&running, 1000, &[look(host()), Answer::Held(Some(held))]);
    assert_eq!(waits(&verdict).0, "PoweringOff");

    let tainting = asks(&running, 1000, &[look(off()), node(modern())]);
    assert!(matches!(tainting, Ask::ChangeNode(_, NodeChange::Taint)));
    let verdict = ends(
        &running,
        1000,
        &[look(off()), node(modern()), Answer::NodeChanged(None)],
    );
    assert_eq!(phase(&verdict), "Running", "Pods are not told to go at once");
    for (terminating, attached) in [(1, 0), (0, 1)] {
        let busy = NodeSeen {
            tainted: true,
            terminating,
            attached,
            ..modern()
        };
        let verdict = ends(&running, 1010, &[look(off()), node(busy)]);
        assert_eq!(waits(&verdict).0, "FencingUnconfirmed");
        assert!(matches!(verdict.requeue, Requeue::After(_)));
    }
    let empty = NodeSeen {
        tainted: true,
        ..modern()
    };
    let verdict = ends(&running, 1010, &[look(off()), node(empty)]);
    assert_eq!(
        (phase(&verdict), events(&verdict)),
        ("Waiting", vec!["HostPoweredOff"])
    );
}

#[test]
fn a_host_comes_back_half_way_whatever_its_workload_cluster_says() {
    let running = Fixture::new().in_phase("Running", 0);
    let busy = NodeSeen {
        tainted: true,
        attached: 1,
        ..modern()
    };
    for answer in [
        node(busy),
        Answer::Node(NodeAnswer::Unreachable("refused".into())),
        Answer::Node(NodeAnswer::NoWay("no Secret".into())),
    ] {
        let verdict = ends(&running, 1000 + TIMEOUT / 2 - 1, &[look(off()), answer.clone()]);
        assert_eq!(phase(&verdict), "Running", "{answer:?}");
        let verdict = ends(&running, 1000 + TIMEOUT / 2, &[look(off()), answer]);
        assert_eq!(
            (phase(&verdict), events(&verdict)),
            ("Waiting", vec!["FencingUnconfirmed"])
        );
        assert!(verdict.events[0].warning);
    }
    let still_on = HostFacts {
        powered_on: true,
        ..off()
    };
    let verdict = ends(&running, 1000 + TIMEOUT - 1, &[look(still_on)]);
    assert_eq!(phase(&verdict), "Running", "a host that is on cannot come back");
}

#[test]
fn a_node_that_cannot_be_looked_at_or_is_not_there_needs_no_fence() {
    let running = Fixture::new().in_phase("Running", 0);
    for (answer, event) in [
        (NodeAnswer::Missing, "HostPoweredOff"),
        (NodeAnswer::Forbidden("no".into()), "FencingUnconfirmed"),
    ] {
        let verdict = ends(&running, 1000, &[look(off()), Answer::Node(answer)]);
        assert_eq!((phase(&verdict), events(&verdict)), ("Waiting", vec![event]));
    }
    let nodeless = running
        .clone()
        .with(|f| f.machine.as_mut().unwrap().status = None);
    let clusterless = running.with(|f| f.cluster = None);
    for fixture in [nodeless, clusterless] {
        let verdict = ends(&fixture, 1000, &[look(off())]);
        assert_eq!(
            (phase(&verdict), events(&verdict)),
            ("Waiting", vec!["HostPoweredOff"])
        );
    }
}

#[test]
fn an_old_cluster_loses_the_node_and_gets_its_labels_back() {
    let mut fixture = Fixture::new().in_phase("Running", 0);
    let old = NodeSeen {
        marks: label("a"),
        ..NodeSeen::default()
    };
    let verdict = ends(&fixture, 1000, &[look(off()), node(old.clone())]);
    assert_eq!(
        verdict.annotations[ANNOTATION_LABELS].as_deref(),
        Some(r#"{"a":"v"}"#)
    );
    fixture.commit(&verdict, 9);
    let ask = asks(&fixture, 1000, &[look(off()), node(old)]);
    assert!(matches!(ask, Ask::ChangeNode(_, NodeChange::Delete)));
    // A second attempt keeps what the first could not put back.
    let fresh = NodeSeen {
        marks: label("b"),
        ..NodeSeen::default()
    };
    let verdict = ends(&fixture, 1000, &[look(off()), node(fresh.clone())]);
    assert_eq!(
        verdict.annotations[ANNOTATION_LABELS].as_deref(),
        Some(r#"{"a":"v","b":"v"}"#)
    );

    let mut fixture = fixture.in_phase("Waiting", 0);
    let gone = ends(&fixture, 1010, &[look(host()), Answer::Node(NodeAnswer::Missing)]);
    assert!(waits(&gone).1.contains("to come back"));
    let ask = asks(&fixture, 1010, &[look(host()), node(fresh.clone())]);
    let Ask::ChangeNode(_, NodeChange::Restore(lacking)) = ask else {
        panic!("{ask:?}")
    };
    assert_eq!(lacking, label("a"));
    let verdict = ends(
        &fixture,
        1010,
        &[look(host()), node(fresh.clone()), Answer::NodeChanged(None)],
    );
    assert_eq!(verdict.annotations[ANNOTATION_LABELS], None);
    fixture.commit(&verdict, 9);
    let verdict = ends(&fixture, 1010, &[look(host()), node(fresh)]);
    assert!(waits(&verdict).1.contains("to be healthy"));
}

#[test]
fn the_hold_ends_before_anything_else_is_waited_for() {
    let waiting = Fixture::new().in_phase("Waiting", 0);
    // The service may tell of a time before the hold.
    let stale = HostFacts {
        holds: vec![],
        ..off()
    };
    for held in [off(), stale] {
        assert!(matches!(asks(&waiting, 1010, &[look(held)]), Ask::Release(hold) if hold.key == KEY));
    }
    let others = HostFacts {
        holds: vec!["repair".into()],
        ..off()
    };
    let verdict = ends(&waiting, 1010, &[look(off()), Answer::Released(Some(others))]);
    assert!(waits(&verdict).1.contains("held off by repair"));
    let tainted = NodeSeen {
        tainted: true,
        ..modern()
    };
    let ask = asks(&waiting, 1010, &[look(host()), node(tainted)]);
    assert!(matches!(ask, Ask::ChangeNode(_, NodeChange::Untaint)));
}

#[test]
fn there_is_one_reboot_more_than_retries_and_then_the_machine_is_given_up() {
    for from in ["Running", "Waiting"] {
        let verdict = ends(&Fixture::new().in_phase(from, 0), 1000 + TIMEOUT, &[look(host())]);
        assert_eq!(
            (phase(&verdict), verdict.status.retry_count, events(&verdict)),
            ("Running", Some(1), vec!["RemediationRetried"])
        );
        let last = Fixture::new().in_phase(from, 1);
        let answers = [look(off()), Answer::Released(Some(host())), Answer::Marked];
        let (asks, verdict) = run(&last, 1000 + TIMEOUT, &answers);
        let order: Vec<_> = asks
            .iter()
            .map(|ask| format!("{ask:?}").split(['(', ' ']).next().unwrap().to_owned())
            .collect();
        assert_eq!(order, ["Host", "Release", "Mark", "HandOver"]);
        let verdict = verdict.unwrap();
        assert_eq!(
            (phase(&verdict), events(&verdict)),
            ("Deleting machine", vec!["RemediationExhausted"])
        );
    }
}

#[test]
fn a_host_that_is_not_there_ends_the_first_attempt_for_good() {
    let running = Fixture::new().in_phase("Running", 0);
    let foreign = HostFacts {
        consumer: None,
        ..host()
    };
    for answer in [Answer::Host(None), look(foreign)] {
        let verdict = ends(&running, 1010, std::slice::from_ref(&answer));
        assert_eq!(waits(&verdict).0, "HostMissing");
        let verdict = ends(&running, 1000 + TIMEOUT, &[answer]);
        assert_eq!(phase(&verdict), "Deleting machine");
    }
    let hostless = running.with(|f| f.metal3_machine.as_mut().unwrap().metadata.annotations = None);
    assert_eq!(waits(&ends(&hostless, 1010, &[])).0, "HostMissing");
    assert_eq!(phase(&ends(&hostless, 1000 + TIMEOUT, &[])), "Deleting machine");
}

#[test]
fn a_host_that_the_user_switched_off_is_left_alone() {
    let switched_off = HostFacts {
        online: false,
        ..off()
    };
    for from in ["Running", "Waiting"] {
        let fixture = Fixture::new().in_phase(from, 0);
        let answers = [
            look(switched_off.clone()),
            Answer::Released(Some(switched_off.clone())),
        ];
        assert_eq!(phase(&ends(&fixture, 1010, &answers)), "Failed");
    }
    let fixture = Fixture::new().in_phase("Running", 0);
    let answers = [
        look(host()),
        Answer::PoweredOffByUser,
        Answer::Released(Some(host())),
    ];
    assert_eq!(phase(&ends(&fixture, 1010, &answers)), "Failed");
}

#[test]
fn a_host_that_is_never_off_restarts_and_its_node_is_not_touched() {
    let running = Fixture::new().in_phase("Running", 0);
    let held = HostFacts {
        never_off: true,
        holds: vec![KEY.into()],
        ..host()
    };
    let verdict = ends(&running, 1010, &[look(held.clone())]);
    assert_eq!(waits(&verdict).0, "PoweringOff");
    let restarted = HostFacts {
        rebooted_for: vec![KEY.into()],
        ..held
    };
    assert_eq!(phase(&ends(&running, 1010, &[look(restarted)])), "Waiting");
}

#[test]
fn nothing_is_touched_while_it_is_paused_moved_finished_or_unknown() {
    let running = || Fixture::new().in_phase("Running", 0);
    let annotated = |name: &str| {
        let name = name.to_owned();
        running().with(|f| f.remediation.metadata.annotations = Some([(name, String::new())].into()))
    };
    for fixture in [
        running().with(|f| f.cluster.as_mut().unwrap().spec.paused = Some(true)),
        annotated(names::ANNOTATION_CAPI_PAUSED),
        annotated(names::ANNOTATION_DELETE_FOR_MOVE),
        Fixture::new().in_phase("Deleting machine", 1),
        Fixture::new().in_phase("Failed", 0),
        running().with(|f| f.remediation.spec.strategy.as_mut().unwrap().type_ = Some("Other".into())),
    ] {
        for fixture in [fixture.clone(), fixture] {
            let (asks, verdict) = run(&fixture, 9999, &[]);
            let verdict = verdict.unwrap();
            assert_eq!(
                (asks, verdict.requeue, &Some(verdict.status)),
                (vec![], Requeue::OnChange, &fixture.remediation.status)
            );
        }
    }
}

#[test]
fn a_machine_that_goes_lets_its_host_go() {
    let going = Fixture::new().in_phase("Running", 0).with(|f| {
        let deleted = f.remediation.status.as_ref().unwrap().last_remediated.clone();
        f.machine.as_mut().unwrap().metadata.deletion_timestamp = deleted;
    });
    let verdict = ends(&going, 1010, &[Answer::Released(Some(host()))]);
    assert_eq!(
        (phase(&verdict), waits(&verdict).0),
        ("Running", "MachineDeleting")
    );
}

#[test]
fn one_that_is_deleted_waits_for_the_host_and_for_the_node_only_a_while() {
    let released = || Answer::Released(Some(host()));
    let unreachable = || Answer::Node(NodeAnswer::Unreachable("refused".into()));
    for from in ["Running", "Waiting", "Deleting machine", "Failed"] {
        let fixture = Fixture::new().in_phase(from, 1).deleted(2000);
        let away = Answer::Trouble(Trouble::Unavailable("away".into()));
        let verdict = ends(&fixture, 99_999, &[away]);
        assert_eq!(
            (verdict.finalizer, verdict.requeue),
            (Finalizer::Keep, Requeue::Backoff),
            "the host may be held off"
        );
        let verdict = ends(&fixture, 2119, &[released(), unreachable()]);
        assert_eq!(verdict.finalizer, Finalizer::Keep);
        let verdict = ends(&fixture, 2120, &[released(), unreachable()]);
        assert_eq!(
            (verdict.finalizer, events(&verdict)),
            (Finalizer::Drop, vec!["NodeNotRestored"])
        );
        let tainted = NodeSeen {
            tainted: true,
            ..modern()
        };
        let ask = asks(&fixture, 2000, &[released(), node(tainted)]);
        assert!(matches!(ask, Ask::ChangeNode(_, NodeChange::Untaint)));
        let no_way = Answer::Node(NodeAnswer::NoWay("no Secret".into()));
        let verdict = ends(&fixture, 2000, &[released(), no_way]);
        assert_eq!(verdict.finalizer, Finalizer::Drop);
        let verdict = ends(&fixture, 2000, &[Answer::Released(None), node(modern())]);
        assert_eq!(verdict.finalizer, Finalizer::Drop);
        let orphan = fixture.with(|f| (f.machine, f.metal3_machine, f.cluster) = (None, None, None));
        assert_eq!(ends(&orphan, 2000, &[]).finalizer, Finalizer::Drop);
    }
    let untouched = Fixture::new().deleted(2000);
    assert_eq!(ends(&untouched, 2000, &[]).finalizer, Finalizer::Keep);
}
