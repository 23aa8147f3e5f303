//! Hosts kept for the successor of a machine: who gets them, and when they are anybody's again.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use metal3_api::names;
use metal3_rpc::reason::{Reason, rejections};
use metal3_rpc::v1::claim_host_response::Reason as Chosen;
use metal3_rpc::v1::release_host_request::Reservation;
use metal3_rpc::v1::release_host_response::Phase;
use metal3_rpc::v1::release_reservations_request::Scope;
use metal3_rpc::v1::{ClaimHostRequest, Consumer, HostRef, ReleaseHostRequest, ReleaseReservationsRequest};
use metal3_testkit::{events, wait};

use crate::program::Hosts;
use crate::world::{VERBS, World};

fn cluster(world: &World) -> Consumer {
    Consumer {
        api_version: "cluster.x-k8s.io/v1beta2".into(),
        kind: "Cluster".into(),
        name: "c".into(),
        uid: String::new(),
        ..world.consumer("c")
    }
}

fn claim(world: &World, consumer: &str, key: &str) -> ClaimHostRequest {
    ClaimHostRequest {
        namespace: world.namespace.clone(),
        consumer: Some(world.consumer(consumer)),
        cluster_name: "c".into(),
        reuse_key: key.into(),
        ..Default::default()
    }
}

/// Claims a host and gives it back, reserved; its name.
async fn reserved(world: &World, hosts: &Hosts, key: &str, expires: Option<Timestamp>) -> String {
    let mut hosts = hosts.clone();
    let claimed = hosts
        .claim_host(claim(world, key, ""))
        .await
        .unwrap()
        .into_inner();
    let name = claimed.host.unwrap().r#ref.unwrap().name;
    let reservation = Reservation {
        reuse_key: key.into(),
        cluster: Some(cluster(world)),
        expires: expires.map(|time| prost_types::Timestamp {
            seconds: time.as_second(),
            nanos: time.subsec_nanosecond(),
        }),
    };
    let request = ReleaseHostRequest {
        host: Some(HostRef::named(&world.namespace, &name)),
        consumer: Some(world.consumer(key)),
        cluster_name: "c".into(),
        reservation: Some(reservation),
        ..Default::default()
    };
    for _ in 0..2 {
        let answer = hosts.release_host(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.phase(), Phase::Released);
    }
    name
}

async fn freed(world: &World, hosts: &Hosts, scope: Scope) -> u32 {
    let request = ReleaseReservationsRequest {
        namespace: world.namespace.clone(),
        scope: Some(scope),
    };
    let answer = hosts.clone().release_reservations(request).await.unwrap();
    answer.into_inner().released
}

#[tokio::test]
async fn a_reserved_host_waits_for_its_key() {
    let world = World::start("reserve").await;
    world.available(&["a"]).await;
    let mut hosts = world.caller("caller", &VERBS).await;
    let end = Timestamp::now() + SignedDuration::from_hours(1);
    reserved(&world, &hosts, "md-x", Some(end)).await;
    let host = world.get("a").await;
    assert_eq!(host.labels()[names::LABEL_NODE_REUSE], "md-x");
    assert!(!host.labels().contains_key(names::LABEL_CLUSTER_NAME));
    let until: Timestamp = host.annotations()[names::ANNOTATION_RESERVED_UNTIL]
        .parse()
        .unwrap();
    assert_eq!(until, end);
    let owner = host.spec.consumer_ref.unwrap();
    assert_eq!(
        (owner.kind.as_deref(), owner.name.as_deref()),
        (Some("Cluster"), Some("c"))
    );

    let error = hosts
        .claim_host(claim(&world, "other", "cp-x"))
        .await
        .unwrap_err();
    assert_eq!(rejections(&error).unwrap().rules[0].rule, "reserved", "{error}");
    let answer = hosts
        .claim_host(claim(&world, "next", "md-x"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.reason(), Chosen::Reused);
    let host = world.get("a").await;
    assert!(!host.labels().contains_key(names::LABEL_NODE_REUSE));
    assert!(!host.annotations().contains_key(names::ANNOTATION_RESERVED_UNTIL));
    // Nobody's reservation any more: it is somebody's host.
    assert_eq!(freed(&world, &hosts, Scope::ReuseKey("md-x".into())).await, 0);
    assert_eq!(
        world.get("a").await.spec.consumer_ref.unwrap().name.as_deref(),
        Some("next")
    );
}

#[tokio::test]
async fn reservations_are_freed_by_key_and_by_cluster() {
    let world = World::start("reserve-free").await;
    world.available(&["a", "b", "c"]).await;
    let mut hosts = world.caller("caller", &VERBS).await;
    for key in ["md-x", "md-y", "cp-z"] {
        reserved(&world, &hosts, key, None).await;
    }
    let other = Consumer {
        name: "other".into(),
        ..cluster(&world)
    };
    assert_eq!(freed(&world, &hosts, Scope::Cluster(other)).await, 0);
    assert_eq!(freed(&world, &hosts, Scope::ReuseKey("md-x".into())).await, 1);
    assert_eq!(freed(&world, &hosts, Scope::ReuseKey("md-x".into())).await, 0);
    assert_eq!(freed(&world, &hosts, Scope::Cluster(cluster(&world))).await, 2);
    for name in ["a", "b", "c"] {
        let host = world.get(name).await;
        assert_eq!(host.spec.consumer_ref, None, "{name}");
        assert!(!host.labels().contains_key(names::LABEL_NODE_REUSE), "{name}");
        let event = events::expect(&world.client(), &world.namespace, name, "ReservationEnded").await;
        assert_eq!(event, "no longer reserved by Cluster reserve-free/c");
    }
    hosts.claim_host(claim(&world, "next", "")).await.unwrap();
    let request = ReleaseReservationsRequest {
        namespace: world.namespace.clone(),
        scope: None,
    };
    let error = hosts.release_reservations(request).await.unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::InvalidField), "{error}");
}

#[tokio::test]
async fn a_reservation_ends_by_itself_when_its_time_is_over() {
    let world = World::start("reserve-end").await;
    world.available(&["a"]).await;
    let hosts = world.caller("caller", &VERBS).await;
    reserved(&world, &hosts, "md-x", Some(Timestamp::now())).await;
    wait::until("the host to be anybody's", wait::LONG, async || {
        match world.get("a").await.spec.consumer_ref {
            Some(owner) => Err(format!("{owner:?}")),
            None => Ok(()),
        }
    })
    .await;
    let host = world.get("a").await;
    assert!(!host.labels().contains_key(names::LABEL_NODE_REUSE));
    assert!(!host.annotations().contains_key(names::ANNOTATION_RESERVED_UNTIL));
}

#[tokio::test]
async fn a_reservation_that_says_too_little_reserves_and_releases_nothing() {
    let world = World::start("reserve-bad").await;
    world.available(&["a"]).await;
    let mut hosts = world.caller("caller", &VERBS).await;
    hosts.claim_host(claim(&world, "m", "")).await.unwrap();
    let full = Reservation {
        reuse_key: "md-x".into(),
        cluster: Some(cluster(&world)),
        expires: None,
    };
    let elsewhere = Consumer {
        namespace: "elsewhere".into(),
        ..cluster(&world)
    };
    for reservation in [
        Reservation {
            reuse_key: String::new(),
            ..full.clone()
        },
        Reservation {
            cluster: None,
            ..full.clone()
        },
        Reservation {
            cluster: Some(elsewhere),
            ..full.clone()
        },
        Reservation {
            expires: Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            }),
            ..full
        },
    ] {
        let request = ReleaseHostRequest {
            host: Some(HostRef::named(&world.namespace, "a")),
            consumer: Some(world.consumer("m")),
            reservation: Some(reservation.clone()),
            ..Default::default()
        };
        let error = hosts.release_host(request).await.unwrap_err();
        assert_eq!(Reason::of(&error), Some(Reason::InvalidField), "{reservation:?}");
    }
    let owner = world.get("a").await.spec.consumer_ref.unwrap();
    assert_eq!(owner.name.as_deref(), Some("m"));
}
