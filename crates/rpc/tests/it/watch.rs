//! The view of the hosts survives whatever happens to its stream.

use std::collections::BTreeMap;

use metal3_rpc::client::Patience;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::{Host, WatchHostsRequest};
use metal3_rpc::watch::{Event, HostWatch, Lost, News};
use metal3_testkit::wait;
use metal3_testkit::wire::Mode;
use tonic::Code;

use crate::replicas::{SHORT, Service};

fn keep(host: Host) -> Option<String> {
    Some(host.provisioning_state)
}

fn follow(service: &Service) -> HostWatch<String> {
    HostWatch::new(service.client.clone(), WatchHostsRequest::default(), keep)
}

fn states(hosts: &HostWatch<String>) -> BTreeMap<String, String> {
    let hosts = hosts.hosts().iter();
    hosts
        .map(|(key, state)| (key.name.clone(), (**state).clone()))
        .collect()
}

/// Until the picture is complete.
async fn synced(hosts: &mut HostWatch<String>) -> Vec<Lost> {
    let mut lost = Vec::new();
    loop {
        match next(hosts).await {
            Event::News(News::Synced) => return lost,
            Event::News(News::Changed { .. }) => {}
            Event::Lost(one) => lost.push(one),
        }
    }
}

async fn lost(hosts: &mut HostWatch<String>) -> Lost {
    loop {
        if let Event::Lost(lost) = next(hosts).await {
            return lost;
        }
    }
}

async fn next(hosts: &mut HostWatch<String>) -> Event<String> {
    tokio::time::timeout(wait::LONG, hosts.next())
        .await
        .unwrap_or_else(|_| panic!("nothing happens"))
}

#[tokio::test]
async fn a_stream_that_broke_is_resumed_and_what_happened_meanwhile_is_told() {
    let service = Service::start(1, 2).await;
    let mut hosts = follow(&service);
    assert!(synced(&mut hosts).await.is_empty());
    assert_eq!(states(&hosts)["h000"], "available");
    service.wires[0].set(Mode::Refuse);
    service.wires[0].cut();
    let first = lost(&mut hosts).await;
    assert!(first.was_open && !first.unreachable(), "{first:?}");
    let second = lost(&mut hosts).await;
    assert!(second.unreachable(), "{second:?}");
    service
        .replica
        .change("h000", |host| host.provisioning_state = "provisioned".into());
    service.wires[0].set(Mode::Pass);
    synced(&mut hosts).await;
    assert_eq!(states(&hosts)["h000"], "provisioned");
    assert_eq!(
        service.replica.with(|world| world.resumed_from.clone()),
        ["", "2"]
    );
    assert!(service.notes.told().lost.len() >= 2);
}

#[tokio::test]
async fn a_stream_whose_replica_is_swallowed_goes_on_at_another_one() {
    let service = Service::patient(2, 1, SHORT).await;
    let mut hosts = follow(&service);
    synced(&mut hosts).await;
    let [first, _] = service.replica.seen::<2>();
    let at = usize::from(first == 0);
    service.wires[at].set(Mode::Hole);
    let lost = synced(&mut hosts).await;
    assert!(
        lost[0].was_open && lost[0].status.code() == Code::Unavailable,
        "{lost:?}"
    );
    service
        .replica
        .change("h000", |host| host.provisioning_state = "provisioned".into());
    while states(&hosts)["h000"] != "provisioned" {
        next(&mut hosts).await;
    }
    assert!(service.replica.seen::<2>()[1 - at] > 0);
}

#[tokio::test]
async fn a_stream_that_says_nothing_for_too_long_is_opened_again() {
    let patience = Patience {
        silence: std::time::Duration::from_millis(300),
        ..SHORT
    };
    let service = Service::patient(1, 1, patience).await;
    let mut hosts = follow(&service);
    synced(&mut hosts).await;
    let lost = lost(&mut hosts).await;
    assert!(
        lost.was_open && lost.status.message().contains("no message"),
        "{lost:?}"
    );
    synced(&mut hosts).await;
}

#[tokio::test]
async fn a_stream_that_cannot_be_resumed_begins_anew() {
    let service = Service::start(1, 1).await;
    let mut hosts = follow(&service);
    synced(&mut hosts).await;
    for reason in [Reason::RevisionExpired, Reason::SlowConsumer] {
        service
            .replica
            .with(|world| world.failures.push_back(reason.status("start again", [])));
        service.wires[0].cut();
        let lost = synced(&mut hosts).await;
        assert_eq!(Reason::of(&lost[1].status), Some(reason), "{lost:?}");
        assert!(!lost[1].unreachable());
    }
    assert_eq!(
        service.replica.with(|world| world.resumed_from.clone()),
        ["", "", ""]
    );
    assert_eq!(states(&hosts).len(), 1);
}
