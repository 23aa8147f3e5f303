//! Who may call the HostService: tokens and rights, also of streams that are open, and the line that each change leaves.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::DeleteParams;
use metal3_rpc::AUDIENCE;
use metal3_rpc::call::Call;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{
    ClaimHostRequest, GetHostRequest, HostRef, ListHostsRequest, MarkHealthRequest, WatchHostsRequest,
    WatchHostsResponse,
};
use metal3_testkit::wait;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming};

use crate::grpc_bad_input::{Raw, rows};
use crate::program::Hosts;
use crate::world::{VERBS, World};

/// Answers of Kubernetes are kept for the shortest time that there is.
const FORGETFUL: [&str; 1] = ["--grpc-access-cache-seconds=1"];

/// Asks for a host that is not there: whoever may ask is told so.
async fn look(hosts: &Hosts, namespace: &str) -> Status {
    let request = GetHostRequest {
        host: Some(HostRef::named(namespace, "missing")),
    };
    hosts.clone().get_host(request).await.unwrap_err()
}

fn refused(status: &Status, reason: Reason) {
    assert_eq!(Reason::of(status), Some(reason), "{status}");
    assert_eq!(status.code(), reason.code(), "{status}");
}

async fn watch(hosts: &Hosts, namespace: &str) -> Streaming<WatchHostsResponse> {
    let request = WatchHostsRequest {
        namespaces: vec![namespace.to_owned()],
        ..Default::default()
    };
    let mut stream = hosts.clone().watch_hosts(request).await.unwrap().into_inner();
    while stream.message().await.unwrap().unwrap().r#type() != Type::Synced {}
    stream
}

/// What ends a stream, after whatever it tells before.
async fn end(stream: &mut Streaming<WatchHostsResponse>) -> Status {
    tokio::time::timeout(wait::LONG, async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a reason"),
                Err(status) => break status,
            }
        }
    })
    .await
    .expect("the stream went on")
}

#[tokio::test]
async fn only_tokens_that_kubernetes_accepts_for_this_audience_get_in() {
    let world = World::start("tokens").await;
    let (plane, namespace) = (world.plane, world.namespace.as_str());
    world.caller("caller", &["get"]).await;
    let good = [
        plane.token(namespace, "caller", &[AUDIENCE]).await.unwrap(),
        plane.token_ending(namespace, "caller", 3600).await.unwrap(),
    ];
    for token in good {
        refused(
            &look(&world.bmo.hosts(Some(&token)), namespace).await,
            Reason::HostNotFound,
        );
    }
    let expired = plane.token_ending(namespace, "caller", -3600).await.unwrap();
    let foreign = plane.token(namespace, "caller", &["vault"]).await.unwrap();
    let (head, signature) = expired.rsplit_once('.').unwrap();
    let bad = [
        ("none", None),
        ("expired", Some(expired.clone())),
        ("of another audience", Some(foreign)),
        (
            "with another's signature",
            Some(format!("{head}.{}", signature.chars().rev().collect::<String>())),
        ),
        ("nonsense", Some("nonsense".to_owned())),
        ("empty", Some(String::new())),
    ];
    for (what, token) in bad {
        let status = look(&world.bmo.hosts(token.as_deref()), namespace).await;
        assert_eq!(
            Reason::of(&status),
            Some(Reason::TokenInvalid),
            "{what}: {status}"
        );
        assert_eq!(status.code(), Code::Unauthenticated, "{what}");
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            assert!(!status.message().contains(&token), "{what}: {status}");
            assert!(
                !world.bmo.process.log().contains(&token),
                "the log has the token that is {what}"
            );
        }
    }
}

#[tokio::test]
async fn the_token_of_a_deleted_account_works_no_longer_and_its_stream_ends() {
    let world = World::start_with("token-deleted", &FORGETFUL).await;
    let namespace = world.namespace.as_str();
    let hosts = world.caller("caller", &["get", "watch"]).await;
    refused(&look(&hosts, namespace).await, Reason::HostNotFound);
    let mut stream = watch(&hosts, namespace).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client(), namespace);
    accounts.delete("caller", &DeleteParams::default()).await.unwrap();
    refused(&end(&mut stream).await, Reason::TokenInvalid);
    wait::until("the token to be refused", wait::LONG, async || {
        let status = look(&hosts, namespace).await;
        (Reason::of(&status) == Some(Reason::TokenInvalid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rights_count_by_verb_and_namespace() {
    let world = World::start("rights").await;
    let namespace = world.namespace.as_str();
    world.plane.namespace("rights-other").await.unwrap();
    let hosts = world.caller("caller", &["get"]).await;
    refused(&look(&hosts, namespace).await, Reason::HostNotFound);
    let status = look(&hosts, "rights-other").await;
    refused(&status, Reason::Forbidden);
    for part in ["namespace rights-other", "verb get"] {
        assert!(status.message().contains(part), "{part} is not in {status}");
    }
    let list = |namespace: &str| ListHostsRequest {
        namespace: namespace.to_owned(),
        ..Default::default()
    };
    for namespace in [namespace, ""] {
        let status = hosts.clone().list_hosts(list(namespace)).await.unwrap_err();
        refused(&status, Reason::Forbidden);
    }
    let claim = ClaimHostRequest {
        namespace: namespace.to_owned(),
        consumer: Some(world.consumer("machine")),
        ..Default::default()
    };
    refused(
        &hosts.clone().claim_host(claim).await.unwrap_err(),
        Reason::Forbidden,
    );
    let watch = WatchHostsRequest {
        namespaces: vec![namespace.to_owned(), "rights-other".into()],
        ..Default::default()
    };
    let watcher = world.caller("watcher", &["watch"]).await;
    refused(
        &watcher.clone().watch_hosts(watch).await.unwrap_err(),
        Reason::Forbidden,
    );
    let denials = |log: &str| log.matches("call denied").count();
    let before = denials(&world.bmo.process.log());
    assert_eq!(before, 5, "one line for each denial");
    refused(&look(&hosts, "rights-other").await, Reason::Forbidden);
    assert_eq!(
        denials(&world.bmo.process.log()),
        before,
        "the same is not told again"
    );
}

#[tokio::test]
async fn a_stream_ends_when_its_right_is_withdrawn() {
    let world = World::start_with("right-withdrawn", &FORGETFUL).await;
    let namespace = world.namespace.as_str();
    let (hosts, other) = (
        world.caller("caller", &["watch"]).await,
        world.caller("other", &["watch"]).await,
    );
    let (mut stream, mut stays) = (watch(&hosts, namespace).await, watch(&other, namespace).await);
    let bindings: Api<RoleBinding> = Api::namespaced(world.client(), namespace);
    bindings.delete("caller", &DeleteParams::default()).await.unwrap();
    let status = end(&mut stream).await;
    refused(&status, Reason::Forbidden);
    assert!(status.message().contains("may not watch hosts"), "{status}");
    world.create(&world.host("a")).await;
    assert!(stays.message().await.unwrap().unwrap().host.is_some());
}

/// The lines of the audit log of changes.
fn changes(world: &World) -> Vec<Value> {
    let log = world.bmo.process.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "audit" && line.to_string().contains("change asked for"))
        .collect()
}

#[tokio::test]
async fn each_change_leaves_one_line_that_says_who_did_what_to_which_host() {
    let world = World::start_with("audit", &["--log-format=json"]).await;
    world.available(&["a"]).await;
    world.caller("caller", &VERBS).await;
    let (namespace, machine) = (world.namespace.as_str(), "Metal3Machine audit/machine");
    let token = world.plane.token(namespace, "caller", &[]).await.unwrap();
    let mut raw = Raw::new(world.bmo.channel(), &token);
    let mut expected = Vec::new();
    for row in rows(&world) {
        raw.call(row.call, row.right).await.unwrap();
        // What is freed is named by what it was kept for alone.
        let (host, consumer) = match row.call {
            "ReleaseReservations" => ("", ""),
            _ => ("audit/a", machine),
        };
        if Call::named(row.call).unwrap().changes() {
            expected.push(json!([row.call, namespace, host, consumer, "Ok"]));
        }
    }
    assert_eq!(expected.len(), 10, "{expected:?}");
    let missing = MarkHealthRequest {
        host: Some(HostRef::named(namespace, "missing")),
        consumer: Some(world.consumer("machine")),
        ..Default::default()
    };
    raw.call("MarkHealth", missing.encode_to_vec()).await.unwrap_err();
    expected.push(json!([
        "MarkHealth",
        namespace,
        "audit/missing",
        machine,
        "NotFound"
    ]));
    let lines = wait::until("a line for each change", wait::LONG, async || {
        let lines = changes(&world);
        (lines.len() >= expected.len()).then_some(lines)
    })
    .await;
    let user = format!("system:serviceaccount:{namespace}:caller");
    let told: Vec<Value> = lines
        .iter()
        .map(|line| {
            assert_eq!(line["user"], user, "{line}");
            let parts = ["call", "namespace", "host", "consumer", "code"];
            parts.iter().map(|part| line[part].clone()).collect()
        })
        .collect();
    assert_eq!(told, expected);
    let log = world.bmo.process.log();
    for secret in [
        world.host("a").secret().string_data.unwrap()["password"].as_str(),
        "Bearer ",
        // The reason of a mark, and what is to run.
        "\"fan\"",
        "install_everything",
    ] {
        let line = log
            .lines()
            .find(|line| line.contains("\"audit\"") && line.contains(secret));
        assert_eq!(line, None);
    }
}
