//! Two replicas behind bad wires, and both killed now and then: a claim is a claim, whoever heard of it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use kube::Api;
use metal3_api::metal3::host::BareMetalHost;
use metal3_rpc::AUTHORIZATION_GROUP;
use metal3_rpc::client::{Config, HostClient, Patience, Resolve};
use metal3_rpc::v1::claim_host_response::Reason as Chosen;
use metal3_rpc::v1::release_host_response::Phase;
use metal3_rpc::v1::{ClaimHostRequest, Consumer, HostRef, ReleaseHostRequest};
use metal3_testkit::wire::{Mode, Wire};
use metal3_testkit::{ControlPlane, Rules, scratch, wait};

use crate::ironic::Ironic;
use crate::program::{Bmo, Launch};
use crate::world::{bmo_account, new_host, reaches};

const NAMESPACE: &str = "partition";
const HOSTS: usize = 12;
const CONSUMERS: usize = 9;

/// The ends of the wires, as DNS would answer them.
#[derive(Debug)]
struct Ends(Vec<SocketAddr>);

impl Resolve for Ends {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

fn consumer(number: usize) -> Consumer {
    Consumer {
        api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
        kind: "Metal3Machine".into(),
        namespace: NAMESPACE.into(),
        name: format!("m{number}"),
        uid: format!("uid-{number}"),
    }
}

fn claim(number: usize) -> ClaimHostRequest {
    ClaimHostRequest {
        namespace: NAMESPACE.into(),
        consumer: Some(consumer(number)),
        ..ClaimHostRequest::default()
    }
}

/// Consumer by host, as Kubernetes has it.
async fn consumers(hosts: &Api<BareMetalHost>) -> BTreeMap<String, String> {
    let list = hosts.list(&Default::default()).await.unwrap();
    let held = list.into_iter().filter_map(|host| {
        let consumer = host.spec.consumer_ref?.name?;
        Some((host.metadata.name?, consumer))
    });
    held.collect()
}

/// All harms that a network does, and a death, at one replica after the other.
async fn harm(bmos: &[Bmo], wires: &[Wire]) {
    for round in 0..4 {
        let (bmo, wire) = (&bmos[round % 2], &wires[round % 2]);
        for mode in [Mode::Mute, Mode::Hole, Mode::Slow(Duration::from_millis(50))] {
            let before = wire.connections();
            wire.set(mode);
            // Until somebody tries anew, or nobody needs to.
            let felt = wait::try_until("a connection", Duration::from_millis(700), async || {
                (wire.connections() > before).then_some(())
            });
            felt.await.ok();
            wire.cut();
        }
        wire.set(Mode::Refuse);
        bmo.process.restart().unwrap();
        bmo.ready().await;
        wire.set(Mode::Pass);
    }
}

#[tokio::test]
async fn each_consumer_gets_and_gives_back_one_host_whatever_the_network_does() {
    let plane = ControlPlane::shared().await;
    let ironic = Ironic::start().await;
    let account = bmo_account(plane, NAMESPACE).await;
    let endpoint = ironic.endpoint();
    let bmos = [(); 2].map(|()| {
        let launch = Launch {
            kubeconfig: &account.kubeconfig,
            watch: NAMESPACE,
            home: NAMESPACE,
            ironic: &endpoint,
            leader_election: true,
        };
        launch.start()
    });
    let mut wires = Vec::new();
    for bmo in &bmos {
        bmo.ready().await;
        let server = bmo.address().replace("localhost", "127.0.0.1");
        wires.push(Wire::open(server.parse().unwrap()).await.unwrap());
    }
    let hosts: Api<BareMetalHost> = Api::namespaced(plane.client(), NAMESPACE);
    let names: Vec<String> = (0..HOSTS).map(|number| format!("h{number:02}")).collect();
    for name in &names {
        new_host(NAMESPACE, name)
            .create(&plane.client(), NAMESPACE)
            .await
            .unwrap();
    }
    for name in &names {
        reaches(&hosts, name, "available").await;
    }
    let client = client(plane, &bmos, &wires).await;

    let claims = join_all((0..CONSUMERS).map(|number| {
        let client = &client;
        async move {
            wait::until("a host", wait::LONG, async || {
                client.claim_host(claim(number)).await
            })
            .await
        }
    }));
    let (claimed, ()) = tokio::join!(claims, harm(&bmos, &wires));
    let mut given = BTreeMap::new();
    for (number, answer) in claimed.into_iter().enumerate() {
        let host = answer.host.unwrap().r#ref.unwrap();
        let again = client.claim_host(claim(number)).await.unwrap();
        assert_eq!(again.reason(), Chosen::Existing);
        assert_eq!(again.host.unwrap().r#ref.unwrap().name, host.name);
        given.insert(host.name, format!("m{number}"));
    }
    assert_eq!(given.len(), CONSUMERS, "{given:?}");
    assert_eq!(consumers(&hosts).await, given);

    let releases = join_all(given.iter().map(|(host, consumer)| {
        let client = &client;
        async move { given_back(client, host, consumer).await }
    }));
    tokio::join!(releases, harm(&bmos, &wires));
    assert_eq!(consumers(&hosts).await, BTreeMap::new());
    let denied = plane.denied_to(&account.user()).unwrap();
    assert!(
        denied.is_empty(),
        "rules are missing in charts/metal3-bmo/rbac: {denied:#?}"
    );
}

async fn given_back(client: &HostClient, host: &str, consumer_name: &str) {
    let number = consumer_name.trim_start_matches('m').parse().unwrap();
    let request = ReleaseHostRequest {
        host: Some(HostRef::named(NAMESPACE, host)),
        consumer: Some(consumer(number)),
        ..ReleaseHostRequest::default()
    };
    wait::until("the host to be given back", wait::LONG, async || {
        match client.release_host(request.clone()).await {
            Ok(answer) if answer.phase() == Phase::Released => Ok(()),
            Ok(answer) => Err(format!("{:?}", answer.phase())),
            Err(status) => Err(status.to_string()),
        }
    })
    .await;
}

/// A caller with the rights of capm3 that finds both replicas by one name and trusts both.
async fn client(plane: &ControlPlane, bmos: &[Bmo], wires: &[Wire]) -> HostClient {
    let rules = Rules::default().inside(AUTHORIZATION_GROUP, "hosts", &["claim", "release"]);
    let account = plane.account(NAMESPACE, "caller", &rules).await.unwrap();
    let folder = scratch::dir("caller").unwrap();
    let ca: String = bmos.iter().map(|bmo| bmo.certificates.ca.as_str()).collect();
    let config = Config {
        server_name: Some("localhost".into()),
        ca_file: Some(scratch::file(&folder, "ca.crt", ca).unwrap()),
        token_file: Some(scratch::file(&folder, "token", &account.token).unwrap()),
        patience: Patience {
            call: Duration::from_secs(6),
            connect: Duration::from_secs(1),
            keepalive: Duration::from_millis(500),
            keepalive_answer: Duration::from_secs(1),
            ..Patience::default()
        },
        ..Config::new("https://hosts.test:8443")
    };
    let ends = Ends(wires.iter().map(Wire::address).collect());
    HostClient::with_resolver(&config, Arc::new(ends)).unwrap()
}
