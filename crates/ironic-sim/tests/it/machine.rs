//! The state machine against a table of what Ironic 39 accepts.

use metal3_ironic_sim::machine::{Means, Operation, Reaction, State, Verb, react, stages};

/// Verb, the states that accept it, and where it leads at once.
const TABLE: &[(&str, &[(&str, &str)])] = &[
    (
        "manage",
        &[
            ("enroll", "verifying"),
            ("available", "manageable"),
            ("clean failed", "manageable"),
            ("inspect failed", "manageable"),
            ("adopt failed", "manageable"),
        ],
    ),
    ("provide", &[("manageable", "cleaning")]),
    ("clean", &[("manageable", "cleaning")]),
    (
        "inspect",
        &[("manageable", "inspecting"), ("inspect failed", "inspecting")],
    ),
    (
        "adopt",
        &[("manageable", "adopting"), ("adopt failed", "adopting")],
    ),
    (
        "active",
        &[("available", "deploying"), ("deploy failed", "deploying")],
    ),
    (
        "rebuild",
        &[
            ("active", "deploying"),
            ("deploy failed", "deploying"),
            ("error", "deploying"),
        ],
    ),
    (
        "deleted",
        &[
            ("active", "deleting"),
            ("deploy failed", "deleting"),
            ("wait call-back", "deleting"),
            ("error", "deleting"),
            ("service failed", "deleting"),
            ("service wait", "deleting"),
        ],
    ),
    (
        "service",
        &[("active", "servicing"), ("service failed", "servicing")],
    ),
    (
        "abort",
        &[
            ("inspect wait", "inspect failed"),
            ("clean wait", "clean failed"),
            ("wait call-back", "deploy failed"),
            ("service wait", "active"),
            ("service failed", "active"),
        ],
    ),
];

#[test]
fn verbs_are_accepted_exactly_where_ironic_accepts_them() {
    for (name, accepted) in TABLE {
        let verb = Verb::parse(name).unwrap();
        for state in State::ALL {
            let next = react(state, verb).map(|reaction| match reaction {
                Reaction::Start(operation, _) => stages(operation, Means::Ramdisk)[0].state,
                Reaction::Move(state) => state,
                Reaction::Abort(operation) => operation.aborted().unwrap(),
            });
            let wanted = accepted
                .iter()
                .find(|(from, _)| *from == state.as_str())
                .map(|(_, to)| *to);
            assert_eq!(next.map(State::as_str), wanted, "{name} in {}", state.as_str());
        }
    }
}

#[test]
fn stages_share_the_latency_and_wait_in_the_middle() {
    for operation in Operation::ALL {
        for means in [Means::Ramdisk, Means::Bmc] {
            let stages = stages(operation, means);
            let total: u32 = stages.iter().map(|stage| stage.share).sum();
            assert_eq!(total, if stages.is_empty() { 0 } else { 100 }, "{operation:?}");
            for (index, stage) in stages.iter().enumerate() {
                assert_eq!(stage.state.is_wait(), index == 1, "{operation:?} stage {index}");
            }
        }
    }
}

#[test]
fn names_are_read_back() {
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    for operation in Operation::ALL {
        assert_eq!(Operation::parse(operation.as_str()), Some(operation));
    }
    assert_eq!(Verb::parse("bogus"), None);
}

#[test]
fn what_a_restart_interrupts_has_a_place_to_fail_to() {
    for state in State::ALL {
        if let Some(operation) = state.unresumable() {
            assert!(operation.failed().is_some(), "{}", state.as_str());
        }
    }
}
