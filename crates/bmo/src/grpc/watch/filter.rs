//! Which hosts, and which of their labels, a reader wants. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{Host, WatchHostsRequest};

use crate::grpc::index::{Before, Touched};

pub(super) struct Filter {
    namespaces: HashSet<String>,
    consumer_kind: String,
    label_prefixes: Vec<String>,
}

impl Filter {
    pub(super) fn new(request: WatchHostsRequest) -> Self {
        Self {
            namespaces: request.namespaces.into_iter().collect(),
            consumer_kind: request.consumer_kind,
            label_prefixes: request.label_prefixes,
        }
    }

    fn concerns(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }

    fn suits(&self, kind: Option<&str>) -> bool {
        self.consumer_kind.is_empty() || kind.is_none_or(|kind| kind == self.consumer_kind)
    }

    pub(super) fn admits(&self, host: &Host) -> bool {
        let namespace = host.r#ref.as_ref().map_or("", |host| host.namespace.as_str());
        self.concerns(namespace) && self.suits(host.consumer.as_ref().map(|consumer| consumer.kind.as_str()))
    }

    /// What the changes of a host are for this reader; `None`: nothing. A host that changes hands may come or go.
    pub(super) fn change(&self, touched: &Touched, now: Option<&Host>) -> Option<Type> {
        if !self.concerns(&touched.key.namespace) {
            return None;
        }
        let suited = |before: &Before| match before {
            Before::Absent => false,
            Before::Used(kind) => self.suits(kind.as_deref()),
        };
        let now = now.is_some_and(|host| self.admits(host));
        match (suited(&touched.before), now) {
            (false, true) => Some(Type::Added),
            (true, true) => Some(Type::Modified),
            (true, false) => Some(Type::Deleted),
            // A reader that came late to an earlier change may know it; that it went does no harm to one that does not.
            (false, false) => touched.between.iter().any(suited).then_some(Type::Deleted),
        }
    }

    /// The host as the reader wants it.
    pub(super) fn view(&self, host: &Arc<Host>) -> Host {
        let mut host = Host::clone(host);
        if !self.label_prefixes.is_empty() {
            host.labels
                .retain(|key, _| self.label_prefixes.iter().any(|prefix| key.starts_with(prefix)));
        }
        host
    }
}
