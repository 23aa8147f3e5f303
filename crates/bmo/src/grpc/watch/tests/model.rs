//! Readers that keep a map of what they are told, against the index at the moment that each message tells of, through any
//! changes, stalls, breaks and cut-offs.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;

const HOSTS: u8 = 9;

#[derive(Clone, Debug)]
enum Deed {
    /// A host comes or changes; its consumer is ours, another one, or nobody. Late: others wrote it before what was told
    /// last, and it is known only now.
    Put {
        host: u8,
        consumer: Option<bool>,
        late: bool,
    },
    Remove(u8),
    /// The watch begins anew, and finds these missing.
    List(Vec<u8>),
    /// A reader reads so many messages, if there are; the others stall.
    Read(usize, u8),
    /// The connection of a reader breaks, and it resumes.
    Break(usize),
    /// A reader begins anew.
    Start(usize),
    /// More changes than the log remembers.
    Flood,
    /// Long enough for a bookmark.
    Idle,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let reader = || 0..filters().len();
    let deed = prop_oneof![
        24 => (0..HOSTS, prop::option::of(any::<bool>()), any::<bool>())
            .prop_map(|(host, consumer, late)| Deed::Put { host, consumer, late }),
        12 => (0..HOSTS).prop_map(Deed::Remove),
        2 => prop::collection::vec(0..HOSTS, 0..4).prop_map(Deed::List),
        24 => (reader(), 0..9u8).prop_map(|(reader, times)| Deed::Read(reader, times)),
        6 => reader().prop_map(Deed::Break),
        3 => reader().prop_map(Deed::Start),
        1 => Just(Deed::Flood),
        4 => Just(Deed::Idle),
    ];
    prop::collection::vec(deed, 0..90)
}

fn filters() -> [WatchHostsRequest; 4] {
    let all = WatchHostsRequest::default();
    let near = WatchHostsRequest {
        namespaces: vec!["n0".into(), "n1".into()],
        ..all.clone()
    };
    let ours = WatchHostsRequest {
        consumer_kind: "Metal3Machine".into(),
        ..all.clone()
    };
    let narrow = WatchHostsRequest {
        consumer_kind: "Metal3Machine".into(),
        label_prefixes: vec!["a/".into()],
        ..near.clone()
    };
    [all, near, ours, narrow]
}

/// Revision and number of labels of each host.
type Hosts = BTreeMap<HostKey, (String, usize)>;

fn key_of(host: &Host) -> HostKey {
    let reference = host.r#ref.clone().unwrap();
    HostKey::new(reference.namespace, reference.name)
}

fn brief(host: &Host) -> (String, usize) {
    (host.revision.clone(), host.labels.len())
}

/// The index, and what it had at each place of its log.
struct World {
    index: Arc<HostIndex>,
    past: BTreeMap<Place, Vec<Arc<Host>>>,
    revision: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            index: Arc::default(),
            past: BTreeMap::new(),
            revision: 10,
        };
        world.keep();
        world
    }

    fn keep(&mut self) {
        let (hosts, place) = self.index.list("");
        self.past.insert(place, hosts);
    }

    fn key(number: u8) -> HostKey {
        HostKey::new(format!("n{}", number % 3), format!("h{number}"))
    }

    fn put(&mut self, number: u8, consumer: Option<bool>, late: bool) {
        self.revision += 10;
        let revision = if late { self.revision - 15 } else { self.revision };
        let kind = consumer.map(|ours| if ours { "Metal3Machine" } else { "HostClaim" });
        let key = Self::key(number);
        let host = host(&key.namespace, &key.name, revision, kind);
        self.index.changed(key, host);
        self.keep();
    }

    /// As a listing finds it: nobody knows when it went.
    fn remove(&mut self, number: u8) {
        let key = Self::key(number);
        if let Some(last) = self.index.get(&key) {
            self.index.remove(&key, Host::clone(&last));
            self.keep();
        }
    }

    fn list(&mut self, missing: &[u8]) {
        for host in self.index.list("").0 {
            self.index.upsert(key_of(&host), Host::clone(&host));
        }
        for number in missing {
            self.remove(*number);
        }
    }
}

struct Client {
    request: WatchHostsRequest,
    hosts: Hosts,
    /// The last one told; none: there is nothing to resume from.
    revision: Option<Place>,
    stream: Watch,
}

impl Client {
    fn new(world: &World, request: WatchHostsRequest) -> Self {
        Self {
            stream: Box::pin(paged(&world.index, request.clone(), 2).unwrap()),
            request,
            hosts: Hosts::new(),
            revision: None,
        }
    }

    fn resume(&mut self, world: &World) {
        let Some(from) = self.revision else {
            *self = Self::new(world, self.request.clone());
            return;
        };
        let request = WatchHostsRequest {
            from_revision: from.to_string(),
            ..self.request.clone()
        };
        let behind = usize::try_from(world.index.head().0 - from).unwrap();
        match paged(&world.index, request, 2) {
            Ok(stream) => self.stream = Box::pin(stream),
            Err(expired) => {
                assert_eq!(Reason::of(&expired), Some(Reason::RevisionExpired));
                assert!(behind > LENGTH, "{behind} changes are remembered");
                *self = Self::new(world, self.request.clone());
            }
        }
    }

    /// Whether there was something to read.
    fn read(&mut self, world: &World) -> bool {
        let Some(item) = self.stream.next().now_or_never() else {
            return false;
        };
        match item.expect("the stream ended without a reason") {
            Ok(item) => self.take(world, item),
            Err(status) => {
                assert_eq!(Reason::of(&status), Some(Reason::SlowConsumer));
                assert!(self.stream.next().now_or_never().unwrap().is_none());
                *self = Self::new(world, self.request.clone());
            }
        }
        true
    }

    fn take(&mut self, world: &World, item: WatchHostsResponse) {
        let kind = item.r#type();
        match (kind, item.host) {
            (Type::Added | Type::Modified, Some(host)) => {
                let known = self.hosts.insert(key_of(&host), brief(&host)).is_some();
                assert_eq!(known, kind == Type::Modified, "{host:?}");
            }
            (Type::Deleted, Some(host)) => {
                let known = self.hosts.remove(&key_of(&host));
                assert!(known.is_some(), "never told of {host:?}");
            }
            (Type::Synced | Type::Bookmark, None) => {}
            other => panic!("{other:?}"),
        }
        let Ok(place) = item.revision.parse::<Place>() else {
            assert!(
                item.revision.is_empty() && self.revision.is_none(),
                "{}",
                item.revision
            );
            return;
        };
        let marks = matches!(kind, Type::Synced | Type::Bookmark);
        let grows = |last| place > last || (marks && place == last);
        assert!(self.revision.is_none_or(grows), "{:?} {place}", self.revision);
        self.revision = Some(place);
        self.agrees(&world.past[&place]);
    }

    fn agrees(&self, hosts: &[Arc<Host>]) {
        let filter = Filter::new(self.request.clone());
        let hosts = hosts.iter().filter(|host| filter.admits(host));
        let expected: Hosts = hosts
            .map(|host| (key_of(host), brief(&filter.view(host))))
            .collect();
        assert_eq!(self.hosts, expected);
    }
}

fn happens(runtime: &Runtime, deeds: Vec<Deed>) {
    let mut world = World::new();
    let mut clients = filters().map(|request| Client::new(&world, request));
    for deed in deeds {
        match deed {
            Deed::Put { host, consumer, late } => world.put(host, consumer, late),
            Deed::Remove(host) => world.remove(host),
            Deed::List(missing) => world.list(&missing),
            Deed::Read(reader, times) => {
                for _ in 0..times {
                    clients[reader].read(&world);
                }
            }
            Deed::Break(reader) => clients[reader].resume(&world),
            Deed::Start(reader) => {
                clients[reader] = Client::new(&world, clients[reader].request.clone());
            }
            Deed::Flood => {
                for _ in 0..LENGTH + 100 {
                    world.put(0, None, false);
                }
            }
            Deed::Idle => runtime.block_on(tokio::time::advance(BOOKMARK_INTERVAL)),
        }
    }
    for client in &mut clients {
        while client.read(&world) {}
        client.agrees(&world.index.list("").0);
        assert_eq!(
            client.revision.map(|place| place <= world.index.head().0),
            Some(true)
        );
    }
}

proptest! {
    #[test]
    fn who_follows_a_stream_has_the_hosts_that_there_were_at_each_revision(deeds in deeds()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let _inside = runtime.enter();
        happens(&runtime, deeds);
    }
}
