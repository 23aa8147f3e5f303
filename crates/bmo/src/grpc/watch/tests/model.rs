//! A reader that keeps a map of what it is told, against the index, through any changes, breaks and cut-offs.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens between a fleet and a reader.
#[derive(Clone, Debug)]
enum Deed {
    /// A host changes; its consumer is ours, another one, or nobody.
    Put(u8, Option<bool>),
    Remove(u8),
    /// Reads so many messages, if there are.
    Read(u8),
    /// The connection breaks, and the reader resumes.
    Break,
    /// More changes than the log remembers.
    Flood,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        12 => (0..9u8, prop::option::of(any::<bool>())).prop_map(|(host, consumer)| Deed::Put(host, consumer)),
        6 => (0..9u8).prop_map(Deed::Remove),
        8 => (0..9u8).prop_map(Deed::Read),
        3 => Just(Deed::Break),
        1 => Just(Deed::Flood),
    ];
    prop::collection::vec(deed, 0..80)
}

type Hosts = BTreeMap<HostKey, Host>;

fn key_of(host: &Host) -> HostKey {
    let reference = host.r#ref.clone().unwrap();
    HostKey::new(reference.namespace, reference.name)
}

struct Client {
    request: WatchHostsRequest,
    hosts: Hosts,
    /// Empty until it was synced.
    revision: String,
    stream: Watch,
}

impl Client {
    fn new(index: &Arc<HostIndex>, request: WatchHostsRequest) -> Self {
        Self {
            stream: open(index, request.clone()),
            request,
            hosts: Hosts::new(),
            revision: String::new(),
        }
    }

    fn resume(&mut self, index: &Arc<HostIndex>) {
        let request = WatchHostsRequest {
            from_revision: self.revision.clone(),
            ..self.request.clone()
        };
        self.stream = match watch(index, request) {
            Ok(stream) => Box::pin(stream),
            Err(expired) => {
                assert_eq!(Reason::of(&expired), Some(Reason::RevisionExpired));
                self.revision.clear();
                open(index, self.request.clone())
            }
        };
        if self.revision.is_empty() {
            self.hosts.clear();
        }
    }

    /// Whether there was something to read.
    fn read(&mut self, index: &Arc<HostIndex>) -> bool {
        let Some(item) = self.stream.next().now_or_never() else {
            return false;
        };
        match item.expect("the stream ended without a reason") {
            Ok(item) => self.take(index, item),
            Err(status) => {
                assert_eq!(Reason::of(&status), Some(Reason::SlowConsumer));
                self.revision.clear();
                self.resume(index);
            }
        }
        true
    }

    fn take(&mut self, index: &HostIndex, item: WatchHostsResponse) {
        let kind = item.r#type();
        if kind == Type::Synced || !self.revision.is_empty() {
            self.revision = item.revision;
        }
        match (kind, item.host) {
            (Type::Added | Type::Modified, Some(host)) => {
                self.hosts.insert(key_of(&host), host);
            }
            (Type::Deleted, Some(host)) => {
                self.hosts.remove(&key_of(&host));
            }
            (Type::Synced, None) => self.agrees(index),
            other => panic!("{other:?}"),
        }
    }

    fn agrees(&self, index: &HostIndex) {
        let filter = Filter::new(self.request.clone());
        let hosts = index.list("").0.into_iter().filter(|host| filter.admits(host));
        let expected: Hosts = hosts.map(|host| (key_of(&host), filter.view(&host))).collect();
        let brief = |hosts: &Hosts| -> Vec<_> {
            let hosts = hosts.iter();
            hosts
                .map(|(key, host)| (key.clone(), host.revision.clone(), host.labels.len()))
                .collect()
        };
        assert_eq!(brief(&self.hosts), brief(&expected));
    }
}

fn happens(deeds: Vec<Deed>, request: WatchHostsRequest) {
    let index = Arc::<HostIndex>::default();
    let key = |number: u8| HostKey::new(format!("n{}", number % 3), format!("h{number}"));
    let mut client = Client::new(&index, request);
    let mut revision = 0;
    for deed in deeds {
        revision += 1;
        match deed {
            Deed::Put(number, consumer) => {
                let kind = consumer.map(|ours| if ours { "Metal3Machine" } else { "HostClaim" });
                let key = key(number);
                let host = host(&key.namespace, &key.name, revision, kind);
                index.upsert(key, host);
            }
            Deed::Remove(number) => {
                let key = key(number);
                // As a listing finds it: the revision of the deletion is not known.
                if let Some(last) = index.get(&key) {
                    index.remove(&key, Host::clone(&last));
                }
            }
            Deed::Read(times) => {
                for _ in 0..times {
                    client.read(&index);
                }
            }
            Deed::Break => client.resume(&index),
            Deed::Flood => {
                for _ in 0..4200 {
                    revision += 1;
                    index.upsert(HostKey::new("n0", "h0"), host("n0", "h0", revision, None));
                }
            }
        }
    }
    while client.read(&index) {}
    client.agrees(&index);
}

proptest! {
    #[test]
    fn who_follows_the_stream_has_the_hosts_that_there_are(deeds in deeds(), narrow: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let request = WatchHostsRequest {
            namespaces: vec!["n0".into(), "n1".into()],
            consumer_kind: "Metal3Machine".into(),
            label_prefixes: vec!["a/".into()],
            ..Default::default()
        };
        happens(deeds, if narrow { request } else { WatchHostsRequest::default() });
    }
}
