//! The host service does not answer, or refuses: what is told meanwhile, that no attempt gets longer by it, and what is made
//! up for afterwards.

use metal3_api::conditions::{New, Status, set};
use metal3_capm3_core::machine::{Finalizer, Requeue, Trouble};
use metal3_capm3_core::remediation::{ANNOTATION_TO_MARK, Answer, Ask, HostFacts};

use crate::common::{
    Fixture, TIMEOUT, asks, at, ends, events, host, look, modern, node, off, phase, run, waits,
};

#[test]
fn a_service_that_is_away_or_refuses_is_told_until_the_time_of_the_attempt_is_over() {
    for (trouble, reason) in [
        (Trouble::Unavailable("away".into()), "HostServiceUnavailable"),
        (Trouble::Denied("no".into()), "HostServiceDenied"),
    ] {
        let trouble = Answer::Trouble(trouble);
        let first = Fixture::new().in_phase("Waiting", 0);
        let verdict = ends(&first, 1000 + TIMEOUT - 1, std::slice::from_ref(&trouble));
        assert_eq!(
            (phase(&verdict), waits(&verdict).0, verdict.requeue),
            ("Waiting", reason, Requeue::Backoff)
        );
        let verdict = ends(&first, 1000 + TIMEOUT, std::slice::from_ref(&trouble));
        assert_eq!(
            (phase(&verdict), verdict.status.retry_count),
            ("Running", Some(1)),
            "{reason}"
        );
        let last = Fixture::new().in_phase("Waiting", 1);
        for answers in [vec![trouble.clone()], vec![look(off()), trouble]] {
            let verdict = ends(&last, 1000 + TIMEOUT, &answers);
            assert_eq!(
                (phase(&verdict), events(&verdict)),
                ("Deleting machine", vec!["HostNotMarked", "RemediationExhausted"])
            );
            let owed = verdict.annotations.get(ANNOTATION_TO_MARK).cloned().flatten();
            assert_eq!(owed.is_some(), reason == "HostServiceUnavailable");
            assert!(owed.is_none_or(|host| host == "ns/h"));
        }
    }
}

/// The Machine was given up while the service was away.
fn owed() -> Fixture {
    Fixture::new().in_phase("Deleting machine", 1).with(|f| {
        let annotations = f.remediation.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_TO_MARK.into(), "ns/h".into());
    })
}

#[test]
fn what_a_service_that_was_away_owes_to_the_host_is_done_when_it_is_back_also_by_one_that_is_deleted() {
    let away = Answer::Trouble(Trouble::Unavailable("away".into()));
    let (asked, verdict) = run(&owed(), 9999, &[away]);
    assert_eq!(
        asked.len(),
        1,
        "the Machine goes on saying that it is given up: {asked:?}"
    );
    let verdict = verdict.unwrap();
    assert_eq!(
        (waits(&verdict).0, verdict.requeue, verdict.annotations.len()),
        ("HostServiceUnavailable", Requeue::Backoff, 0)
    );
    let done = [Answer::Released(Some(host())), Answer::Marked];
    let verdict = ends(&owed(), 9999, &done);
    assert_eq!(
        (verdict.annotations.get(ANNOTATION_TO_MARK), events(&verdict)),
        (Some(&None), vec![])
    );
    let refuses = Answer::Trouble(Trouble::Denied("no".into()));
    let verdict = ends(&owed(), 9999, &[Answer::Released(Some(host())), refuses]);
    assert_eq!(
        (verdict.annotations.get(ANNOTATION_TO_MARK), events(&verdict)),
        (Some(&None), vec!["HostNotMarked"])
    );

    let deleted = owed().deleted(9000);
    let released = || Answer::Released(Some(host()));
    let ask = asks(&deleted, 9999, &[released()]);
    assert!(matches!(ask, Ask::Mark { .. }), "{ask:?}");
    let verdict = ends(&deleted, 9999, &[released(), Answer::Marked, node(modern())]);
    assert_eq!(verdict.finalizer, Finalizer::Drop);
}

/// A host that nobody has, with or without a mark.
fn free(unhealthy: bool) -> HostFacts {
    HostFacts {
        consumer: None,
        unhealthy,
        ..host()
    }
}

#[test]
fn a_host_that_was_given_back_before_it_could_be_marked_is_told_once() {
    let gone = || {
        owed().with(|f| {
            (f.machine, f.metal3_machine) = (None, None);
        })
    };
    let deleted = |fixture: Fixture| fixture.deleted(9000);
    let refused = || vec![Answer::Released(None), Answer::GivenBack];
    let away = || Answer::Trouble(Trouble::Unavailable("away".into()));
    for (fixture, before) in [
        (owed(), refused()),
        (deleted(owed()), refused()),
        // What the machine knew of its host is gone with it.
        (gone(), vec![]),
        (deleted(gone()), vec![]),
    ] {
        let asked = asks(&fixture, 9999, &before);
        assert!(
            matches!(&asked, Ask::Host(host) if host.to_string() == "ns/h"),
            "{asked:?}"
        );
        for (answer, told) in [
            (look(free(false)), true),
            // It was marked, and only that was not written down.
            (look(free(true)), false),
            (Answer::Host(None), false),
        ] {
            let answers = [before.clone(), vec![answer, node(modern())]].concat();
            let verdict = ends(&fixture, 9999, &answers);
            assert_eq!(events(&verdict) == ["HostNotMarked"], told, "{verdict:?}");
            let text = verdict.events.first().map(|event| event.message.as_str());
            assert!(
                text.is_none_or(|text| text.contains("capm3.metal3.io/unhealthy")),
                "{text:?}"
            );
            assert_eq!(verdict.annotations.get(ANNOTATION_TO_MARK), Some(&None));
            let over = fixture.remediation.metadata.deletion_timestamp.is_some();
            assert_eq!(verdict.finalizer == Finalizer::Drop, over);
        }
    }
    // One without a machine can do nothing later, so that it does not wait for the service when it is deleted.
    let verdict = ends(&gone(), 9999, &[away()]);
    assert_eq!(
        (waits(&verdict).0, verdict.annotations.len()),
        ("HostServiceUnavailable", 0)
    );
    let verdict = ends(&deleted(gone()), 9999, &[away()]);
    assert_eq!(
        (verdict.finalizer, events(&verdict)),
        (Finalizer::Drop, vec!["HostNotMarked"])
    );
}

#[test]
fn a_machine_tells_that_the_end_of_its_remediation_waits_for_the_service_unless_it_is_well() {
    let away = [Answer::Trouble(Trouble::Unavailable("away".into()))];
    let deleted = Fixture::new().in_phase("Running", 0).deleted(2000);
    let tells = |fixture: &Fixture| {
        let (asks, _) = run(fixture, 2001, &away);
        asks.into_iter().find_map(|ask| match ask {
            Ask::Tell(progress) => progress,
            _ => None,
        })
    };
    assert_eq!(
        tells(&deleted),
        None,
        "whoever found it well took the condition away"
    );
    let told = deleted.with(|f| {
        let status = f.machine.as_mut().unwrap().status.as_mut().unwrap();
        let external = New {
            type_: "ExternallyRemediated",
            status: Status::False,
            reason: "Rebooting",
            message: String::new(),
        };
        set(&mut status.conditions, external, None, at(1000));
    });
    let told = tells(&told).unwrap();
    assert_eq!(told.reason, "HostServiceUnavailable");
    assert!(
        told.message.contains("is not held any more: away"),
        "{}",
        told.message
    );
}
