//! What a caller can take of the HostService: calls, watches, bytes and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metal3_rpc::reason::{Reason, retry_after};
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{ClaimHostRequest, GetHostRequest, HostRef, WatchHostsRequest, WatchHostsResponse};
use metal3_testkit::gate::{Fate, Gate, Keeper, Passing};
use metal3_testkit::{ControlPlane, Rules, wait};
use prost::Message as _;
use reqwest::Certificate;
use tonic::{Code, Status, Streaming};

use crate::ironic::Ironic;
use crate::program::{Hosts, Launch};
use crate::world::{World, bmo_account};

async fn look(hosts: &Hosts, world: &World) -> Option<Reason> {
    let request = GetHostRequest {
        host: Some(HostRef::named(&*world.namespace, "missing")),
    };
    Reason::of(&hosts.clone().get_host(request).await.unwrap_err())
}

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_come_back_and_others_are_served() {
    let world = World::start_with("rate", &["--grpc-rate-limit=1", "--grpc-rate-burst=5"]).await;
    let (hosts, other) = (
        world.caller("caller", &["get"]).await,
        world.caller("other", &["get"]).await,
    );
    let request = GetHostRequest {
        host: Some(HostRef::named(&*world.namespace, "missing")),
    };
    let calls = (0..20).map(|_| {
        let (mut hosts, request) = (hosts.clone(), request.clone());
        async move { hosts.get_host(request).await.unwrap_err() }
    });
    let answers = futures::future::join_all(calls).await;
    let (served, refused): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|status| Reason::of(status) == Some(Reason::HostNotFound));
    assert!(served.len() >= 5, "the burst was not granted: {}", served.len());
    assert!(!refused.is_empty(), "nothing was refused");
    for status in refused {
        assert_eq!(Reason::of(status), Some(Reason::RateLimited), "{status}");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(
            retry_after(status).is_some_and(|wait| !wait.is_zero()),
            "{status}"
        );
    }
    assert_eq!(look(&other, &world).await, Some(Reason::HostNotFound));
    wait::until("calls to be served again", wait::LONG, async || {
        (look(&hosts, &world).await == Some(Reason::HostNotFound)).then_some(())
    })
    .await;
}

async fn watch(hosts: &Hosts, world: &World) -> Result<Streaming<WatchHostsResponse>, Status> {
    let request = WatchHostsRequest {
        namespaces: vec![world.namespace.clone()],
        ..Default::default()
    };
    let mut stream = hosts.clone().watch_hosts(request).await?.into_inner();
    while stream.message().await?.unwrap().r#type() != Type::Synced {}
    Ok(stream)
}

#[tokio::test]
async fn a_caller_has_so_many_watches_and_one_that_ended_makes_room() {
    let world = World::start_with("watches", &["--grpc-watch-limit=2"]).await;
    let (hosts, other) = (
        world.caller("caller", &["watch"]).await,
        world.caller("other", &["watch"]).await,
    );
    let open = [
        watch(&hosts, &world).await.unwrap(),
        watch(&hosts, &world).await.unwrap(),
    ];
    let status = watch(&hosts, &world).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::TooManyWatches), "{status}");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(retry_after(&status).is_some());
    watch(&other, &world).await.unwrap();
    drop(open);
    wait::until("room for a watch", wait::LONG, async || {
        watch(&hosts, &world).await.map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_next_is_served() {
    let world = World::start("too-large").await;
    let mut hosts = world.caller("caller", &["get"]).await;
    let request = GetHostRequest {
        host: Some(HostRef::named(&*world.namespace, "a".repeat(2 * 1024 * 1024))),
    };
    let status = hosts.get_host(request).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::MessageTooLarge), "{status}");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(look(&hosts, &world).await, Some(Reason::HostNotFound));
}

/// Swallows what would change hosts, once it is told to.
#[derive(Default)]
struct Swallow(AtomicBool);

impl Keeper for Swallow {
    fn judge(&self, passing: &Passing) -> Fate {
        let host = passing.writes() && passing.target.contains("/baremetalhosts/");
        if host && self.0.load(Ordering::SeqCst) {
            Fate::Vanish
        } else {
            Fate::Pass
        }
    }

    fn strike(&self, _: &Passing) {}
}

/// Without a client of gRPC, which would give up by itself.
#[tokio::test]
async fn a_call_that_takes_longer_than_its_caller_gives_it_says_so() {
    let (plane, ironic) = (ControlPlane::shared().await, Ironic::start().await);
    let account = bmo_account(plane, "deadline").await;
    let swallow = Arc::new(Swallow::default());
    let ca = std::fs::read_to_string(plane.ca_file()).unwrap();
    let gate = Gate::open(
        plane.address().unwrap(),
        Some(&ca),
        Arc::clone(&swallow) as Arc<dyn Keeper>,
    )
    .await
    .unwrap();
    let endpoint = ironic.endpoint();
    let launch = Launch {
        kubeconfig: &account.kubeconfig_by(gate.url()).unwrap(),
        watch: "deadline",
        home: "deadline",
        ironic: &endpoint,
        leader_election: false,
    };
    let bmo = launch.start();
    bmo.ready().await;
    let world = World {
        plane,
        namespace: "deadline".into(),
        account,
        ironic,
        bmo,
    };
    world.available(&["a"]).await;
    let rules = Rules::default().inside("host.metal3.io", "hosts", &["claim"]);
    let caller = plane.account("deadline", "caller", &rules).await.unwrap();
    swallow.0.store(true, Ordering::SeqCst);
    let claim = ClaimHostRequest {
        namespace: "deadline".into(),
        consumer: Some(world.consumer("machine")),
        ..Default::default()
    }
    .encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(claim.len()).unwrap().to_be_bytes());
    framed.extend(claim);
    let http = reqwest::Client::builder()
        .tls_certs_only([Certificate::from_pem(world.bmo.certificates.ca.as_bytes()).unwrap()])
        .build()
        .unwrap();
    let url = format!(
        "https://{}/metal3.host.v1.HostService/ClaimHost",
        world.bmo.address()
    );
    let answer = http
        .post(url)
        .bearer_auth(&caller.token)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "500m")
        .body(framed)
        .send()
        .await
        .unwrap();
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(Reason::of(&status), Some(Reason::TookTooLong), "{status}");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(
        status
            .message()
            .starts_with("ClaimHost was not done within 0.5 s"),
        "{status}"
    );
    wait::until("the line of the change", wait::LONG, async || {
        let log = world.bmo.process.log();
        log.lines()
            .any(|line| line.contains("change asked for") && line.contains("Cancelled"))
            .then_some(())
    })
    .await;
}
