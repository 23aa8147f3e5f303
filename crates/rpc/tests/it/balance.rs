//! Several replicas behind one name: all are used, and those that fail are left.

use std::sync::Arc;

use metal3_rpc::client::{Config, HostClient};
use metal3_testkit::wait;
use metal3_testkit::wire::Mode;
use tonic::Code;

use crate::replicas::{Names, SHORT, Service, get};
use crate::server::Replica;

#[tokio::test]
async fn calls_are_spread_evenly_over_the_replicas_of_a_name() {
    let service = Service::start(3, 1).await;
    for _ in 0..30 {
        service.get().await.unwrap();
    }
    assert_eq!(service.replica.seen(), [10, 10, 10]);
    assert_eq!(service.notes.told().replicas, (3, 3));
    let connections: Vec<_> = service.wires.iter().map(|wire| wire.connections()).collect();
    assert_eq!(connections, [1, 1, 1], "each connection is used again");
}

#[tokio::test]
async fn a_replica_that_died_costs_no_call_and_is_used_again_when_it_is_back() {
    let service = Service::start(2, 1).await;
    for _ in 0..4 {
        service.get().await.unwrap();
    }
    service.wires[0].set(Mode::Refuse);
    service.wires[0].cut();
    let [before, _] = service.replica.seen();
    for _ in 0..20 {
        service.get().await.unwrap();
    }
    assert_eq!(service.replica.seen::<2>()[0], before);
    let told = service.notes.told();
    assert_eq!(told.replicas, (2, 1));
    assert!(
        !told.retries.is_empty() && told.retries.iter().all(|cause| *cause == "unreachable"),
        "{told:?}"
    );
    assert!(told.codes.iter().all(|code| *code == Code::Ok), "{told:?}");

    service.wires[0].set(Mode::Pass);
    wait::until("the replica to be used again", wait::LONG, async || {
        service.get().await.unwrap();
        let [now, _] = service.replica.seen();
        (now > before).then_some(())
    })
    .await;
    assert_eq!(service.notes.told().replicas, (2, 2));
}

#[tokio::test]
async fn a_replica_that_swallows_everything_costs_one_attempt() {
    let service = Service::patient(2, 1, SHORT).await;
    for _ in 0..4 {
        service.get().await.unwrap();
    }
    service.wires[0].set(Mode::Hole);
    let [before, _] = service.replica.seen();
    for _ in 0..20 {
        service.get().await.unwrap();
    }
    assert_eq!(service.replica.seen::<2>()[0], before);
    assert_eq!(service.notes.told().replicas, (2, 1));
    service.wires[0].set(Mode::Pass);
    wait::until("the replica to be used again", wait::LONG, async || {
        service.get().await.unwrap();
        (service.notes.told().replicas == (2, 2)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_new_replica_is_used_and_one_that_is_no_longer_listed_is_left() {
    let mut service = Service::patient(1, 1, SHORT).await;
    service.get().await.unwrap();
    service.add().await;
    wait::until("the new replica to be used", wait::LONG, async || {
        service.get().await.unwrap();
        let [_, new] = service.replica.seen();
        (new > 0).then_some(())
    })
    .await;
    service.unlist(0);
    wait::until("the old replica to be left", wait::LONG, async || {
        service.get().await.unwrap();
        let told = service.notes.told();
        (told.replicas == (1, 1)).then_some(())
    })
    .await;
    let [before, _] = service.replica.seen();
    for _ in 0..5 {
        service.get().await.unwrap();
    }
    assert_eq!(service.replica.seen::<2>()[0], before);
}

#[tokio::test]
async fn all_replicas_moved_and_the_first_call_after_it_finds_them() {
    // The addresses are not old yet; it is the failures that make them so.
    let mut service = Service::start(2, 1).await;
    service.get().await.unwrap();
    for wire in &service.wires {
        wire.set(Mode::Refuse);
        wire.cut();
    }
    service.add().await;
    service.unlist(0);
    service.unlist(1);
    wait::until("an answer of the new replica", wait::LONG, async || {
        service.get().await
    })
    .await;
    assert_eq!(service.notes.told().replicas, (1, 1));
}

#[tokio::test]
async fn an_address_needs_no_name_and_a_real_name_is_resolved_by_the_system() {
    let port = Replica::new(1).serve(None).await.port();
    for host in ["127.0.0.1", "localhost"] {
        let client = HostClient::new(&Config::new(format!("http://{host}:{port}"))).unwrap();
        get(&client).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_without_addresses_is_unavailable_and_says_so() {
    let names = Arc::<Names>::default();
    let client =
        HostClient::with_resolver(&Config::new("http://hosts.test:1"), Arc::clone(&names) as _).unwrap();
    let status = get(&client).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("hosts.test"), "{status}");
    let address = Replica::new(1).serve(None).await;
    names.0.lock().unwrap().push(address);
    get(&client).await.unwrap();
}
