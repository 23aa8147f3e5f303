//! Which hosts, and which of their labels, a reader wants. Pure.

use std::collections::HashSet;

use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{Host, WatchHostsRequest};

use super::super::index::Change;

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

    pub(super) fn admits(&self, host: &Host) -> bool {
        let namespace = host.r#ref.as_ref().map_or("", |host| host.namespace.as_str());
        let consumer = host.consumer.as_ref();
        (self.namespaces.is_empty() || self.namespaces.contains(namespace))
            && (self.consumer_kind.is_empty()
                || consumer.is_none_or(|consumer| consumer.kind == self.consumer_kind))
    }

    /// What a change is for this reader; `None`: nothing. A host that changes hands may come or go.
    pub(super) fn change(&self, change: &Change) -> Option<Type> {
        let before = change.before.as_ref().is_some_and(|host| self.admits(host));
        let now = !change.gone && self.admits(&change.host);
        match (before, now) {
            (false, true) => Some(Type::Added),
            (true, true) => Some(Type::Modified),
            (true, false) => Some(Type::Deleted),
            (false, false) => None,
        }
    }

    /// The host as the reader wants it.
    pub(super) fn view(&self, host: &Host) -> Host {
        let mut host = host.clone();
        if !self.label_prefixes.is_empty() {
            host.labels
                .retain(|key, _| self.label_prefixes.iter().any(|prefix| key.starts_with(prefix)));
        }
        host
    }
}
