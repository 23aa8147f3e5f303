//! An Ironic in trouble: what is tried again, how much is asked of it, and what is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metal3_ironic::client::Client;
use metal3_ironic::{Settings, Target};
use metal3_provisioner::Kind;
use metal3_testkit::wait::{LONG, until};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wiremock::matchers::{basic_auth, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::bed::Bed;

fn reply(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

async fn route(server: &MockServer, verb: &str, route: &str, answer: ResponseTemplate) {
    Mock::given(method(verb))
        .and(path(route))
        .respond_with(answer)
        .mount(server)
        .await;
}

/// An Ironic that is ready, as far as it says.
async fn ready() -> (MockServer, Settings) {
    metal3_testkit::init();
    let server = MockServer::start().await;
    let root = json!({"version": {"id": "v1", "version": "1.115"}});
    route(&server, "GET", "/v1/", reply(&root)).await;
    let drivers = json!({"drivers": [{"name": "redfish"}]});
    route(&server, "GET", "/v1/drivers", reply(&drivers)).await;
    let settings = Settings {
        timeout: Duration::from_secs(5),
        ..Settings::new(format!("{}/v1", server.uri()))
    };
    (server, settings)
}

async fn requests(server: &MockServer, route: &str) -> usize {
    let requests = server.received_requests().await.unwrap();
    requests
        .iter()
        .filter(|request| request.url.path() == route)
        .count()
}

/// Passes connections on and counts them.
async fn gate(server: &MockServer) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
    let (to, count) = (*server.address(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                // Ends with either side.
                tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
            });
        }
    });
    (endpoint, count)
}

#[tokio::test]
async fn reading_is_tried_again_when_ironic_is_away_for_a_moment() {
    for status in [429, 502, 503, 504] {
        let (server, settings) = ready().await;
        Mock::given(method("GET"))
            .and(path("/v1/nodes"))
            .respond_with(ResponseTemplate::new(status))
            .up_to_n_times(2)
            .mount(&server)
            .await;
        route(&server, "GET", "/v1/nodes", reply(&json!({"nodes": []}))).await;
        let client = Client::new(&settings).unwrap();
        client.nodes(None, 10).await.unwrap();
        assert_eq!(client.stats().retries(), 2, "{status}");
    }
}

#[tokio::test]
async fn what_changes_something_is_sent_once() {
    let (server, settings) = ready().await;
    let target = "/v1/nodes/n/states/provision";
    route(&server, "PUT", target, ResponseTemplate::new(503)).await;
    let client = Client::new(&settings).unwrap();
    let refusal = client
        .provision_state("n", &json!({"target": "manage"}))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refusal.status(), 503);
    assert_eq!(requests(&server, target).await, 1);
}

#[tokio::test]
async fn an_ironic_that_fails_and_fails_is_asked_seldom_until_it_is_back() {
    let (server, settings) = ready().await;
    let failing = Mock::given(method("GET"))
        .and(path("/v1/nodes"))
        .respond_with(ResponseTemplate::new(503))
        .mount_as_scoped(&server)
        .await;
    let client = Client::new(&settings).unwrap();
    let mut last = String::new();
    for _ in 0..100 {
        let error = client.nodes(None, 10).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotReady, "{error}");
        last = error.to_string();
    }
    let asked = requests(&server, "/v1/nodes").await;
    assert!(asked < 20, "{asked} requests");
    for word in ["has not answered since 20", "is asked again in", "503"] {
        assert!(last.contains(word), "{last}");
    }
    let state = client.breaker_state();
    assert!(
        state.open && state.since.is_some() && state.failures >= 5,
        "{state:?}"
    );

    drop(failing);
    route(&server, "GET", "/v1/nodes", reply(&json!({"nodes": []}))).await;
    until("Ironic to be asked again", LONG, async || {
        client.nodes(None, 10).await
    })
    .await;
    assert!(!client.breaker_state().open);
}

#[tokio::test]
async fn hosts_do_not_wait_in_line_for_an_ironic_that_hangs() {
    let (server, settings) = ready().await;
    let hanging = reply(&json!({"nodes": []})).set_delay(Duration::from_secs(3600));
    route(&server, "GET", "/v1/nodes", hanging).await;
    let client = Arc::new(
        Client::new(&Settings {
            timeout: Duration::from_millis(200),
            ..settings
        })
        .unwrap(),
    );
    let mut asking = JoinSet::new();
    for _ in 0..500 {
        let client = Arc::clone(&client);
        asking.spawn(async move { client.nodes(None, 10).await.unwrap_err() });
    }
    for error in asking.join_all().await {
        assert_eq!(error.kind(), Kind::NotReady, "{error}");
    }
    // Those under way when it was given up, and one attempt in a while.
    let asked = requests(&server, "/v1/nodes").await;
    assert!(asked < 100, "{asked} requests");
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn connections_are_few_and_used_again() {
    let (server, settings) = ready().await;
    let slow = reply(&json!({"nodes": []})).set_delay(Duration::from_millis(50));
    route(&server, "GET", "/v1/nodes", slow).await;
    let (endpoint, connections) = gate(&server).await;
    let client = Arc::new(Client::new(&Settings { endpoint, ..settings }).unwrap());
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let client = Arc::clone(&client);
        asking.spawn(async move { client.nodes(None, 10).await.map(drop) });
    }
    for answer in asking.join_all().await {
        answer.unwrap();
    }
    let connections = connections.load(Ordering::SeqCst);
    assert!((2..=33).contains(&connections), "{connections} connections");
    assert_eq!(client.stats().latencies()["nodes"].count(), 200);
}

#[tokio::test]
async fn the_document_at_the_root_leads_to_the_api() {
    metal3_testkit::init();
    let server = MockServer::start().await;
    let old = json!({"id": "v0", "version": "0.1"});
    let root = json!({"versions": [old, {"id": "v1", "version": "1.100", "min_version": "1.1"}]});
    // As servers with several versions do.
    route(
        &server,
        "GET",
        "/",
        ResponseTemplate::new(300).set_body_json(&root),
    )
    .await;
    for resource in ["/v1/drivers", "/v1/nodes"] {
        let body = json!({"drivers": [{"name": "redfish"}], "nodes": []});
        Mock::given(method("GET"))
            .and(path(resource))
            .and(header("X-OpenStack-Ironic-API-Version", "1.95"))
            .respond_with(reply(&body))
            .mount(&server)
            .await;
    }
    let client = Client::new(&Settings::new(server.uri())).unwrap();
    assert_eq!(client.ready().await.unwrap(), 95);
    client.nodes(None, 10).await.unwrap();
}

#[tokio::test]
async fn a_conductor_that_went_is_noticed_before_something_is_changed() {
    let bed = Bed::sim().await;
    let client = Client::new(&Settings {
        trust: Duration::ZERO,
        ..bed.settings()
    })
    .unwrap();
    client.ready().await.unwrap();
    bed.as_sim().set_fault("dead", "no-conductor".parse().unwrap());
    let body = json!({"driver": "redfish", "name": "ns~a"});
    let error = client.create_node(&body).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotReady);
    assert!(error.to_string().contains("no drivers loaded"), "{error}");
    assert_eq!(bed.as_sim().nodes(), 0);
}

#[tokio::test]
async fn a_target_is_followed_and_connections_are_kept_while_it_stays() {
    let (server, settings) = ready().await;
    Mock::given(method("GET"))
        .and(path("/v1/nodes"))
        .and(basic_auth("admin", "first"))
        .respond_with(reply(&json!({"nodes": []})))
        .mount(&server)
        .await;
    let (endpoint, connections) = gate(&server).await;
    let at = |password: &str| Target::At {
        endpoint: endpoint.clone(),
        login: Some(("admin".to_owned(), password.to_owned().into())),
        ca: None,
    };
    let (tell, target) = watch::channel(Target::NotReady("it has no database yet".to_owned()));
    let client = Client::new(&Settings {
        endpoint: String::new(),
        target: Some(target),
        ..settings
    })
    .unwrap();
    let error = client.nodes(None, 10).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::NotReady, "it has no database yet")
    );

    tell.send_replace(at("first"));
    client.nodes(None, 10).await.unwrap();
    let before = connections.load(Ordering::SeqCst);
    for state in [Target::NotReady("it is upgraded".to_owned()), at("first")] {
        tell.send_replace(state);
        client.nodes(None, 10).await.ok();
    }
    client.nodes(None, 10).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), before, "nothing changed");

    tell.send_replace(at("second"));
    client.nodes(None, 10).await.unwrap_err();
    assert!(connections.load(Ordering::SeqCst) > before);
    let sent = server.received_requests().await.unwrap();
    let last = sent.last().unwrap().headers["authorization"].to_str().unwrap();
    assert_eq!(last, "Basic YWRtaW46c2Vjb25k");
}
