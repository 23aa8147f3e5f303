//! Claims in a model world: replicas whose views lag behind, each by its own, a store that compares and swaps, calls that
//! stop between any two steps, listings, restarts, other writers.

mod model;
mod seen;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;
use metal3_api::names;
use metal3_rpc::v1::{ClaimHostRequest, Image, ProvisionSpec};
use proptest::prelude::*;
use serde_json::json;

use self::model::{Replica, Server};
use super::super::allocate::Choice;
use super::*;

const HOSTS: usize = 4;
const CONSUMERS: usize = 3;
const REPLICAS: usize = 3;

type Answer = Result<Claimed, Status>;

struct Running {
    replica: usize,
    consumer: usize,
    call: Pin<Box<dyn Future<Output = Answer>>>,
}

#[derive(Clone, Debug)]
enum Step {
    /// A consumer calls a replica; with an image or without.
    Call(usize, usize, bool),
    /// A call comes on by one step.
    Go(usize),
    /// A call ends where it is.
    Die(usize),
    Deliver(usize),
    Stall(usize, bool),
    List(usize),
    Restart(usize),
    /// Somebody pauses the host, or ends that: replicas that learn of it at different times choose different hosts.
    Pause(usize, bool),
    /// The consumer gives back what it was given.
    Release(usize),
}

struct World {
    server: Arc<Mutex<Server>>,
    replicas: Vec<Replica>,
    running: Vec<Running>,
    /// What each consumer was told to have.
    given: BTreeMap<usize, String>,
    /// Whether what a consumer was told must stay true.
    faithful: bool,
}

fn consumer_name(consumer: usize) -> String {
    format!("m{consumer}")
}

fn request(consumer: usize, image: bool) -> ClaimHostRequest {
    let provision = ProvisionSpec {
        image: Some(Image {
            url: "http://i".into(),
            checksum: "c".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    ClaimHostRequest {
        namespace: "ns".into(),
        consumer: Some(Consumer {
            name: consumer_name(consumer),
            ..super::super::intent::tests::consumer()
        }),
        cluster_name: "c".into(),
        provision: image.then_some(provision),
        ..Default::default()
    }
}

impl World {
    fn new(faithful: bool) -> Self {
        let server = Arc::<Mutex<Server>>::default();
        for number in 0..HOSTS {
            let name = format!("h{number}");
            let given = json!({"metadata": {"name": name, "uid": name}});
            let seen = super::super::intent::tests::seen(&given);
            let object = serde_json::to_value(seen.object).unwrap();
            server.lock().unwrap().write(&name, object);
        }
        Self {
            replicas: (0..REPLICAS).map(|_| Replica::start(&server)).collect(),
            server,
            running: Vec::new(),
            given: BTreeMap::new(),
            faithful,
        }
    }

    fn call(&mut self, replica: usize, consumer: usize, image: bool) {
        let allocator = Arc::clone(&self.replicas[replica].allocator);
        let call = Box::pin(async move { Box::pin(allocator.claim(&request(consumer, image))).await });
        self.running.push(Running {
            replica,
            consumer,
            call,
        });
    }

    fn go(&mut self, at: usize) {
        let running = &mut self.running[at];
        let Poll::Ready(answer) = running
            .call
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        else {
            return;
        };
        let consumer = self.running.remove(at).consumer;
        let Ok(claimed) = answer else { return };
        let host = claimed.seen.key().name;
        if self.faithful {
            if let Some(known) = self.given.get(&consumer) {
                assert_eq!(
                    *known, host,
                    "consumer {consumer} was told of another host before"
                );
            }
            let owner = self.server.lock().unwrap().owner(&host);
            assert_eq!(owner, Some(consumer_name(consumer)), "what was told is not so");
        }
        self.given.insert(consumer, host);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Call(replica, consumer, image) => self.call(replica, consumer, image),
            Step::Go(at) if !self.running.is_empty() => self.go(at % self.running.len()),
            Step::Die(at) if !self.running.is_empty() => {
                let at = at % self.running.len();
                drop(self.running.remove(at));
            }
            Step::Go(_) | Step::Die(_) => {}
            Step::Deliver(replica) => {
                self.replicas[replica].deliver();
            }
            Step::Stall(replica, stalled) => *self.replicas[replica].line.stalled.lock().unwrap() = stalled,
            Step::List(replica) => self.replicas[replica].list(),
            Step::Restart(replica) => {
                self.running.retain(|running| running.replica != replica);
                self.replicas[replica] = Replica::start(&self.server);
            }
            Step::Pause(host, paused) => self.pause(host, paused),
            Step::Release(consumer) => self.release(consumer),
        }
    }

    fn pause(&self, host: usize, paused: bool) {
        let mut server = self.server.lock().unwrap();
        let name = format!("h{host}");
        let mut object = server.objects[&name].clone();
        let pause = json!({"metadata": {"annotations": {names::ANNOTATION_PAUSED: paused.then_some("")}}});
        json_patch::merge(&mut object, &pause);
        server.write(&name, object);
    }

    fn release(&mut self, consumer: usize) {
        if self.running.iter().any(|running| running.consumer == consumer) {
            return;
        }
        let Some(host) = self.given.remove(&consumer) else {
            return;
        };
        let mut server = self.server.lock().unwrap();
        if server.owner(&host) == Some(consumer_name(consumer)) {
            let mut object = server.objects[&host].clone();
            json_patch::merge(
                &mut object,
                &json!({"spec": {"consumerRef": null, "image": null}}),
            );
            server.write(&host, object);
        }
    }

    /// Nothing is paused, everything is delivered and every call ends.
    fn calm(&mut self) {
        (0..HOSTS).for_each(|host| self.pause(host, false));
        for replica in &self.replicas {
            *replica.line.stalled.lock().unwrap() = false;
        }
        for _ in 0..10_000 {
            for replica in &mut self.replicas {
                while replica.deliver() {}
            }
            if self.running.is_empty() {
                return;
            }
            for at in (0..self.running.len()).rev() {
                self.go(at);
            }
        }
        panic!("the calls do not end");
    }

    /// Every consumer calls once more, and has one host then.
    fn check(mut self, again: usize) {
        self.calm();
        for consumer in 0..CONSUMERS {
            self.call((consumer + again) % REPLICAS, consumer, false);
        }
        self.calm();
        let server = self.server.lock().unwrap();
        for consumer in 0..CONSUMERS {
            let hosts = server.hosts_of(&consumer_name(consumer));
            assert_eq!(hosts.len(), 1, "consumer {consumer} has {hosts:?}");
            assert_eq!(
                self.given.get(&consumer),
                hosts.first(),
                "and was told of another"
            );
        }
    }
}

fn step(lists: bool) -> impl Strategy<Value = Step> {
    let begin = if lists { 3 } else { 0 };
    prop_oneof![
        6 => (0..REPLICAS, 0..CONSUMERS, any::<bool>()).prop_map(|(r, c, i)| Step::Call(r, c, i)),
        30 => any::<usize>().prop_map(Step::Go),
        2 => any::<usize>().prop_map(Step::Die),
        12 => (0..REPLICAS).prop_map(Step::Deliver),
        3 => (0..REPLICAS, any::<bool>()).prop_map(|(r, s)| Step::Stall(r, s)),
        begin => (0..REPLICAS).prop_map(Step::List),
        begin => (0..REPLICAS).prop_map(Step::Restart),
        6 => (0..HOSTS, any::<bool>()).prop_map(|(h, p)| Step::Pause(h, p)),
        1 => (0..CONSUMERS).prop_map(Step::Release),
    ]
}

#[test]
fn a_claim_is_not_undone_by_who_saw_a_later_one_before_the_watch_showed_it() {
    // Of a consumer whose favourite comes first by name, too: that decides when nothing else does.
    for consumer in 0..CONSUMERS {
        let mut world = World::new(true);
        let request = request(consumer, false);
        let owner = request.consumer.clone().unwrap();
        let wish = super::super::request::wish(&request, &owner).unwrap();
        let index = Arc::clone(&world.replicas[0].line.index);
        let Choice::Take(first, _) = index.choose("ns", &wish, Timestamp::now(), |_| false) else {
            panic!("all hosts are free")
        };
        let first: usize = key(&first).name[1..].parse().unwrap();
        // One replica knows only that the host was paused once, and claims another one.
        world.pause(first, true);
        while world.replicas[0].deliver() {}
        world.pause(first, false);
        while world.replicas[1].deliver() {}
        world.call(0, consumer, false);
        while world.given.is_empty() {
            world.go(0);
            world.replicas[0].deliver();
        }
        // The next one claims it later, and has still to find out.
        world.call(1, consumer, false);
        while world
            .server
            .lock()
            .unwrap()
            .hosts_of(&consumer_name(consumer))
            .len()
            < 2
        {
            world.go(0);
        }
        // The last one wanted it as well, and sees whose it is, but not since when: its watch comes on only then.
        world.call(2, consumer, false);
        let index = Arc::clone(&world.replicas[2].line.index);
        while index.holdings(&owner).is_empty() {
            world.go(1);
        }
        world.check(0);
    }
}

#[test]
fn an_earlier_claim_that_a_listing_shows_is_the_answer_although_its_age_is_not_told() {
    let mut world = World::new(true);
    let wish = super::super::request::wish(&request(0, false), &request(0, false).consumer.unwrap()).unwrap();
    let index = Arc::clone(&world.replicas[0].line.index);
    let Choice::Take(first, _) = index.choose("ns", &wish, Timestamp::now(), |_| false) else {
        panic!("all hosts are free")
    };
    let first: usize = key(&first).name[1..].parse().unwrap();
    // One replica knows only that the host was paused once.
    world.pause(first, true);
    while world.replicas[1].deliver() {}
    world.pause(first, false);
    while world.replicas[0].deliver() {}
    world.call(0, 0, false);
    while !world.running.is_empty() {
        world.replicas[0].deliver();
        world.go(0);
    }
    world.call(1, 0, false);
    while world.server.lock().unwrap().hosts_of(&consumer_name(0)).len() < 2 {
        world.go(0);
    }
    // Its watch breaks, and the earlier claim is on a host that changed since.
    world.pause(first, true);
    world.replicas[1].list();
    while !world.running.is_empty() {
        world.go(0);
    }
    let hosts = world.server.lock().unwrap().hosts_of(&consumer_name(0));
    assert_eq!(hosts, [format!("h{first}")]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_consumer_ends_with_one_host_whatever_replicas_know_and_wherever_calls_stop(
        steps in prop::collection::vec(step(true), 1..160),
        again in 0..REPLICAS,
    ) {
        let mut world = World::new(false);
        steps.iter().for_each(|step| world.step(step));
        world.check(again);
    }

    #[test]
    fn a_consumer_is_told_of_one_host_only_until_it_gives_it_back(
        steps in prop::collection::vec(step(false), 1..160),
        again in 0..REPLICAS,
    ) {
        let mut world = World::new(true);
        steps.iter().for_each(|step| world.step(step));
        world.check(again);
    }
}
