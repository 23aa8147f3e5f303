//! Admission by the API server itself, with the configuration of the chart: by URL instead of through a Service, and for
//! the namespace of the test only.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use metal3_testkit::process::Program;
use metal3_testkit::{scratch, tools, wait, workspace};
use serde_json::{Value, json};

use crate::world::World;

/// The configuration of the chart, as helm renders it.
pub(crate) async fn rendered() -> Value {
    let rendered = Program::new(tools::find("helm").unwrap())
        .args(["template", "bmo"])
        .arg(workspace().join("charts/metal3-bmo"))
        .args(["--namespace", "capm3-system", "--set", "ironicSim.enabled=true"])
        .args(["--show-only", "templates/webhooks.yaml"])
        .env("HOME", scratch::dir("helm").unwrap())
        .output()
        .await
        .unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    let mut documents = documents.into_iter();
    documents
        .find(|document| document["kind"] == "ValidatingWebhookConfiguration")
        .unwrap()
}

/// The configuration with other callers, for one namespace.
pub(crate) async fn configured(namespace: &str, client: impl Fn(&str) -> Value) -> Value {
    let mut document = rendered().await;
    for webhook in document["webhooks"].as_array_mut().unwrap() {
        let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
        webhook["clientConfig"] = client(path);
        webhook["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    }
    document
}

pub(crate) async fn apply(client: Client, document: &Value) {
    let name = document["metadata"]["name"].as_str().unwrap();
    let params = PatchParams::apply("test").force();
    Api::<ValidatingWebhookConfiguration>::all(client)
        .patch(name, &params, &Patch::Apply(document))
        .await
        .unwrap();
}

/// Lets the API server ask the bmo of this world from now on.
pub(crate) async fn register(world: &World) {
    let ca = world.bmo.certificates.ca.as_bytes().to_vec();
    let mut document = configured(&world.namespace, |path| {
        json!({"url": format!("https://localhost:{}{path}", world.bmo.webhook), "caBundle": ByteString(ca.clone())})
    })
    .await;
    document["metadata"] = json!({"name": format!("test-{}", world.namespace)});
    apply(world.client(), &document).await;
    // The API server learns of configurations by a watch of its own.
    let bad = json!({"metadata": {"generateName": "probe-"}, "spec": {"online": true, "firmware": {}}});
    wait::until("the webhooks to be asked", wait::LONG, async || {
        match create(world, "BareMetalHost", "baremetalhosts?dryRun=All", &bad).await {
            Err(message) if message.contains("denied the request") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// One request with an object of any form; answers it, or the message of the API server.
pub(crate) async fn send(world: &World, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let content = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let path = format!("/apis/metal3.io/v1alpha1/namespaces/{}/{path}", world.namespace);
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(match body {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body).unwrap(),
        })
        .unwrap();
    world
        .client()
        .request(request)
        .await
        .map_err(|error| match error {
            kube::Error::Api(status) => status.message,
            other => other.to_string(),
        })
}

pub(crate) async fn create(world: &World, kind: &str, path: &str, object: &Value) -> Result<Value, String> {
    let mut object = object.clone();
    object["apiVersion"] = json!("metal3.io/v1alpha1");
    object["kind"] = json!(kind);
    send(world, "POST", path, &object).await
}

fn refused(what: &str, answer: Result<Value, String>, parts: &[&str]) {
    let message = answer.expect_err(what);
    assert!(message.contains("denied the request"), "{what}: {message}");
    for part in parts {
        assert!(message.contains(part), "{what}: {part:?} is missing in {message}");
    }
}

#[tokio::test]
async fn every_kind_is_judged_with_field_and_remedy() {
    let world = World::start("wh-kinds").await;
    register(&world).await;
    let meta = json!({"name": "bad"});
    for (kind, plural, spec, parts) in [
        (
            "DataImage",
            "dataimages",
            json!({"url": "smb://a/b"}),
            ["dataimage.metal3.io", "spec.url: image URL smb://a/b is invalid"],
        ),
        (
            "HostFirmwareComponents",
            "hostfirmwarecomponents",
            json!({"updates": [{"component": "bmc", "url": "b.bin"}]}),
            ["hostfirmwarecomponents.metal3.io", "spec.updates[0].url"],
        ),
        (
            "BMCEventSubscription",
            "bmceventsubscriptions",
            json!({"hostName": "a", "destination": "https://a"}),
            ["bmceventsubscription.metal3.io", "must have a trailing slash"],
        ),
        (
            "HostClaim",
            "hostclaims",
            json!({"poweredOn": true, "hostSelector": {"matchExpressions": [{"key": "a", "operator": "gt", "values": []}]}}),
            ["hostclaim.metal3.io", "invalid operation \"gt\""],
        ),
        (
            "HostNetworkAttachment",
            "hostnetworkattachments",
            json!({"mode": "trunk", "nativeVLAN": 1, "allowedVLANs": ["10-5"]}),
            ["hostnetworkattachment.metal3.io", "from a lower to a higher"],
        ),
    ] {
        let answer = create(&world, kind, plural, &json!({"metadata": meta, "spec": spec})).await;
        refused(kind, answer, &parts);
    }
    // Several reasons come at once.
    let host = json!({"metadata": meta, "spec": {
        "online": true, "firmware": {}, "bmc": {"address": "ilo4://a", "credentialsName": "a"},
    }});
    let answer = create(&world, "BareMetalHost", "baremetalhosts", &host).await;
    refused(
        "host",
        answer,
        &[
            "baremetalhost.metal3.io",
            "[spec.bmc.address: Unknown BMC type 'ilo4'",
            "spec.firmware: the Firmware field is no longer supported",
        ],
    );
}

#[tokio::test]
async fn a_host_lives_and_dies_behind_the_webhook_and_forbidden_changes_are_refused() {
    let world = World::start("wh-life").await;
    assert!(world.bmo.readyz().await.contains("[+]webhook ok"));
    register(&world).await;
    world.available(&["a"]).await;
    for (patch, part) in [
        (
            json!({"bmc": {"address": "redfish://elsewhere.test"}}),
            "spec.bmc.address: BMC address can not be changed",
        ),
        (
            json!({"bootMACAddress": "00:00:00:00:00:01"}),
            "spec.bootMACAddress: bootMACAddress can not be changed once it is set",
        ),
        (json!({"image": {"url": "file:///a"}}), "\"file\" not allowed"),
    ] {
        let answer = send(&world, "PATCH", "baremetalhosts/a", &json!({"spec": patch})).await;
        refused(part, answer, &[part]);
    }
    let annotate = json!({"metadata": {"annotations": {"reboot.metal3.io": "hard"}}});
    let answer = send(&world, "PATCH", "baremetalhosts/a", &annotate).await;
    refused("annotation", answer, &["metadata.annotations[reboot.metal3.io]"]);
    let image = json!({"url": "http://images.test/a.qcow2", "checksum": "d41d8cd98f00b204e9800998ecf8427e"});
    world.patch("a", json!({"spec": {"image": image}})).await;
    world.reaches("a", "provisioned").await;
    let taken = json!({"spec": {"externallyProvisioned": true}});
    let answer = send(&world, "PATCH", "baremetalhosts/a", &taken).await;
    refused("U3", answer, &["currently in \"provisioned\""]);
    world.delete("a").await;
    world.is_gone("a").await;
}

#[tokio::test]
async fn a_host_that_would_be_refused_today_is_finalized_worked_on_corrected_and_deleted() {
    let world = World::start("wh-old").await;
    let mut old = world
        .host("a")
        .annotation("baremetalhost.metal3.io/paused", "")
        .build();
    old.spec.firmware = Some(metal3_api::metal3::host::FirmwareConfig::default());
    old.spec.image = Some(metal3_api::metal3::host::Image {
        url: "file:///a".into(),
        ..Default::default()
    });
    old.spec.online = false;
    let secret = world.host("a").secret();
    world
        .secrets()
        .create(&Default::default(), &secret)
        .await
        .unwrap();
    world.hosts().create(&Default::default(), &old).await.unwrap();
    register(&world).await;
    let labelled = world
        .patch("a", json!({"metadata": {"labels": {"seen": "yes"}}}))
        .await;
    assert!(labelled.finalizers().is_empty());
    let worse = json!({"spec": {"image": {"url": "file:///b"}}});
    refused(
        "worse",
        send(&world, "PATCH", "baremetalhosts/a", &worse).await,
        &["file:///b"],
    );
    // The operator's own writes: the finalizer, and what inspection found.
    let annotations = json!({"baremetalhost.metal3.io/paused": null, "inspect.metal3.io": ""});
    world
        .patch("a", json!({"metadata": {"annotations": annotations}}))
        .await;
    let host = world.reaches("a", "available").await;
    assert_eq!(host.finalizers(), ["baremetalhost.metal3.io"]);
    world.patch("a", json!({"spec": {"firmware": null}})).await;
    world.delete("a").await;
    world.is_gone("a").await;
}

#[tokio::test]
async fn whoever_lets_go_of_an_external_host_is_warned() {
    let world = World::start("wh-warning").await;
    register(&world).await;
    world.create(&world.host("a").externally_provisioned()).await;
    world.reaches("a", "externally provisioned").await;
    let body = json!({"spec": {"externallyProvisioned": false}})
        .to_string()
        .into_bytes();
    let request = http::Request::builder()
        .method("PATCH")
        .uri("/apis/metal3.io/v1alpha1/namespaces/wh-warning/baremetalhosts/a?dryRun=All")
        .header("content-type", "application/merge-patch+json")
        .body(kube::client::Body::from(body))
        .unwrap();
    let answer = world.client().send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let warning = answer.headers()["warning"].to_str().unwrap();
    assert!(
        warning.contains("deprovisioned") && warning.contains("cleaned"),
        "{warning}"
    );
}

#[tokio::test]
async fn an_attachment_stays_as_it_is_while_hosts_use_it() {
    let world = World::start("wh-attachment").await;
    register(&world).await;
    let attachment = json!({"metadata": {"name": "net"}, "spec": {"mode": "access", "nativeVLAN": 7}});
    create(
        &world,
        "HostNetworkAttachment",
        "hostnetworkattachments",
        &attachment,
    )
    .await
    .unwrap();
    let mut host = world.host("a").build();
    host.spec.network_interfaces = vec![metal3_api::metal3::host::NetworkInterface {
        name: Some("eth0".into()),
        host_network_attachment: Some(metal3_api::metal3::host::HostNetworkAttachmentRef {
            name: Some("net".into()),
            namespace: None,
        }),
        ..Default::default()
    }];
    world.hosts().create(&Default::default(), &host).await.unwrap();
    let path = "hostnetworkattachments/net";
    let change = json!({"spec": {"nativeVLAN": 8}});
    refused(
        "change",
        send(&world, "PATCH", path, &change).await,
        &["cannot be changed while it is in use by wh-attachment/a[eth0]"],
    );
    refused(
        "deletion",
        send(&world, "DELETE", path, &Value::Null).await,
        &[
            "cannot be deleted while it is in use by wh-attachment/a[eth0]",
            "networkInterfaces",
        ],
    );
    send(
        &world,
        "PATCH",
        path,
        &json!({"metadata": {"labels": {"a": "b"}}}),
    )
    .await
    .unwrap();
    world
        .patch("a", json!({"spec": {"networkInterfaces": null}}))
        .await;
    send(&world, "PATCH", path, &change).await.unwrap();
    send(&world, "DELETE", path, &Value::Null).await.unwrap();
}

#[tokio::test]
async fn a_subscription_with_headers_can_be_finalized() {
    let world = World::start("wh-subscription").await;
    register(&world).await;
    let subscription = json!({"metadata": {"name": "s"}, "spec": {
        "hostName": "a", "destination": "https://a/", "httpHeadersRef": {"name": "h", "namespace": "wh-subscription"},
    }});
    create(
        &world,
        "BMCEventSubscription",
        "bmceventsubscriptions",
        &subscription,
    )
    .await
    .unwrap();
    let path = "bmceventsubscriptions/s";
    let finalizer = json!({"metadata": {"finalizers": ["test.metal3.io/keep"]}});
    send(&world, "PATCH", path, &finalizer).await.unwrap();
    let change = json!({"spec": {"context": "x"}});
    refused(
        "change",
        send(&world, "PATCH", path, &change).await,
        &["subscriptions cannot be updated, please recreate it"],
    );
    send(&world, "DELETE", path, &Value::Null).await.unwrap();
    send(&world, "PATCH", path, &json!({"metadata": {"finalizers": null}}))
        .await
        .unwrap();
}
