//! Lists that change while they are read.

use metal3_ironic::Settings;
use metal3_ironic::client::Client;
use metal3_ironic::mirror::Mirror;
use metal3_testkit::wait::{LONG, until};
use reqwest::Method;
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::bed::Bed;
use crate::host::Adapter;

fn page(server: &MockServer, names: &[&str], more: bool) -> Value {
    let nodes: Vec<Value> = names
        .iter()
        .map(|name| json!({"uuid": name, "name": format!("ns~{name}"), "provision_state": "manageable"}))
        .collect();
    let mut page = json!({"nodes": nodes});
    if more {
        page["next"] = json!(format!("{}/v1/nodes?marker=x", server.uri()));
    }
    page
}

fn reply(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

/// An Ironic whose node list begins with this page.
async fn ironic(first: &[&str], more: bool) -> (MockServer, Client) {
    metal3_testkit::init();
    let server = MockServer::start().await;
    let root = json!({"version": {"id": "v1", "version": "1.115"}});
    for (route, body) in [
        ("/v1/", root),
        ("/v1/drivers", json!({"drivers": [{"name": "redfish"}]})),
    ] {
        Mock::given(method("GET"))
            .and(path(route))
            .respond_with(reply(&body))
            .mount(&server)
            .await;
    }
    let body = page(&server, first, more);
    Mock::given(method("GET"))
        .and(path("/v1/nodes"))
        .and(query_param_is_missing("marker"))
        .respond_with(reply(&body))
        .mount(&server)
        .await;
    let client = Client::new(&Settings::new(format!("{}/v1", server.uri()))).unwrap();
    (server, client)
}

async fn after(server: &MockServer, marker: &str, answer: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path("/v1/nodes"))
        .and(query_param("marker", marker))
        .respond_with(answer)
        .mount(server)
        .await;
}

fn gone() -> ResponseTemplate {
    let fault = json!({"faultstring": "Node could not be found."}).to_string();
    ResponseTemplate::new(404).set_body_json(json!({"error_message": fault}))
}

#[tokio::test]
async fn a_page_after_a_node_that_went_begins_after_the_one_before() {
    let (server, client) = ironic(&["a", "b", "c", "d"], true).await;
    after(&server, "d", gone()).await;
    after(&server, "c", gone()).await;
    after(&server, "b", reply(&page(&server, &["e"], false))).await;
    let (mirror, _changes) = Mirror::new();
    mirror.read(&client).await.unwrap();
    assert_eq!(mirror.len(), 5);
    assert!(mirror.node("e").is_some() && mirror.node("d").is_some());
}

#[tokio::test]
async fn a_reading_that_fails_half_way_loses_nobody() {
    let (server, client) = ironic(&["a", "b"], false).await;
    let (mirror, mut changes) = Mirror::new();
    mirror.read(&client).await.unwrap();
    server.reset().await;
    // Another database under the same address, and then none.
    let (server, client) = ironic(&["x"], true).await;
    after(&server, "x", ResponseTemplate::new(500)).await;
    mirror.read(&client).await.unwrap_err();
    let (server, client) = ironic(&["x"], true).await;
    after(&server, "x", gone()).await;
    mirror.read(&client).await.unwrap_err();
    assert_eq!(mirror.len(), 2);
    assert!(mirror.node("a").is_some() && changes.try_recv().is_err());
}

#[tokio::test]
async fn a_list_without_end_is_left() {
    let (server, client) = ironic(&["a", "b"], true).await;
    after(&server, "b", reply(&page(&server, &["b"], true))).await;
    let (mirror, _changes) = Mirror::new();
    mirror.read(&client).await.unwrap();
    assert_eq!(mirror.len(), 2);
}

#[tokio::test]
async fn an_ironic_that_is_away_for_a_while_loses_nobody() {
    let bed = Bed::sim().await;
    let client = Client::new(&bed.settings()).unwrap();
    let node = client
        .create_node(&json!({"driver": "redfish", "name": "ns~a"}))
        .await
        .unwrap()
        .unwrap();
    let mut adapter = Adapter::new(bed.settings());
    until("the first reading", LONG, async || {
        (adapter.ironic.nodes().len() == 1).then_some(())
    })
    .await;
    bed.as_sim().set_fault("away", "api-unavailable".parse().unwrap());
    until("several failed readings", LONG, async || {
        adapter.ironic.client().breaker_state().open.then_some(())
    })
    .await;
    assert!(adapter.ironic.nodes().node(&node.uuid).is_some());
    bed.as_sim().clear_faults();
    let maintenance = format!("nodes/{}/maintenance", node.uuid);
    bed.direct(Method::PUT, &maintenance, &json!({"reason": "work"}))
        .await;
    let key = until("news", LONG, async || adapter.changes.try_recv()).await;
    assert_eq!(key.name, "a");
}
