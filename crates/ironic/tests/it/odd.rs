//! Answers that no Ironic gives, but proxies, firewalls and crashes do.

use std::time::Duration;

use metal3_ironic::client::Client;
use metal3_ironic::{IronicProvisioner, Settings};
use metal3_provisioner::{Error, Kind};
use serde_json::json;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn json_reply(body: &serde_json::Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

async fn server(root: ResponseTemplate) -> (MockServer, Client) {
    metal3_testkit::init();
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/v1/"))
        .respond_with(root)
        .mount(&server)
        .await;
    let settings = Settings {
        timeout: Duration::from_millis(500),
        ..Settings::new(format!("{}/v1", server.uri()))
    };
    let client = Client::new(&settings).unwrap();
    (server, client)
}

/// An Ironic that answers well until asked for nodes.
async fn with_nodes(nodes: ResponseTemplate) -> (MockServer, Client) {
    let root = json_reply(&json!({"version": {"id": "v1", "version": "1.115", "min_version": "1.1"}}));
    let (server, client) = server(root).await;
    for (route, answer) in [
        (
            "/v1/drivers",
            json_reply(&json!({"drivers": [{"name": "redfish"}]})),
        ),
        ("/v1/nodes", nodes),
    ] {
        Mock::given(method("GET"))
            .and(path(route))
            .respond_with(answer)
            .mount(&server)
            .await;
    }
    (server, client)
}

fn html(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw("<html><h1>It works!</h1></html>", "text/html")
}

async fn list_error(answer: ResponseTemplate) -> Error {
    let (_server, client) = with_nodes(answer).await;
    client.nodes(None, 1000).await.unwrap_err()
}

#[tokio::test]
async fn a_page_of_html_is_no_answer() {
    let error = list_error(html(200)).await;
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.to_string().contains("not JSON"), "{error}");
    assert!(error.to_string().contains("proxy"), "{error}");
}

#[tokio::test]
async fn an_error_page_of_a_proxy_is_retried() {
    for (status, kind) in [
        (500, Kind::Transient),
        (502, Kind::NotReady),
        (503, Kind::NotReady),
        (504, Kind::NotReady),
        (429, Kind::Transient),
    ] {
        let error = list_error(html(status)).await;
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert!(!error.to_string().contains("<html>"), "{error}");
    }
}

#[tokio::test]
async fn a_truncated_answer_is_retried_and_does_not_lose_hosts() {
    let text = r#"{"nodes": [{"uuid": "a", "name": "ns~a", "provision_sta"#;
    let error = list_error(ResponseTemplate::new(200).set_body_raw(text, "application/json")).await;
    assert_eq!(error.kind(), Kind::Transient, "{error}");
}

#[tokio::test]
async fn an_answer_of_another_shape_is_a_bug_and_named() {
    let error = list_error(json_reply(&json!({"nodes": 5}))).await;
    assert_eq!(error.kind(), Kind::Bug);
    assert!(error.to_string().contains("the list of nodes"), "{error}");
}

#[tokio::test]
async fn an_ironic_that_hangs_is_left_after_the_timeout() {
    let error = list_error(json_reply(&json!({"nodes": []})).set_delay(Duration::from_secs(60))).await;
    assert_eq!(error.kind(), Kind::NotReady);
    assert!(error.to_string().contains("did not answer in time"), "{error}");
}

#[tokio::test]
async fn unknown_fields_and_nulls_are_read_over() {
    let node =
        json!({"uuid": "a", "name": null, "provision_state": null, "last_error": null, "surprise": {"x": 1}});
    let (_server, client) = with_nodes(json_reply(&json!({"nodes": [node], "links": []}))).await;
    let (nodes, next) = client.nodes(None, 1000).await.unwrap();
    assert_eq!((nodes[0].provision_state.as_str(), next), ("available", None));
}

#[tokio::test]
async fn what_is_no_ironic_is_not_ready() {
    for root in [
        html(200),
        html(404),
        json_reply(&json!({})),
        json_reply(&json!({"version": {"version": "2.5"}})),
        json_reply(&json!({"version": {"version": "1.88"}})),
        ResponseTemplate::new(503),
    ] {
        let (_server, client) = server(root).await;
        let error = client.ready().await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotReady, "{error}");
    }
}

#[tokio::test]
async fn a_version_that_is_refused_after_all_is_told() {
    let root = json_reply(&json!({"version": {"version": "1.115"}}));
    let (server, client) = server(root).await;
    let fault =
        json!({"code": 406, "title": "Not Acceptable", "description": "range is [1.1, 1.80]"}).to_string();
    Mock::given(method("GET"))
        .and(path("/v1/drivers"))
        .respond_with(ResponseTemplate::new(406).set_body_json(json!({"error_message": fault})))
        .mount(&server)
        .await;
    let error = client.ready().await.unwrap_err();
    assert!(error.to_string().contains("range is [1.1, 1.80]"), "{error}");
}

#[tokio::test]
async fn the_version_is_sent_and_bounded_by_what_ironic_has() {
    for (offered, sent) in [
        ("1.115", "1.110"),
        ("1.109", "1.109"),
        ("1.100", "1.95"),
        ("1.89", "1.89"),
    ] {
        let (server, client) = server(json_reply(&json!({"version": {"version": offered}}))).await;
        Mock::given(method("GET"))
            .and(path("/v1/drivers"))
            .and(wiremock::matchers::header("X-OpenStack-Ironic-API-Version", sent))
            .respond_with(json_reply(&json!({"drivers": [{"name": "redfish"}]})))
            .mount(&server)
            .await;
        client.ready().await.unwrap();
    }
}

#[tokio::test]
async fn an_ironic_that_is_not_there_is_not_ready_and_no_login_is_shown() {
    metal3_testkit::init();
    let port = metal3_testkit::port::free().unwrap();
    let settings = Settings::new(format!("http://admin:hidden@127.0.0.1:{port}/v1"));
    let (ironic, _changes) = IronicProvisioner::new(settings).unwrap();
    let error = ironic.client().ready().await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotReady);
    assert!(error.to_string().contains("IRONIC_ENDPOINT"), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn a_login_in_the_endpoint_is_not_shown() {
    let root = json_reply(&json!({"version": {"version": "1.80"}}));
    let (server, _client) = server(root).await;
    let endpoint = server.uri().replace("http://", "http://admin:hidden@");
    let client = Client::new(&Settings::new(format!("{endpoint}/v1"))).unwrap();
    let error = client.ready().await.unwrap_err();
    assert!(error.to_string().contains("1.80"), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
}
