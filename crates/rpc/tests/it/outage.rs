//! The service is away for ten minutes, in virtual time: how often the client asks meanwhile, and how soon it notices that the
//! service is back.

use std::time::Duration;

use metal3_rpc::v1::WatchHostsRequest;
use metal3_rpc::watch::{Event, HostWatch, News};
use metal3_testkit::wire::Mode;
use tokio::time::Instant;

use crate::replicas::Service;

const OUTAGE: Duration = Duration::from_mins(10);
/// The longest time between two attempts to open the stream, and the time to connect.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test(start_paused = true)]
async fn a_stream_is_back_within_seconds_however_long_the_service_was_away() {
    let service = Service::start(2, 2).await;
    let mut hosts = HostWatch::new(service.client.clone(), WatchHostsRequest::default(), |host| {
        Some(host.provisioning_state)
    });
    while !matches!(hosts.next().await, Event::News(News::Synced)) {}
    for wire in &service.wires {
        wire.set(Mode::Refuse);
        wire.cut();
    }
    let (began, mut attempts) = (Instant::now(), 0);
    while began.elapsed() < OUTAGE {
        match hosts.next().await {
            Event::Lost(lost) => {
                attempts += 1;
                assert_eq!(lost.unreachable(), attempts > 1, "{lost:?}");
                assert!(lost.again <= SOON, "{lost:?}");
            }
            Event::News(news) => panic!("{news:?}"),
        }
    }
    // One in five to ten seconds, and some until then.
    assert!((60..130).contains(&attempts), "{attempts}");
    service
        .replica
        .change("h000", |host| host.provisioning_state = "provisioned".into());
    for wire in &service.wires {
        wire.set(Mode::Pass);
    }
    let back = Instant::now();
    while !matches!(hosts.next().await, Event::News(News::Synced)) {}
    assert!(back.elapsed() <= SOON, "{:?}", back.elapsed());
    let told = hosts.hosts().iter().find(|(key, _)| key.name == "h000").unwrap();
    assert_eq!(**told.1, "provisioned", "what happened meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_as_soon_as_the_service_is_back_however_long_it_was_away() {
    let service = Service::start(2, 1).await;
    service.get().await.unwrap();
    for wire in &service.wires {
        wire.set(Mode::Refuse);
        wire.cut();
    }
    let began = Instant::now();
    let mut calls = 0;
    while began.elapsed() < OUTAGE {
        assert!(service.get().await.is_err());
        calls += 1;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert!(calls >= 100, "{calls}: each ends soon");
    // Just now both were set aside.
    assert!(service.get().await.is_err());
    for wire in &service.wires {
        wire.set(Mode::Pass);
    }
    let back = Instant::now();
    service.get().await.unwrap();
    assert!(back.elapsed() <= SOON, "{:?}", back.elapsed());
}
