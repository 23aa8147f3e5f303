//! WatchHosts: a reader pulls; what it has not pulled in time is lost to it, never held for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{Host, WatchHostsRequest, WatchHostsResponse};
use tokio::sync::broadcast;
use tonic::Status;

use super::index::{Change, ChangeKind, HostIndex, Subscription};

/// How often an idle stream tells its revision, which also shows a dead peer.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(30);

/// Which hosts, and which of their labels, a reader wants.
struct Filter {
    namespaces: HashSet<String>,
    consumer_kind: String,
    label_prefixes: Vec<String>,
}

impl Filter {
    fn admits(&self, host: &Host) -> bool {
        let namespace = host.r#ref.as_ref().map_or("", |host| host.namespace.as_str());
        (self.namespaces.is_empty() || self.namespaces.contains(namespace))
            && (self.consumer_kind.is_empty()
                || host
                    .consumer
                    .as_ref()
                    .is_none_or(|consumer| consumer.kind == self.consumer_kind))
    }

    fn view(&self, host: &Arc<Host>) -> Host {
        let mut host = Host::clone(host);
        if !self.label_prefixes.is_empty() {
            host.labels
                .retain(|key, _| self.label_prefixes.iter().any(|prefix| key.starts_with(prefix)));
        }
        host
    }

    fn response(&self, change: &Change) -> Option<WatchHostsResponse> {
        // A host that a filter on the consumer no longer admits is gone for this reader; telling it about a host it
        // never saw does no harm.
        let kind = match (change.kind, self.admits(&change.host)) {
            (ChangeKind::Deleted, _) => Type::Deleted,
            (ChangeKind::Modified, false) if self.consumer_kind.is_empty() => return None,
            (ChangeKind::Modified, false) => Type::Deleted,
            (ChangeKind::Added, false) => return None,
            (ChangeKind::Added, true) => Type::Added,
            (ChangeKind::Modified, true) => Type::Modified,
        };
        let namespace = change
            .host
            .r#ref
            .as_ref()
            .map_or("", |host| host.namespace.as_str());
        if !self.namespaces.is_empty() && !self.namespaces.contains(namespace) {
            return None;
        }
        Some(WatchHostsResponse {
            r#type: kind.into(),
            host: Some(self.view(&change.host)),
            revision: change.revision.to_string(),
        })
    }
}

struct Reader {
    filter: Filter,
    first: std::vec::IntoIter<Change>,
    /// Revision to announce as synced once `first` is empty; `None` afterwards.
    syncing: Option<u64>,
    revision: u64,
    rest: broadcast::Receiver<Change>,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<WatchHostsResponse, Status>> {
        if self.ended {
            return None;
        }
        for change in self.first.by_ref() {
            if let Some(response) = self.filter.response(&change) {
                return Some(Ok(response));
            }
        }
        if let Some(revision) = self.syncing.take() {
            return Some(Ok(marker(Type::Synced, revision)));
        }
        loop {
            match tokio::time::timeout(BOOKMARK_INTERVAL, self.rest.recv()).await {
                Err(_) => return Some(Ok(marker(Type::Bookmark, self.revision))),
                Ok(Ok(change)) => {
                    self.revision = self.revision.max(change.revision);
                    if let Some(response) = self.filter.response(&change) {
                        return Some(Ok(response));
                    }
                }
                Ok(Err(broadcast::error::RecvError::Lagged(missed))) => {
                    self.ended = true;
                    let message =
                        format!("{missed} changes were lost because they were not read in time; start again");
                    return Some(Err(Reason::SlowConsumer.status(message, [])));
                }
                Ok(Err(broadcast::error::RecvError::Closed)) => return None,
            }
        }
    }
}

fn marker(kind: Type, revision: u64) -> WatchHostsResponse {
    WatchHostsResponse {
        r#type: kind.into(),
        host: None,
        revision: revision.to_string(),
    }
}

/// Starts a stream.
///
/// # Errors
/// `INVALID_ARGUMENT` for a malformed revision, `OUT_OF_RANGE` for one that is no longer known.
pub(super) fn watch(
    index: &HostIndex,
    request: WatchHostsRequest,
) -> Result<impl Stream<Item = Result<WatchHostsResponse, Status>> + Send + use<>, Status> {
    let from = match request.from_revision.as_str() {
        "" => None,
        text => Some(text.parse::<u64>().map_err(|_| {
            Reason::InvalidField.status(
                format!("from_revision {text:?} is not one that WatchHosts gave"),
                [("field", "from_revision")],
            )
        })?),
    };
    let Subscription {
        first,
        revision,
        rest,
    } = index.subscribe(from).ok_or_else(|| {
        Reason::RevisionExpired.status("from_revision is too old; start again without it", [])
    })?;
    let reader = Reader {
        filter: Filter {
            namespaces: request.namespaces.into_iter().collect(),
            consumer_kind: request.consumer_kind,
            label_prefixes: request.label_prefixes,
        },
        first: first.into_iter(),
        syncing: Some(revision),
        revision,
        rest,
        ended: false,
    };
    Ok(stream::unfold(reader, |mut reader| async move {
        reader.next().await.map(|item| (item, reader))
    }))
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};
    use metal3_provisioner::HostKey;
    use metal3_rpc::v1::{Consumer, HostRef};

    use super::*;

    fn put(index: &HostIndex, name: &str, revision: u64, consumer: Option<&str>) {
        let host = Host {
            r#ref: Some(HostRef::named("ns", name)),
            revision: revision.to_string(),
            labels: [
                ("a/x".to_owned(), "1".to_owned()),
                ("b/y".to_owned(), "2".to_owned()),
            ]
            .into(),
            consumer: consumer.map(|kind| Consumer {
                kind: kind.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        index.upsert(HostKey::new("ns", name), host);
    }

    fn pull(
        stream: &mut (impl Stream<Item = Result<WatchHostsResponse, Status>> + Unpin),
    ) -> Vec<(Type, String)> {
        std::iter::from_fn(|| stream.next().now_or_never().flatten())
            .map(|item| {
                let item = item.unwrap();
                (
                    item.r#type(),
                    item.host
                        .and_then(|h| h.r#ref)
                        .map(|r| r.name)
                        .unwrap_or_default(),
                )
            })
            .collect()
    }

    #[tokio::test]
    async fn a_stream_is_a_snapshot_a_marker_and_changes() {
        let index = HostIndex::default();
        put(&index, "a", 1, None);
        let mut stream = Box::pin(watch(&index, WatchHostsRequest::default()).unwrap());
        assert_eq!(
            pull(&mut stream),
            [(Type::Added, "a".into()), (Type::Synced, String::new())]
        );
        put(&index, "a", 2, None);
        put(&index, "b", 3, None);
        assert_eq!(
            pull(&mut stream),
            [(Type::Modified, "a".into()), (Type::Added, "b".into())]
        );
    }

    #[tokio::test]
    async fn a_slow_reader_is_cut_off_with_a_reason() {
        let index = HostIndex::default();
        let mut stream = Box::pin(watch(&index, WatchHostsRequest::default()).unwrap());
        for revision in 1..10_000 {
            put(&index, "a", revision, None);
        }
        assert_eq!(stream.next().await.unwrap().unwrap().r#type(), Type::Synced);
        let status = stream.next().await.unwrap().unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::SlowConsumer));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn filters_reduce_hosts_and_labels() {
        let index = HostIndex::default();
        put(&index, "mine", 1, Some("Metal3Machine"));
        put(&index, "other", 2, Some("HostClaim"));
        put(&index, "free", 3, None);
        let request = WatchHostsRequest {
            namespaces: vec!["ns".into()],
            consumer_kind: "Metal3Machine".into(),
            label_prefixes: vec!["a/".into()],
            ..Default::default()
        };
        let mut stream = Box::pin(watch(&index, request).unwrap());
        let first = stream.next().await.unwrap().unwrap().host.unwrap();
        assert_eq!(first.labels.keys().collect::<Vec<_>>(), ["a/x"]);
        let mut names: Vec<_> = pull(&mut stream).into_iter().map(|(_, name)| name).collect();
        names.push(first.r#ref.unwrap().name);
        names.sort();
        assert_eq!(names, ["", "free", "mine"]);
        put(&index, "free", 4, Some("HostClaim"));
        assert_eq!(pull(&mut stream), [(Type::Deleted, "free".into())]);
    }

    #[tokio::test]
    async fn an_unknown_revision_is_refused() {
        let index = HostIndex::default();
        let request = |from: &str| WatchHostsRequest {
            from_revision: from.into(),
            ..Default::default()
        };
        assert_eq!(
            Reason::of(&watch(&index, request("x")).err().unwrap()),
            Some(Reason::InvalidField)
        );
        assert_eq!(
            Reason::of(&watch(&index, request("99")).err().unwrap()),
            Some(Reason::RevisionExpired)
        );
    }
}
