mod model;

use std::sync::Weak;

use futures::{FutureExt as _, StreamExt as _};
use metal3_rpc::v1::{Consumer, HostRef};

use super::super::index::LENGTH;
use super::*;

type Watch = std::pin::Pin<Box<dyn Stream<Item = Result<WatchHostsResponse, Status>>>>;

fn host(namespace: &str, name: &str, revision: u64, consumer: Option<&str>) -> Host {
    Host {
        r#ref: Some(HostRef::named(namespace, name)),
        revision: revision.to_string(),
        labels: ["a/x", "b/y"].map(|key| (key.to_owned(), "1".to_owned())).into(),
        consumer: consumer.map(|kind| Consumer {
            kind: kind.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn put(index: &HostIndex, name: &str, revision: u64, consumer: Option<&str>) {
    index.upsert(HostKey::new("ns", name), host("ns", name, revision, consumer));
}

fn remove(index: &HostIndex, name: &str, revision: u64, consumer: Option<&str>) {
    index.remove(&HostKey::new("ns", name), host("ns", name, revision, consumer));
}

fn open(index: &Arc<HostIndex>, request: WatchHostsRequest) -> Watch {
    Box::pin(watch(index, request).unwrap())
}

/// What there is to read now.
fn pull(stream: &mut Watch) -> Vec<WatchHostsResponse> {
    // All of it, however much a task may do at a time.
    let mut next = || tokio::task::unconstrained(stream.next()).now_or_never();
    std::iter::from_fn(|| next().flatten())
        .map(Result::unwrap)
        .collect()
}

fn named(responses: &[WatchHostsResponse]) -> Vec<(Type, &str)> {
    let named = responses.iter().map(|item| {
        let reference = item.host.as_ref().and_then(|host| host.r#ref.as_ref());
        (item.r#type(), reference.map_or("", |host| host.name.as_str()))
    });
    named.collect()
}

#[tokio::test]
async fn a_stream_is_a_snapshot_a_marker_and_changes() {
    let index = Arc::<HostIndex>::default();
    put(&index, "a", 1, None);
    let mut stream = open(&index, WatchHostsRequest::default());
    assert_eq!(
        named(&pull(&mut stream)),
        [(Type::Added, "a"), (Type::Synced, "")]
    );
    put(&index, "a", 2, None);
    put(&index, "b", 3, None);
    assert_eq!(
        named(&pull(&mut stream)),
        [(Type::Modified, "a"), (Type::Added, "b")]
    );
    remove(&index, "a", 4, None);
    assert_eq!(named(&pull(&mut stream)), [(Type::Deleted, "a")]);
}

#[tokio::test]
async fn a_snapshot_is_synced_with_what_changed_while_it_was_read() {
    let index = Arc::<HostIndex>::default();
    for number in 0..600 {
        put(&index, &format!("h{number:03}"), number + 1, None);
    }
    let mut stream = open(&index, WatchHostsRequest::default());
    for _ in 0..300 {
        stream.next().await.unwrap().unwrap();
    }
    remove(&index, "h000", 1000, None);
    remove(&index, "h598", 1001, None);
    put(&index, "h599", 1002, Some("HostClaim"));
    put(&index, "a", 1003, None);
    let rest = pull(&mut stream);
    let tail = named(&rest[rest.len() - 4..]);
    assert_eq!(
        tail,
        [
            // Its page was read after the changes and has them.
            (Type::Added, "h599"),
            (Type::Deleted, "h000"),
            (Type::Added, "a"),
            (Type::Synced, "")
        ]
    );
    assert!(named(&rest).iter().all(|(_, name)| *name != "h598"));
    let resumable = rest.iter().filter(|item| !item.revision.is_empty());
    assert_eq!(
        resumable.count(),
        1,
        "what is told before the marker cannot be resumed from"
    );
}

#[tokio::test]
async fn a_reader_resumes_where_it_stopped_even_when_changes_come_out_of_order() {
    let index = Arc::<HostIndex>::default();
    put(&index, "a", 1, None);
    put(&index, "b", 2, None);
    put(&index, "gone", 3, None);
    let mut stream = open(&index, WatchHostsRequest::default());
    pull(&mut stream);
    // The answer to an own write is known before the watch shows what another replica wrote earlier.
    put(&index, "a", 20, None);
    let from_revision = pull(&mut stream).pop().unwrap().revision;
    drop(stream);
    put(&index, "b", 19, None);
    // Found missing by a listing, which does not tell when it went.
    remove(&index, "gone", 3, None);
    let request = WatchHostsRequest {
        from_revision,
        ..Default::default()
    };
    let told = pull(&mut open(&index, request));
    assert_eq!(
        named(&told),
        [(Type::Modified, "b"), (Type::Deleted, "gone"), (Type::Synced, "")]
    );
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_with_a_reason_also_within_the_snapshot() {
    let index = Arc::<HostIndex>::default();
    for number in 0..600 {
        put(&index, &format!("h{number:03}"), 1, None);
    }
    let mut begun = open(&index, WatchHostsRequest::default());
    begun.next().await.unwrap().unwrap();
    let mut synced = open(&index, WatchHostsRequest::default());
    pull(&mut synced);
    for revision in 2..10_000 {
        put(&index, "a", revision, None);
    }
    for (mut stream, more) in [(begun, PAGE - 1), (synced, 0)] {
        for _ in 0..more {
            stream.next().await.unwrap().unwrap();
        }
        let status = stream.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(Reason::of(&status), Some(Reason::SlowConsumer));
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn readers_that_stall_hold_a_page_each_and_disturb_nobody() {
    const HOSTS: u64 = 10_000;
    const READERS: u64 = 50;
    /// Between one reader and the next.
    const CHANGES: u64 = 1000;
    let index = Arc::<HostIndex>::default();
    let name = |number: u64| format!("h{:05}", number % HOSTS);
    for number in 0..HOSTS {
        put(&index, &name(number), 1, None);
    }
    let mut active = open(&index, WatchHostsRequest::default());
    assert_eq!(pull(&mut active).len() as u64, HOSTS + 1);
    let (mut stalled, mut old) = (Vec::<Watch>::new(), Vec::<Weak<Host>>::new());
    for change in 0..READERS * CHANGES {
        if change % CHANGES == 0 {
            let mut stream = open(&index, WatchHostsRequest::default());
            stream.next().await.unwrap().unwrap();
            stalled.push(stream);
        }
        let name = name(change);
        old.push(Arc::downgrade(
            &index.get(&HostKey::new("ns", name.as_str())).unwrap(),
        ));
        put(&index, &name, change + 2, None);
        assert_eq!(named(&pull(&mut active)), [(Type::Modified, name.as_str())]);
    }
    let held = old.iter().filter(|host| host.strong_count() > 0).count();
    let bound = PAGE * stalled.len() + LENGTH;
    assert!(held <= bound, "{held} old hosts are held, and {bound} may be");
    let (slow, late): (Vec<_>, Vec<_>) = stalled
        .into_iter()
        .enumerate()
        .partition(|(number, _)| (READERS - *number as u64) * CHANGES > LENGTH as u64);
    assert!(slow.len() > 40 && !late.is_empty());
    for (number, mut stream) in slow {
        let mut told = 1;
        let end = loop {
            match stream.next().await.unwrap() {
                Ok(_) => told += 1,
                Err(status) => break status,
            }
        };
        assert_eq!(Reason::of(&end), Some(Reason::SlowConsumer), "reader {number}");
        assert_eq!(told, PAGE, "reader {number} was told of no more than it held");
    }
    for (number, mut stream) in late {
        let last = pull(&mut stream).pop().unwrap();
        assert_eq!(last.r#type(), Type::Synced, "reader {number}");
    }
}

#[tokio::test]
async fn filters_reduce_hosts_and_labels_and_hosts_come_and_go_by_them() {
    let index = Arc::<HostIndex>::default();
    put(&index, "mine", 1, Some("Metal3Machine"));
    put(&index, "other", 2, Some("HostClaim"));
    put(&index, "free", 3, None);
    index.upsert(HostKey::new("ns2", "far"), host("ns2", "far", 4, None));
    let request = WatchHostsRequest {
        namespaces: vec!["ns".into()],
        consumer_kind: "Metal3Machine".into(),
        label_prefixes: vec!["a/".into()],
        ..Default::default()
    };
    let mut stream = open(&index, request);
    let first = pull(&mut stream);
    assert_eq!(
        named(&first),
        [(Type::Added, "free"), (Type::Added, "mine"), (Type::Synced, "")]
    );
    let labels = &first[0].host.as_ref().unwrap().labels;
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["a/x"]);
    for (revision, consumer, told) in [
        (5, Some("HostClaim"), Some(Type::Deleted)),
        (6, Some("HostClaim"), None),
        (7, None, Some(Type::Added)),
        (8, Some("Metal3Machine"), Some(Type::Modified)),
    ] {
        put(&index, "free", revision, consumer);
        let expected: Vec<_> = told.map(|kind| (kind, "free")).into_iter().collect();
        assert_eq!(named(&pull(&mut stream)), expected);
    }
    index.upsert(HostKey::new("ns2", "far"), host("ns2", "far", 9, None));
    remove(&index, "other", 10, Some("HostClaim"));
    assert_eq!(named(&pull(&mut stream)), []);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_to_say_tells_its_revision_also_when_others_are_busy() {
    let index = Arc::<HostIndex>::default();
    let request = WatchHostsRequest {
        namespaces: vec!["quiet".into()],
        ..Default::default()
    };
    let mut stream = open(&index, request);
    let synced = stream.next().await.unwrap().unwrap();
    let busy = tokio::spawn({
        let index = Arc::clone(&index);
        async move {
            for revision in 1.. {
                put(&index, "a", revision, None);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    let bookmark = stream.next().await.unwrap().unwrap();
    assert_eq!(bookmark.r#type(), Type::Bookmark);
    assert!(bookmark.revision.parse::<u64>().unwrap() > synced.revision.parse().unwrap());
    busy.abort();
}

#[tokio::test]
async fn an_unknown_revision_is_refused() {
    let index = Arc::<HostIndex>::default();
    let refused = |from: &str| {
        let request = WatchHostsRequest {
            from_revision: from.into(),
            ..Default::default()
        };
        Reason::of(&watch(&index, request).err().unwrap())
    };
    assert_eq!(refused("x"), Some(Reason::InvalidField));
    assert_eq!(refused(&u64::MAX.to_string()), Some(Reason::RevisionExpired));
}
