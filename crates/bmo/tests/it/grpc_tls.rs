//! TLS of the HostService: certificates of clients, and renewal of the server's.

use std::path::PathBuf;

use metal3_rpc::reason::Reason;
use metal3_rpc::v1::host_service_client::HostServiceClient;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{GetHostRequest, HostRef, WatchHostsRequest};
use metal3_testkit::certs::{Authority, Pair};
use metal3_testkit::{Rules, scratch, wait};
use serde_json::json;
use tonic::Status;
use tonic::transport::{Channel, ClientTlsConfig, Identity};

use crate::program::{Bearer, Hosts};
use crate::world::World;

/// A caller with this token on a connection of its own, and what it is told of a host that is not there.
async fn asked(channel: Channel, token: Option<&str>, namespace: &str) -> Status {
    let request = GetHostRequest {
        host: Some(HostRef::named(namespace, "missing")),
    };
    let mut hosts: Hosts = HostServiceClient::with_interceptor(channel, Bearer::new(token));
    hosts.get_host(request).await.unwrap_err()
}

fn chain(status: &Status) -> String {
    let mut text = format!("{status}");
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

async fn token(world: &World) -> String {
    let rules = Rules::default().inside("host.metal3.io", "hosts", &["get", "watch"]);
    let account = world.plane.account(&world.namespace, "caller", &rules).await;
    account.unwrap().token
}

/// A world that wants certificates of this authority.
async fn mutual(name: &str, authority: &Authority) -> (World, PathBuf) {
    let dir = scratch::dir("client-ca").unwrap();
    let file = scratch::file(&dir, "ca.crt", &authority.certificate).unwrap();
    let flag = format!("--grpc-client-ca-file={}", file.display());
    (World::start_with(name, &[&flag]).await, file)
}

fn channel(world: &World, pair: Option<&Pair>) -> Channel {
    let tls = ClientTlsConfig::new().domain_name("localhost");
    let tls = match pair {
        Some(pair) => tls.identity(Identity::from_pem(&pair.certificate, &pair.key)),
        None => tls,
    };
    world.bmo.channel_with(tls, &world.bmo.certificates.ca)
}

#[tokio::test]
async fn with_a_ca_of_clients_only_certificates_of_it_get_through_and_a_token_is_needed_all_the_same() {
    let (right, other) = (
        Authority::new("clients").unwrap(),
        Authority::new("clients").unwrap(),
    );
    let (world, file) = mutual("mtls", &right).await;
    let (token, namespace) = (token(&world).await, world.namespace.as_str());
    let [mine, foreign] = [&right, &other].map(|authority| authority.user("capm3", "test").unwrap());
    let status = asked(channel(&world, Some(&mine)), Some(&token), namespace).await;
    assert_eq!(Reason::of(&status), Some(Reason::HostNotFound), "{status}");
    let status = asked(channel(&world, Some(&mine)), None, namespace).await;
    assert_eq!(Reason::of(&status), Some(Reason::TokenInvalid), "{status}");
    // The connection ends; whether the alert is read before that is a matter of time.
    for pair in [None, Some(&foreign)] {
        let status = asked(channel(&world, pair), Some(&token), namespace).await;
        assert_eq!(Reason::of(&status), None, "{status}");
        let cause = std::error::Error::source(&status);
        let transport = cause.is_some_and(|cause| cause.is::<tonic::transport::Error>());
        assert!(transport, "{status}");
    }
    // A renewed file counts from the next connection on, those that are there stay.
    let mut before: Hosts =
        HostServiceClient::with_interceptor(channel(&world, Some(&mine)), Bearer::new(Some(&token)));
    let look = || GetHostRequest {
        host: Some(HostRef::named(namespace, "missing")),
    };
    before.get_host(look()).await.unwrap_err();
    std::fs::write(&file, &other.certificate).unwrap();
    let status = asked(channel(&world, Some(&foreign)), Some(&token), namespace).await;
    assert_eq!(Reason::of(&status), Some(Reason::HostNotFound), "{status}");
    let status = asked(channel(&world, Some(&mine)), Some(&token), namespace).await;
    assert_eq!(Reason::of(&status), None, "{status}");
    let status = before.get_host(look()).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::HostNotFound), "{status}");
}

#[tokio::test]
async fn a_stream_survives_the_renewal_of_the_certificate_and_who_comes_later_gets_the_new_one() {
    let world = World::start("tls-renewal").await;
    let (token, namespace) = (token(&world).await, world.namespace.as_str());
    let mut hosts = world.bmo.hosts(Some(&token));
    let request = WatchHostsRequest {
        namespaces: vec![namespace.to_owned()],
        ..Default::default()
    };
    let mut stream = hosts.watch_hosts(request).await.unwrap().into_inner();
    while stream.message().await.unwrap().unwrap().r#type() != Type::Synced {}
    let renewed = Authority::new("renewed").unwrap();
    let pair = renewed.server(&["localhost"]).unwrap();
    let dir = &world.bmo.certificates.dir;
    scratch::file(dir, "tls.crt", &pair.certificate).unwrap();
    scratch::file(dir, "tls.key", &pair.key).unwrap();
    wait::until("the new certificate", wait::LONG, async || {
        let channel = world.bmo.channel_by(&renewed.certificate, "localhost");
        let status = asked(channel, Some(&token), namespace).await;
        if Reason::of(&status) == Some(Reason::HostNotFound) {
            Ok(())
        } else {
            Err(chain(&status))
        }
    })
    .await;
    let status = asked(world.bmo.channel(), Some(&token), namespace).await;
    assert_eq!(
        Reason::of(&status),
        None,
        "the old certificate is still shown: {status}"
    );
    world.create(&world.host("a")).await;
    world
        .patch("a", json!({"metadata": {"labels": {"rack": "7"}}}))
        .await;
    loop {
        let message = tokio::time::timeout(wait::LONG, stream.message())
            .await
            .expect("nothing came");
        let host = message.unwrap().expect("the stream ended").host;
        if host.is_some_and(|host| host.labels.contains_key("rack")) {
            break;
        }
    }
}
