//! Each step, and a model: whatever happens in whatever order, nobody waits while there is a host for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use metal3_capm3_core::machine::Wish;
use metal3_capm3_core::waiting::{AT_ONCE, Lines};
use proptest::prelude::*;

fn wish(label: &str) -> Wish {
    Wish {
        match_labels: [("for".to_owned(), label.to_owned())].into(),
        ..Wish::default()
    }
}

/// Lines in which these wait: wish and machine.
fn waiting(machines: &[(&str, &'static str)]) -> Lines<&'static str> {
    let mut lines = Lines::default();
    for (label, machine) in machines {
        assert!(lines.asks(machine, &wish(label)).is_empty());
        assert!(lines.found_none(machine).is_empty());
    }
    lines
}

const NOBODY: [&str; 0] = [];

#[test]
fn a_host_calls_the_machine_that_waits_longest_and_when_it_cannot_use_it_the_next_line() {
    let mut lines = waiting(&[("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")]);
    assert_eq!(lines.offered("h", ""), ["a1"]);
    assert_eq!(lines.asks(&"a1", &wish("a")), NOBODY);
    assert_eq!(lines.found_none(&"a1"), ["b1"], "nobody else of its line");
    lines.asks(&"b1", &wish("b"));
    assert_eq!(lines.found_none(&"b1"), NOBODY);
    assert_eq!(lines.offered("h", ""), ["a1"], "there is news of it");
    lines.asks(&"a1", &wish("a"));
    lines.withdrawn("h");
    assert_eq!(lines.leaves(&"a1"), NOBODY, "it has the host");
    assert_eq!(lines.offered("h", ""), ["a2"]);
}

#[test]
fn each_host_calls_one_machine_and_what_is_told_after_a_question_calls_again() {
    let mut lines = waiting(&[("a", "a1"), ("a", "a2"), ("a", "a3")]);
    assert_eq!(lines.offered("h", ""), ["a1"]);
    assert_eq!(lines.offered("i", ""), ["a2"]);
    lines.asks(&"a1", &wish("a"));
    assert_eq!(lines.offered("h", ""), NOBODY, "who is called asks for it");
    assert_eq!(lines.found_none(&"a1"), ["a1"], "it asked before that");
    lines.asks(&"a1", &wish("a"));
    assert_eq!(lines.found_none(&"a1"), NOBODY);
    lines.asks(&"a2", &wish("a"));
    assert_eq!(lines.found_none(&"a2"), NOBODY);
}

#[test]
fn many_hosts_call_no_more_machines_at_once_than_the_bound() {
    let mut lines = Lines::default();
    for machine in 0..AT_ONCE + 5 {
        lines.asks(&machine, &wish("a"));
        lines.found_none(&machine);
    }
    let hosts = (0..2 * AT_ONCE).map(|number| number.to_string());
    let called: Vec<usize> = hosts.flat_map(|host| lines.offered(&host, "")).collect();
    assert_eq!(called, Vec::from_iter(0..AT_ONCE));
    assert_eq!(lines.leaves(&0), [AT_ONCE]);
}

#[test]
fn who_is_called_and_does_not_ask_passes_the_call_on() {
    let mut lines = waiting(&[("a", "a1"), ("a", "a2"), ("a", "a3")]);
    assert_eq!(lines.offered("h", ""), ["a1"]);
    assert_eq!(lines.leaves(&"a1"), ["a2"]);
    assert_eq!(lines.unanswered(&"a2"), NOBODY, "it tries again");
    assert_eq!(lines.unanswered(&"a2"), ["a3"]);
    assert_eq!(lines.leaves(&"a3"), NOBODY, "a2 does not rest: it asks by itself");
    lines.asks(&"a2", &wish("a"));
    assert_eq!(lines.found_none(&"a2"), NOBODY);
    assert_eq!(lines.unanswered(&"unknown"), NOBODY);
    assert_eq!(lines.leaves(&"unknown"), NOBODY);
}

#[test]
fn a_machine_that_wishes_something_else_leaves_its_line() {
    let mut lines = waiting(&[("a", "a1"), ("a", "a2")]);
    assert_eq!(lines.offered("h", ""), ["a1"]);
    assert_eq!(lines.asks(&"a1", &wish("b")), ["a2"]);
}

#[test]
fn a_host_that_is_kept_calls_those_for_whom_it_is_and_its_end_frees_them_for_any_other() {
    let mut lines = waiting(&[("a", "a1")]);
    let kept = Wish {
        reuse_key: "md-d".into(),
        ..wish("a")
    };
    for machine in ["k1", "k2"] {
        lines.asks(&machine, &kept);
        lines.found_none(&machine);
    }
    assert_eq!(lines.offered("h", "md-d"), ["k1"]);
    assert_eq!(lines.not_awaited("md-d"), ["k2"]);
    lines.asks(&"k2", &kept);
    assert_eq!(lines.leaves(&"k2"), NOBODY, "all who wait are called");
    lines.asks(&"k1", &kept);
    assert_eq!(
        lines.found_none(&"k1"),
        ["k1"],
        "k2 got one, so there may be more"
    );
}

#[test]
fn when_nobody_knows_what_is_on_offer_one_of_each_line_asks_until_there_is_none() {
    let mut lines = waiting(&[("a", "a1"), ("a", "a2"), ("b", "b1")]);
    let mut called = lines.anew();
    called.sort_unstable();
    assert_eq!(called, ["a1", "b1"]);
    assert_eq!(lines.leaves(&"a1"), ["a2"]);
    for (machine, label) in [("a2", "a"), ("b1", "b")] {
        lines.asks(&machine, &wish(label));
        assert_eq!(lines.found_none(&machine), NOBODY);
    }
}

/// What the model does next; numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
enum Move {
    Host(u8, State),
    Create(u8, u8),
    Delete(u8),
    Hear,
    Begin(u8),
    Serve(u8),
    End(u8),
    Fail(u8),
    /// What the stream did not tell yet is lost; afterwards it is in sync again.
    Lose,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Gone,
    Busy,
    /// For those with this label.
    Free(u8),
    /// Kept for those with this label, and whether it is available.
    Kept(u8, bool),
}

/// A question under way.
#[derive(Clone, Copy, Debug)]
enum Question {
    Asked(u8),
    Answered(Option<u8>),
}

/// Hosts and machines by number. A machine wishes a label, and its key is the same.
#[derive(Default)]
struct Model {
    lines: Lines<u8>,
    hosts: BTreeMap<u8, State>,
    /// What the stream told last.
    view: BTreeMap<u8, State>,
    untold: VecDeque<(u8, State)>,
    machines: BTreeMap<u8, u8>,
    woken: BTreeSet<u8>,
    questions: BTreeMap<u8, Question>,
    asked: usize,
}

fn wanted(label: u8) -> Wish {
    Wish {
        reuse_key: label.to_string(),
        ..wish(&label.to_string())
    }
}

fn pick(among: &[u8], number: u8) -> Option<u8> {
    among.get(usize::from(number) % among.len().max(1)).copied()
}

impl Model {
    fn set(&mut self, host: u8, state: State) {
        self.hosts.insert(host, state);
        self.untold.push_back((host, state));
    }

    /// What the service answers: a host for this label.
    fn choose(&self, label: u8) -> Option<u8> {
        let find = |wanted: State| {
            let mut hosts = self.hosts.iter();
            hosts.find(|(_, state)| **state == wanted).map(|(host, _)| *host)
        };
        find(State::Kept(label, true)).or_else(|| {
            let awaited = find(State::Kept(label, false)).is_some();
            find(State::Free(label)).filter(|_| !awaited)
        })
    }

    /// One message of the stream, as the provider takes it.
    fn told(&mut self, host: u8, after: State) {
        let before = self.view.insert(host, after).unwrap_or(State::Gone);
        let name = host.to_string();
        match after {
            State::Free(_) => self.woken.extend(self.lines.offered(&name, "")),
            State::Kept(key, true) => self.woken.extend(self.lines.offered(&name, &key.to_string())),
            State::Gone | State::Busy | State::Kept(_, false) => self.lines.withdrawn(&name),
        }
        if let State::Kept(key, false) = before
            && after != before
        {
            self.woken.extend(self.lines.not_awaited(&key.to_string()));
        }
    }

    fn hear(&mut self) {
        if let Some((host, state)) = self.untold.pop_front() {
            self.told(host, state);
        }
    }

    fn lose(&mut self) {
        self.untold.clear();
        // Only what is not as it was.
        let changed = self.hosts.clone().into_iter();
        let changed: Vec<_> = changed
            .filter(|(host, state)| self.view.get(host) != Some(state))
            .collect();
        for (host, state) in changed {
            self.told(host, state);
        }
        self.woken.extend(self.lines.anew());
    }

    /// A pass over a machine, up to the question.
    fn begin(&mut self, machine: u8) {
        self.woken.remove(&machine);
        let woken = match self.machines.get(&machine) {
            Some(label) => {
                self.questions.insert(machine, Question::Asked(*label));
                self.asked += 1;
                self.lines.asks(&machine, &wanted(*label))
            }
            None => self.lines.leaves(&machine),
        };
        self.woken.extend(woken);
    }

    fn serve(&mut self, machine: u8) {
        if let Some(Question::Asked(label)) = self.questions.get(&machine).copied() {
            let host = self.choose(label);
            if let Some(host) = host {
                self.set(host, State::Busy);
            }
            self.questions.insert(machine, Question::Answered(host));
        }
    }

    /// The rest of the pass.
    fn end(&mut self, machine: u8) {
        self.serve(machine);
        let Some(Question::Answered(host)) = self.questions.remove(&machine) else {
            return;
        };
        let woken = match host {
            Some(host) => {
                self.machines.remove(&machine);
                self.lines.withdrawn(&host.to_string());
                self.lines.leaves(&machine)
            }
            None => self.lines.found_none(&machine),
        };
        self.woken.extend(woken);
    }

    /// The question does not reach the service; the machine tries again.
    fn fail(&mut self, machine: u8) {
        if let Some(Question::Asked(_)) = self.questions.get(&machine) {
            self.questions.remove(&machine);
            self.woken.insert(machine);
            self.woken.extend(self.lines.unanswered(&machine));
        }
    }

    fn step(&mut self, step: Move) {
        let under_way: Vec<u8> = self.questions.keys().copied().collect();
        match step {
            Move::Host(host, state) => self.set(host, state),
            Move::Create(machine, label) => {
                self.machines.insert(machine, label);
                self.woken.insert(machine);
            }
            Move::Delete(machine) => {
                self.machines.remove(&machine);
                self.woken.insert(machine);
            }
            Move::Hear => self.hear(),
            Move::Begin(number) => {
                // One pass over a machine at a time.
                let idle = self.woken.iter().filter(|machine| !under_way.contains(machine));
                if let Some(machine) = pick(&idle.copied().collect::<Vec<_>>(), number) {
                    self.begin(machine);
                }
            }
            Move::Serve(number) => pick(&under_way, number)
                .into_iter()
                .for_each(|machine| self.serve(machine)),
            Move::End(number) => pick(&under_way, number)
                .into_iter()
                .for_each(|machine| self.end(machine)),
            Move::Fail(number) => pick(&under_way, number)
                .into_iter()
                .for_each(|machine| self.fail(machine)),
            Move::Lose => self.lose(),
        }
    }

    /// Goes on until nothing is to be done.
    fn settle(&mut self) {
        while !(self.untold.is_empty() && self.woken.is_empty() && self.questions.is_empty()) {
            self.hear();
            self.step(Move::End(0));
            self.step(Move::Begin(0));
        }
    }
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        1 => Just(State::Gone),
        2 => Just(State::Busy),
        6 => (0..2u8).prop_map(State::Free),
        8 => (0..2u8, any::<bool>()).prop_map(|(label, ready)| State::Kept(label, ready)),
    ]
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (0..3u8, any_state()).prop_map(|(host, state)| Move::Host(host, state)),
        6 => (0..8u8, 0..2u8).prop_map(|(machine, label)| Move::Create(machine, label)),
        2 => (0..8u8).prop_map(Move::Delete),
        8 => Just(Move::Hear),
        8 => any::<u8>().prop_map(Move::Begin),
        6 => any::<u8>().prop_map(Move::Serve),
        6 => any::<u8>().prop_map(Move::End),
        2 => any::<u8>().prop_map(Move::Fail),
        1 => Just(Move::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nobody_waits_while_there_is_a_host_for_it(moves in prop::collection::vec(any_move(), 1..60)) {
        let mut model = Model::default();
        for step in moves {
            model.step(step);
        }
        model.settle();
        for (machine, label) in &model.machines {
            prop_assert_eq!(model.choose(*label), None, "machine {} of label {}", machine, label);
        }
    }
}

#[test]
fn a_host_that_is_given_back_costs_one_question_and_one_more_for_each_line_that_cannot_use_it() {
    let mut model = Model::default();
    for machine in 0..150 {
        model.step(Move::Create(machine, machine % 3));
    }
    model.settle();
    let mut before = model.asked;
    let mut asked = |model: &mut Model, host, label| {
        model.step(Move::Host(host, State::Free(label)));
        model.settle();
        let asked = model.asked - before;
        before = model.asked;
        asked
    };
    // The machine that waits longest is each time one of the next label.
    for host in 0..30 {
        assert_eq!(asked(&mut model, host, host % 3), 1);
    }
    assert_eq!(model.machines.len(), 120);
    for host in 30..60 {
        assert!(asked(&mut model, host, 2) <= 3);
    }
    assert_eq!(model.machines.len(), 90);
}
