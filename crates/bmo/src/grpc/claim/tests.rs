//! Claims in a model world: replicas whose views lag behind, each by its own, a store that compares and swaps, calls that
//! stop between any two steps, listings, restarts, other writers.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use metal3_rpc::v1::{ClaimHostRequest, Image, ProvisionSpec};
use proptest::prelude::*;
use serde_json::json;

use super::super::intent::Seen;
use super::*;

const HOSTS: usize = 4;
const CONSUMERS: usize = 3;
const REPLICAS: usize = 3;

/// What the API server has, and what it was.
#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    log: Vec<(u64, String, Value)>,
}

impl Server {
    fn write(&mut self, name: &str, mut object: Value) {
        let revision = 1 + u64::try_from(self.log.len()).unwrap();
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        self.log.push((revision, name.to_owned(), object.clone()));
        self.objects.insert(name.to_owned(), object);
    }

    fn owner(&self, name: &str) -> Option<String> {
        let owner = self.objects[name]["spec"]["consumerRef"]["name"].as_str();
        owner.map(str::to_owned)
    }

    fn hosts_of(&self, consumer: &str) -> Vec<String> {
        let owned = |name: &&String| self.owner(name).as_deref() == Some(consumer);
        self.objects.keys().filter(owned).cloned().collect()
    }
}

fn told(object: &Value) -> Host {
    Seen::of(serde_json::from_value(object.clone()).unwrap()).host
}

/// One replica's way to the server.
struct Line {
    server: Arc<Mutex<Server>>,
    index: Arc<HostIndex>,
    /// The watch does not come on for so long that nobody waits for it.
    stalled: Mutex<bool>,
}

impl Line {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }
}

/// A moment at which others act, or the call ends for good.
async fn meanwhile() {
    let mut first = true;
    std::future::poll_fn(|_| {
        if std::mem::take(&mut first) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

impl Records for Line {
    async fn write(&self, decided_on: &Host, patch: Value) -> Result<Option<Host>, Status> {
        meanwhile().await;
        let name = key(decided_on).name;
        let answer = {
            let mut server = self.server();
            let mut object = server.objects[&name].clone();
            let swaps = object["metadata"]["resourceVersion"] == json!(decided_on.revision);
            if swaps {
                let used = object["spec"].get("image").is_some();
                let owner = server.owner(&name);
                json_patch::merge(&mut object, &patch);
                server.write(&name, object);
                assert!(!used || server.owner(&name) == owner, "a host in use was freed");
            }
            let now = told(&server.objects[&name]);
            (swaps, now)
        };
        meanwhile().await;
        let (swaps, now) = answer;
        if swaps {
            self.index.changed(key(&now), now.clone());
        } else {
            self.index.upsert(key(&now), now.clone());
        }
        Ok(swaps.then_some(now))
    }

    async fn read(&self, host: &Host) -> Result<Option<Host>, Status> {
        meanwhile().await;
        let now = told(&self.server().objects[&key(host).name]);
        meanwhile().await;
        self.index.upsert(key(&now), now.clone());
        Ok(Some(now))
    }

    async fn had(&self, host: &Host, consumer: &Consumer, revision: u64) -> Result<bool, Status> {
        meanwhile().await;
        let name = key(host).name;
        let server = self.server();
        let then = server
            .log
            .iter()
            .rev()
            .find(|(at, of, _)| *at <= revision && *of == name)
            .map(|(_, _, object)| told(object));
        Ok(then
            .and_then(|host| host.consumer)
            .is_some_and(|owner| owner.same_object(consumer)))
    }

    async fn shown(&self, index: &HostIndex, namespace: &str, revision: u64) -> bool {
        let mut reached = std::pin::pin!(index.reaches(namespace, revision));
        std::future::poll_fn(|context| match reached.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if *self.stalled.lock().unwrap() => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

struct Replica {
    line: Arc<Line>,
    allocator: Arc<Allocator<Line>>,
    /// How much of the log its watch has shown.
    position: usize,
}

impl Replica {
    fn start(server: &Arc<Mutex<Server>>) -> Self {
        let index = Arc::<HostIndex>::default();
        let line = Arc::new(Line {
            server: Arc::clone(server),
            index: Arc::clone(&index),
            stalled: Mutex::default(),
        });
        let mut replica = Self {
            allocator: Arc::new(Allocator::new(index, Arc::clone(&line))),
            line,
            position: 0,
        };
        replica.list();
        replica
    }

    /// The watch tells one change.
    fn deliver(&mut self) -> bool {
        let server = self.line.server();
        let Some((revision, _, object)) = server.log.get(self.position) else {
            return false;
        };
        self.position += 1;
        let host = told(object);
        self.line.index.changed(key(&host), host);
        self.line.index.shown("ns", *revision);
        true
    }

    /// The watch broke and begins anew.
    fn list(&mut self) {
        let server = self.line.server();
        for object in server.objects.values() {
            let host = told(object);
            self.line.index.upsert(key(&host), host);
        }
        self.position = server.log.len();
        let newest = server
            .objects
            .values()
            .map(|object| told(object).revision.parse::<u64>().unwrap());
        self.line.index.shown("ns", newest.max().unwrap());
    }
}

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
    /// Somebody else writes to the host.
    Touch(usize),
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
        let call = Box::pin(async move { allocator.claim(&request(consumer, image)).await });
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
        let host = key(&claimed.host).name;
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
            Step::Touch(host) => {
                let mut server = self.server.lock().unwrap();
                let name = format!("h{host}");
                let object = server.objects[&name].clone();
                server.write(&name, object);
            }
            Step::Release(consumer) => self.release(consumer),
        }
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

    /// Everything is delivered and every call ends.
    fn calm(&mut self) {
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
    let begin = if lists { 1 } else { 0 };
    prop_oneof![
        6 => (0..REPLICAS, 0..CONSUMERS, any::<bool>()).prop_map(|(r, c, i)| Step::Call(r, c, i)),
        30 => any::<usize>().prop_map(Step::Go),
        2 => any::<usize>().prop_map(Step::Die),
        12 => (0..REPLICAS).prop_map(Step::Deliver),
        1 => (0..REPLICAS, any::<bool>()).prop_map(|(r, s)| Step::Stall(r, s)),
        begin => (0..REPLICAS).prop_map(Step::List),
        begin => (0..REPLICAS).prop_map(Step::Restart),
        2 => (0..HOSTS).prop_map(Step::Touch),
        1 => (0..CONSUMERS).prop_map(Step::Release),
    ]
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
