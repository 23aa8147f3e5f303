//! A server that compares and swaps, and replicas whose views of it lag behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use serde_json::json;

use super::super::*;

/// What the API server has, and what it was.
#[derive(Default)]
pub(super) struct Server {
    pub(super) objects: BTreeMap<String, Value>,
    pub(super) log: Vec<(u64, String, Value)>,
}

impl Server {
    pub(super) fn write(&mut self, name: &str, mut object: Value) {
        let revision = 1 + u64::try_from(self.log.len()).unwrap();
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        self.log.push((revision, name.to_owned(), object.clone()));
        self.objects.insert(name.to_owned(), object);
    }

    pub(super) fn owner(&self, name: &str) -> Option<String> {
        let owner = self.objects[name]["spec"]["consumerRef"]["name"].as_str();
        owner.map(str::to_owned)
    }

    pub(super) fn hosts_of(&self, consumer: &str) -> Vec<String> {
        let owned = |name: &&String| self.owner(name).as_deref() == Some(consumer);
        self.objects.keys().filter(owned).cloned().collect()
    }
}

fn seen(object: &Value) -> Seen {
    Seen::of(serde_json::from_value(object.clone()).unwrap())
}

fn told(object: &Value) -> Host {
    seen(object).host
}

/// One replica's way to the server.
pub(super) struct Line {
    pub(super) server: Arc<Mutex<Server>>,
    pub(super) index: Arc<HostIndex>,
    /// The watch does not come on for so long that nobody waits for it.
    pub(super) stalled: Mutex<bool>,
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
    async fn write(&self, decided_on: &Host, patch: Value) -> Result<Option<Seen>, Status> {
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
            let now = seen(&server.objects[&name]);
            (swaps, now)
        };
        meanwhile().await;
        let (swaps, now) = answer;
        if swaps {
            self.index.changed(now.key(), now.host.clone());
        } else {
            self.index.upsert(now.key(), now.host.clone());
        }
        Ok(swaps.then_some(now))
    }

    async fn read(&self, host: &Host) -> Result<Option<Seen>, Status> {
        meanwhile().await;
        let now = seen(&self.server().objects[&key(host).name]);
        meanwhile().await;
        self.index.upsert(now.key(), now.host.clone());
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

    async fn shown(&self, index: &HostIndex, namespace: &str, revision: u64, _: Duration) -> bool {
        let mut reached = std::pin::pin!(index.reaches(namespace, revision));
        std::future::poll_fn(|context| match reached.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if *self.stalled.lock().unwrap() => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

pub(super) struct Replica {
    pub(super) line: Arc<Line>,
    pub(super) allocator: Arc<Allocator<Line>>,
    /// How much of the log its watch has shown.
    pub(super) position: usize,
}

impl Replica {
    pub(super) fn start(server: &Arc<Mutex<Server>>) -> Self {
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
    pub(super) fn deliver(&mut self) -> bool {
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
    pub(super) fn list(&mut self) {
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
