//! The host service is away: at the start, and again later.

use kube::ResourceExt as _;
use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_testkit::wait;
use serde_json::{Value, json};

use crate::lab::{ASSOCIATED, META_DATA};
use crate::webhooks::{GROUP, Webhooks, get, path, send, shared};

/// Webhooks are for everybody, also for those who need no host.
async fn works_without_hosts(webhooks: &Webhooks, name: &str) {
    let client = webhooks.plane.client();
    let old = json!({
        "apiVersion": format!("{GROUP}/v1beta1"), "kind": "Metal3MachineTemplate",
        "metadata": {"name": name, "namespace": "outage"},
        "spec": {"template": {"spec": {"image": {"url": "http://a/i.qcow2", "checksum": "abc", "format": "raw"}}}},
    });
    send(
        &client,
        "POST",
        &path("v1beta1", "outage", "metal3machinetemplates"),
        &old,
    )
    .await
    .unwrap();
    let new = format!("{}/{name}", path("v1beta2", "outage", "metal3machinetemplates"));
    let new: Value = get(&client, &new).await.unwrap();
    assert_eq!(new["spec"]["template"]["spec"]["image"]["diskFormat"], "raw");
    let (code, text) = webhooks.capm3.readyz().await.unwrap();
    assert_eq!(code, 200, "{text}");
}

async fn readyz_says(webhooks: &Webhooks, line: &str) {
    wait::until(line, wait::LONG, async || {
        let (code, text) = webhooks.capm3.readyz().await?;
        assert_eq!(code, 200, "{text}");
        if text.contains(line) { Ok(()) } else { Err(text) }
    })
    .await;
}

#[tokio::test]
async fn an_absent_host_service_is_told_with_its_remedy_and_forgotten_when_it_is_back() {
    let webhooks = shared().await;
    let lab = webhooks.lab("outage").await;
    let process = webhooks.capm3.process.pid();
    for host in ["a", "b", "c"] {
        lab.free_host(host);
    }

    // Nobody is there from the start.
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.machine("m", "c").await;
    let unavailable = "HostServiceUnavailable";
    let message = lab
        .condition_saying::<Metal3Machine>("m", [ASSOCIATED, "False", unavailable], "Connection refused")
        .await;
    assert!(message.contains("--host-service-address"), "{message}");
    readyz_says(webhooks, "[~]host-service").await;
    works_without_hosts(webhooks, "first").await;
    let serving = webhooks.place.open(&lab.hosts).await;
    lab.becomes_a_node("m").await;
    readyz_says(webhooks, "[+]host-service").await;

    // Nobody is there any more. What runs stays ready, what is new waits, what goes waits for its host.
    lab.machine("n", "c").await;
    lab.claimed("n").await;
    serving.close();
    readyz_says(webhooks, "[~]host-service").await;
    lab.machine("o", "c").await;
    lab.condition::<Metal3Machine>("o", ASSOCIATED, "False", unavailable)
        .await;
    lab.delete::<Metal3Machine>("n").await;
    let message = lab
        .condition::<Metal3Machine>("n", META_DATA, "False", unavailable)
        .await;
    assert!(message.contains("--host-service-address"), "{message}");
    let deleting: Metal3Machine = lab.get("n").await;
    assert!(!deleting.finalizers().is_empty(), "its host is still lent");
    let touch = json!({"metadata": {"annotations": {"touched": "yes"}}});
    lab.patch::<Metal3Machine>("m", touch).await;
    lab.condition::<Metal3Machine>("m", "Ready", "True", "Ready")
        .await;
    works_without_hosts(webhooks, "second").await;

    let serving = webhooks.place.open(&lab.hosts).await;
    lab.is_gone::<Metal3Machine>("n").await;
    lab.claimed("o").await;
    readyz_says(webhooks, "[+]host-service").await;
    lab.condition::<Metal3Machine>("m", "Ready", "True", "Ready")
        .await;
    let granted = lab.hosts.with(|hosts| hosts.granted.len());
    assert_eq!(granted, 3, "one for each machine");
    serving.close();
    assert_eq!(webhooks.capm3.process.pid(), process);
    webhooks.capm3.was_well(&webhooks.plane, &webhooks.account);
}
