//! Tables and properties of the queue.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metal3_provisioner::{Capacity, HostKey};
use proptest::prelude::*;

use super::queue::{Asker, Queue};
use crate::mirror::{Business, Load};

/// Hosts with nodes of the same names, and time.
struct World {
    queue: Queue,
    nodes: HashMap<String, Business>,
    start: Instant,
    seconds: u64,
}

impl World {
    fn new(limit: u32) -> Self {
        Self {
            queue: Queue::new(limit),
            nodes: HashMap::new(),
            start: Instant::now(),
            seconds: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.seconds)
    }

    fn load(&self) -> Load {
        let busy = self.nodes.values().filter(|node| **node == Business::Busy);
        Load {
            busy: u32::try_from(busy.count()).unwrap(),
            of: self
                .nodes
                .iter()
                .map(|(name, business)| (name.clone(), (*business, self.now())))
                .collect(),
        }
    }

    fn ask_since(&mut self, name: &str, since: Option<i64>) -> Capacity {
        let (load, now, key) = (self.load(), self.now(), key(name));
        let at = Timestamp::from_second(1_000_000 + i64::try_from(self.seconds).unwrap()).unwrap();
        let asker = Asker {
            key: &key,
            node: Some(name),
            since: since.map(|second| Timestamp::from_second(second).unwrap()),
        };
        self.queue.ask(asker, &load, now, at)
    }

    fn ask(&mut self, name: &str) -> Capacity {
        self.ask_since(name, None)
    }

    fn settle(&mut self) -> Vec<String> {
        let (load, now) = (self.load(), self.now());
        let called = self.queue.settle(&load, |key| key.name != "deleted", now);
        called.into_iter().map(|key| key.name).collect()
    }

    fn set(&mut self, name: &str, business: Business) {
        self.nodes.insert(name.to_owned(), business);
    }

    fn wait(&mut self, seconds: u64) {
        self.seconds += seconds;
    }
}

fn key(name: &str) -> HostKey {
    HostKey::new("ns", name)
}

const fn full(busy: u32, limit: u32, position: u32) -> Capacity {
    Capacity::Full {
        busy,
        limit,
        position,
    }
}

#[test]
fn who_waits_longest_is_next_and_is_called() {
    let mut world = World::new(1);
    assert_eq!(world.ask("a"), Capacity::Free);
    assert_eq!(world.ask("b"), full(1, 1, 1));
    world.wait(1);
    assert_eq!(world.ask("c"), full(1, 1, 2));
    assert_eq!(world.ask("b"), full(1, 1, 1), "asking again changes nothing");
    world.set("a", Business::Busy);
    assert!(world.settle().is_empty());
    world.set("a", Business::Resting);
    assert_eq!(world.settle(), ["b"]);
    assert!(world.settle().is_empty(), "once is enough");
    assert_eq!(
        world.ask("c"),
        full(0, 1, 2),
        "the place is for the one who was called"
    );
    assert_eq!(world.ask("b"), Capacity::Free);
    assert_eq!(world.ask("c"), full(1, 1, 1));
}

#[test]
fn the_order_is_that_of_the_statuses_after_a_restart() {
    let mut world = World::new(1);
    world.set("other", Business::Busy);
    assert_eq!(world.ask_since("late", Some(30)), full(1, 1, 1));
    assert_eq!(world.ask_since("early", Some(10)), full(1, 1, 1));
    assert_eq!(world.ask("new"), full(1, 1, 3));
    assert_eq!(world.ask_since("late", Some(30)), full(1, 1, 2));

    // Nobody overtakes those who have not asked yet.
    let mut world = World::new(1);
    let since = |second| Timestamp::from_second(second).unwrap();
    world
        .queue
        .expect([(key("late"), since(30)), (key("early"), since(10))], world.start);
    assert_eq!(world.ask_since("late", Some(30)), full(0, 1, 2));
    assert_eq!(world.settle(), ["early"]);
    assert_eq!(world.ask_since("early", Some(10)), Capacity::Free);
}

#[test]
fn a_place_that_nobody_takes_goes_to_the_next() {
    let mut world = World::new(1);
    assert_eq!(world.ask("a"), Capacity::Free);
    for name in ["b", "c"] {
        world.ask(name);
        world.wait(1);
    }
    // a never becomes busy.
    world.wait(60);
    assert_eq!(world.settle(), ["b"]);
    // b does not come.
    world.wait(15);
    assert_eq!(world.settle(), ["c"]);
    assert_eq!(world.ask("c"), Capacity::Free);
    // It did not lose its place by that.
    assert_eq!(world.ask_since("b", Some(10)), full(1, 1, 1));
}

#[test]
fn who_asks_and_asks_and_does_not_begin_goes_to_the_end() {
    let mut world = World::new(1);
    assert_eq!(world.ask("a"), Capacity::Free);
    world.ask("b");
    for _ in 0..9 {
        world.wait(30);
        assert_eq!(world.ask("a"), Capacity::Free);
        world.ask("b");
    }
    world.wait(30);
    assert_eq!(world.ask("a"), full(0, 1, 2));
    assert_eq!(world.settle(), ["b"]);
}

#[test]
fn hosts_that_are_gone_or_silent_do_not_wait() {
    let mut world = World::new(0);
    for name in ["deleted", "silent", "loud"] {
        world.ask(name);
    }
    world.settle();
    assert_eq!(world.queue.state().waiting, 2);
    world.wait(299);
    assert_eq!(world.ask("loud"), full(0, 0, 1));
    world.wait(1);
    world.settle();
    assert_eq!(world.queue.state().waiting, 1);
    world.queue.leave(&key("loud"));
    assert_eq!(world.queue.state().waiting, 0);
}

#[test]
fn an_operation_keeps_its_place_between_cleaning_and_deploying() {
    let mut world = World::new(1);
    world.ask("a");
    world.set("a", Business::Busy);
    assert_eq!(world.ask("b"), full(1, 1, 1));
    world.set("a", Business::Paused);
    assert!(world.settle().is_empty());
    world.wait(9);
    assert_eq!(world.ask("b"), full(1, 1, 1));
    assert_eq!(world.ask("a"), Capacity::Free, "it goes on");
    world.set("a", Business::Busy);
    world.settle();
    // This time it was the end.
    world.set("a", Business::Paused);
    world.settle();
    world.wait(10);
    assert_eq!(world.settle(), ["b"]);
}

#[test]
fn work_that_was_too_short_to_be_seen_gives_its_place_back() {
    for (after, patience) in [(Business::Resting, 0), (Business::Paused, 10)] {
        let mut world = World::new(1);
        world.set("a", after);
        world.ask("a");
        world.ask("b");
        let begun = world.now();
        world.queue.begun(vec![("a".to_owned(), begun)]);
        assert!(world.settle().is_empty(), "what is known is older than the work");
        world.wait(1);
        // A clean node may be deployed next.
        let called = world.settle();
        assert_eq!(called.is_empty(), patience > 0);
        world.wait(patience);
        assert_eq!(
            called.into_iter().chain(world.settle()).collect::<Vec<_>>(),
            ["b"]
        );
    }
}

#[test]
fn who_is_busy_goes_on_whatever_the_limit() {
    let mut world = World::new(1);
    for name in ["a", "b", "c"] {
        world.set(name, Business::Busy);
    }
    assert_eq!(world.ask("a"), Capacity::Free);
    assert_eq!(world.ask("d"), full(3, 1, 1));
    assert_eq!(world.queue.state().used, 3);
}

#[derive(Clone, Debug)]
enum Act {
    /// Those who want a place ask, in this order.
    Round(Vec<usize>),
    /// A host that was let through begins; one that is busy ends.
    Step(usize),
    Wait(u64),
    Settle,
}

const HOSTS: usize = 12;

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just((0..HOSTS).collect::<Vec<_>>())
            .prop_shuffle()
            .prop_map(Act::Round),
        proptest::sample::subsequence((0..HOSTS).collect::<Vec<_>>(), 0..HOSTS)
            .prop_shuffle()
            .prop_map(Act::Round),
        (0..HOSTS).prop_map(Act::Step),
        (0..40_u64).prop_map(Act::Wait),
        Just(Act::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_limit_is_kept_and_no_place_stays_empty(limit in 1_u32..5, acts in prop::collection::vec(act(), 1..80)) {
        let mut world = World::new(limit);
        // When each was let through, if it did not begin yet.
        let mut granted: HashMap<usize, u64> = HashMap::new();
        let mut waiting = BTreeSet::new();
        for act in acts {
            match act {
                Act::Round(order) => {
                    let complete = order.len() == HOSTS;
                    for host in order {
                        waiting.insert(host);
                        match world.ask(&host.to_string()) {
                            Capacity::Free => {
                                waiting.remove(&host);
                                if world.nodes.get(&host.to_string()) != Some(&Business::Busy) {
                                    granted.insert(host, world.seconds);
                                }
                            }
                            Capacity::Full { position, .. } => {
                                prop_assert!(position >= 1);
                                // Also who was let through before, see TENURE.
                                granted.remove(&host);
                            }
                        }
                    }
                    if complete {
                        // Everybody asked: a second round changes nothing, and what is left has a full house.
                        for host in 0..HOSTS {
                            if waiting.contains(&host) {
                                match world.ask(&host.to_string()) {
                                    Capacity::Free => {
                                        waiting.remove(&host);
                                        granted.insert(host, world.seconds);
                                        }
                                    Capacity::Full { busy, .. } => prop_assert!(busy <= limit),
                                }
                            }
                        }
                        let state = world.queue.state();
                        prop_assert!(state.waiting == 0 || state.used >= limit, "{state:?}");
                    }
                }
                Act::Step(host) => {
                    let name = host.to_string();
                    if world.nodes.get(&name) == Some(&Business::Busy) {
                        world.set(&name, Business::Resting);
                    } else if granted.remove(&host).is_some_and(|at| world.seconds - at < 60) {
                        world.set(&name, Business::Busy);
                    }
                }
                Act::Wait(seconds) => world.wait(seconds),
                Act::Settle => {
                    world.settle();
                }
            }
            let busy = world.nodes.values().filter(|node| **node == Business::Busy).count();
            prop_assert!(busy <= usize::try_from(limit).unwrap(), "{busy} are busy at a limit of {limit}");
        }
    }

    #[test]
    fn those_who_wait_are_let_through_in_order(
        since in prop::collection::vec(0_i64..20, 2..30),
        order in Just((0..30_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut world = World::new(1);
        world.set("other", Business::Busy);
        for index in order {
            if let Some(second) = since.get(index) {
                world.ask_since(&format!("{index:02}"), Some(*second));
            }
        }
        world.set("other", Business::Resting);
        let mut expected: Vec<_> = since.iter().enumerate().map(|(index, since)| (*since, format!("{index:02}"))).collect();
        expected.sort();
        let mut seen = Vec::new();
        while let [name] = world.settle().as_slice() {
            prop_assert_eq!(world.ask(name), Capacity::Free);
            seen.push(name.clone());
            world.set(name, Business::Busy);
            world.settle();
            world.set(name, Business::Resting);
        }
        prop_assert_eq!(seen, expected.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
    }
}
