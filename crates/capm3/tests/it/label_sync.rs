//! Labels of hosts on the Nodes of the workload cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use metal3_api::capi::Cluster;
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_api::names;
use metal3_testkit::wire::{Mode, Wire};
use metal3_testkit::{events, wait};
use serde_json::{Value, json};
use tonic::Status;

use crate::broken::remove;
use crate::lab::Lab;
use crate::workload::{self, nodes, shared};
use crate::world::World;

/// What is looked at: labels of these domains.
const DOMAIN: &str = ".labels.test/";
const RACK: &str = "rack.labels.test/number";
const ROOM: &str = "room.labels.test/name";

impl Lab {
    /// What a user asks for.
    async fn ask_for(&self, cluster: &str, prefixes: Option<&str>) {
        let annotations = json!({names::ANNOTATION_LABEL_SYNC_PREFIXES: prefixes});
        self.patch::<Metal3Cluster>(cluster, json!({"metadata": {"annotations": annotations}}))
            .await;
    }

    /// A machine that runs on a host with these labels; its Node.
    async fn runs_on(&self, host: &str, labels: &[(&str, &str)], machine: &str, cluster: &str) -> String {
        self.free_host(host);
        self.label(host, labels);
        self.machine(machine, cluster).await;
        self.becomes_a_node(machine).await;
        let node = format!("{}-{host}", self.namespace);
        self.machine_status(machine, json!({"nodeRef": {"name": node}}))
            .await;
        node
    }

    /// Somebody labels a host.
    fn label(&self, host: &str, labels: &[(&str, &str)]) {
        self.hosts.change(host, |host| {
            let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into()));
            host.labels = labels.collect();
        });
    }

    /// How often the labels of a Node were written; setting its provider ID is one write more.
    async fn writes(&self, node: &str) -> usize {
        let user = workload::user(self).await.user();
        let requests = shared().await.requests_of(&user).unwrap();
        let written = requests.into_iter().filter(|request| {
            let object = request.object_ref.clone().unwrap_or_default();
            request.verb == "patch" && object.resource == "nodes" && object.name == node
        });
        written.count() - 1
    }

    async fn events_of(&self, object: &str, reason: &str) -> Vec<String> {
        let all = events::about(&self.plane.client(), &self.namespace, object)
            .await
            .unwrap();
        let those = all
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some(reason));
        those.filter_map(|event| event.message).collect()
    }
}

async fn labels_of(node: &str) -> BTreeMap<String, String> {
    let node = nodes().await.get(node).await.unwrap();
    let mut labels = node.metadata.labels.unwrap_or_default();
    labels.retain(|key, _| key.contains(DOMAIN));
    labels
}

/// Waits until a Node has these labels and no others of the domain.
async fn has(node: &str, wanted: &[(&str, &str)]) {
    let wanted: BTreeMap<String, String> = wanted
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    let what = format!("Node {node} to have {wanted:?}");
    wait::until(&what, wait::LONG, async || {
        let labels = labels_of(node).await;
        if labels == wanted {
            Ok(())
        } else {
            Err(format!("{labels:?}"))
        }
    })
    .await;
}

/// Somebody edits a Node.
async fn edit(node: &str, labels: Value) {
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    nodes()
        .await
        .patch(node, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_node_has_the_labels_of_its_host_that_are_asked_for_and_loses_those_that_the_host_loses() {
    let world = World::start("labels").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    let all = [
        (RACK, "7"),
        (ROOM, "north"),
        ("plain", "1"),
        ("sub.rack.labels.test/x", "1"),
    ];
    let node = lab.runs_on("a", &all, "m", "c").await;
    edit(&node, json!({"own.labels.test/x": "1", "plain": "mine"})).await;
    let own = ("own.labels.test/x", "1");

    lab.ask_for("c", Some("rack.labels.test")).await;
    has(&node, &[own, (RACK, "7")]).await;
    let told = events::expect(&lab.plane.client(), "labels", "m", "NodeLabelsSynced").await;
    assert!(
        told.ends_with("host labels/a: set rack.labels.test/number"),
        "{told}"
    );
    lab.ask_for("c", Some("rack.labels.test, room.labels.test,Not a prefix"))
        .await;
    has(&node, &[own, (RACK, "7"), (ROOM, "north")]).await;
    let told = events::expect(&lab.plane.client(), "labels", "c", "InvalidLabelSyncPrefix").await;
    assert!(told.contains(r#""Not a prefix" cannot"#), "{told}");

    lab.label(
        "a",
        &[(RACK, "8"), ("rack.labels.test/unit", "3"), ("plain", "2")],
    );
    has(&node, &[own, (RACK, "8"), ("rack.labels.test/unit", "3")]).await;
    lab.label("a", &[]);
    has(&node, &[own]).await;
    let plain = nodes().await.get(&node).await.unwrap().metadata.labels.unwrap()["plain"].clone();
    assert_eq!(plain, "mine");

    // Nobody asks any more: what is there stays.
    lab.label("a", &[(RACK, "9")]);
    has(&node, &[own, (RACK, "9")]).await;
    lab.ask_for("c", Some("room.labels.test")).await;
    lab.label("a", &[(ROOM, "south")]);
    has(&node, &[own, (RACK, "9"), (ROOM, "south")]).await;
}

#[tokio::test]
async fn nothing_is_written_to_a_node_that_is_as_it_should_be_and_nothing_to_the_nodes_of_others() {
    let world = World::start("labels-quiet").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.ask_for("c", Some("rack.labels.test")).await;
    let node = lab.runs_on("a", &[(RACK, "7")], "m", "c").await;
    let other = lab.runs_on("b", &[(RACK, "7")], "n", "c").await;
    for node in [&node, &other] {
        has(node, &[(RACK, "7")]).await;
        assert_eq!(lab.writes(node).await, 1);
    }

    // Nothing of this matters, not even that the provider begins anew.
    lab.label("a", &[(RACK, "7"), (ROOM, "north"), ("plain", "1")]);
    lab.switched_on("a");
    edit(&node, json!({ROOM: "own"})).await;
    let touch = json!({"metadata": {"annotations": {"touched": "yes"}}});
    lab.patch::<Metal3Machine>("m", touch.clone()).await;
    lab.patch::<Metal3Cluster>("c", touch).await;
    world.capm3.process.restart().unwrap();
    world.capm3.ready().await;
    lab.label("a", &[(RACK, "8")]);
    has(&node, &[(RACK, "8"), (ROOM, "own")]).await;
    assert_eq!((lab.writes(&node).await, lab.writes(&other).await), (2, 1));

    // A provider that was not told of the hosts yet takes their labels from nobody.
    lab.hosts
        .with(|hosts| hosts.refused_streams = vec![Status::unavailable("not yet"); 3]);
    world.capm3.process.restart().unwrap();
    lab.hosts.cut();
    lab.label("b", &[(RACK, "9")]);
    has(&other, &[(RACK, "9")]).await;
    assert_eq!((lab.writes(&node).await, lab.writes(&other).await), (2, 2));
}

#[tokio::test]
async fn a_node_that_is_edited_by_hand_is_corrected() {
    let world = World::start("labels-hand").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.ask_for("c", Some("rack.labels.test,kubernetes.io,metal3.io"))
        .await;
    let node = lab.runs_on("a", &[(RACK, "7")], "m", "c").await;
    has(&node, &[(RACK, "7")]).await;

    for edited in [
        json!({RACK: "8"}),
        json!({RACK: null, "rack.labels.test/unit": "3"}),
        json!({RACK: "7", "rack.labels.test/unit": "3"}),
    ] {
        edit(&node, edited).await;
        has(&node, &[(RACK, "7")]).await;
    }
    // Nor does the Node lose what it is known by.
    let labels = nodes().await.get(&node).await.unwrap().metadata.labels.unwrap();
    assert!(labels.contains_key(names::LABEL_NODE_UUID), "{labels:?}");

    // The Node registers anew, as after a remediation.
    nodes().await.delete(&node, &Default::default()).await.unwrap();
    lab.node("a").await;
    has(&node, &[(RACK, "7")]).await;
}

#[tokio::test]
async fn while_a_cluster_is_paused_or_moved_its_nodes_keep_their_labels() {
    let world = World::start("labels-paused").await;
    let lab = &world.lab;
    for cluster in ["paused", "working"] {
        lab.ready_cluster(cluster).await;
        lab.kubeconfig_secret(cluster).await;
        lab.ask_for(cluster, Some("rack.labels.test")).await;
    }
    let still = lab.runs_on("a", &[(RACK, "7")], "m", "paused").await;
    let moving = lab.runs_on("b", &[(RACK, "7")], "n", "working").await;
    has(&still, &[(RACK, "7")]).await;
    has(&moving, &[(RACK, "7")]).await;

    lab.patch::<Cluster>("paused", json!({"spec": {"paused": true}}))
        .await;
    lab.condition::<Metal3Machine>("m", "Paused", "True", "Paused")
        .await;
    lab.label("a", &[]);
    edit(&still, json!({"rack.labels.test/unit": "3"})).await;
    // clusterctl takes the host away after it was copied; here it comes back as it was.
    let host = remove(&lab.hosts, "a");
    lab.label("b", &[(RACK, "8")]);
    has(&moving, &[(RACK, "8")]).await;
    has(&still, &[(RACK, "7"), ("rack.labels.test/unit", "3")]).await;
    assert_eq!(lab.writes(&still).await, 1);

    lab.hosts.change("a", |there| *there = host);
    lab.label("a", &[(RACK, "7")]);
    lab.patch::<Cluster>("paused", json!({"spec": {"paused": false}}))
        .await;
    has(&still, &[(RACK, "7")]).await;
    assert_eq!(lab.writes(&still).await, 2);
}

#[tokio::test]
async fn a_workload_cluster_that_does_not_answer_is_told_once_and_gets_its_labels_later() {
    let world = World::start("labels-outage").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    let plane = shared().await;
    let wire = Wire::open(plane.address().unwrap()).await.unwrap();
    let ca = std::fs::read_to_string(plane.ca_file()).unwrap();
    let far = workload::kubeconfig(
        &workload::user(lab).await,
        &format!("https://{}", wire.address()),
        &ca,
    );
    lab.kubeconfig_secret_with("c", &far).await;
    lab.ask_for("c", Some("rack.labels.test")).await;
    let mut running = Vec::new();
    for (host, machine) in [("a", "m"), ("b", "n")] {
        running.push(lab.runs_on(host, &[(RACK, "7")], machine, "c").await);
    }
    for node in &running {
        has(node, &[(RACK, "7")]).await;
    }

    wire.set(Mode::Refuse);
    wire.cut();
    for host in ["a", "b"] {
        lab.label(host, &[(RACK, "8")]);
    }
    let told = events::expect(&lab.plane.client(), "labels-outage", "c", "LabelSyncFailed").await;
    assert!(
        told.contains("Nodes of Cluster c, which does not answer"),
        "{told}"
    );
    for host in ["a", "b"] {
        lab.label(host, &[(RACK, "9")]);
    }
    wire.set(Mode::Pass);
    for node in &running {
        has(node, &[(RACK, "9")]).await;
    }
    events::expect(&lab.plane.client(), "labels-outage", "c", "LabelSyncResumed").await;
    assert_eq!(lab.events_of("c", "LabelSyncFailed").await.len(), 1);
    assert_eq!(lab.events_of("c", "LabelSyncResumed").await.len(), 1);
    assert_eq!(lab.events_of("m", "LabelSyncFailed").await, [] as [&str; 0]);
}

/// The workload cluster takes no such label.
async fn refuse(label: &str, value: &str, node: &str) {
    let (client, name) = (shared().await.client(), "labels-refused");
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes"], "operations": ["UPDATE"]}]},
            "validations": [{
                "expression": format!("!('{label}' in object.metadata.labels) || object.metadata.labels['{label}'] != '{value}'"),
                "message": "not in this house"}],
        },
    }))
    .unwrap();
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }))
    .unwrap();
    Api::all(client.clone())
        .create(&PostParams::default(), &policy)
        .await
        .unwrap();
    Api::all(client)
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    let nodes = nodes().await;
    let (params, patch) = (
        PatchParams::default().dry_run(),
        json!({"metadata": {"labels": {label: value}}}),
    );
    wait::until("the policy to be in force", wait::LONG, async || {
        nodes
            .patch(node, &params, &Patch::Merge(&patch))
            .await
            .err()
            .map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_node_that_refuses_a_label_is_told_once_and_holds_up_no_other() {
    let world = World::start("labels-refused").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.ask_for("c", Some("rack.labels.test")).await;
    let node = lab.runs_on("a", &[(RACK, "7")], "m", "c").await;
    let other = lab.runs_on("b", &[(RACK, "7")], "n", "c").await;
    has(&node, &[(RACK, "7")]).await;
    refuse(RACK, "evil", &node).await;

    lab.label("a", &[(RACK, "evil")]);
    let told = events::expect(&lab.plane.client(), "labels-refused", "m", "LabelSyncFailed").await;
    assert!(
        told.contains("not in this house") && told.contains("labels-refused/c-kubeconfig"),
        "{told}"
    );
    let tried = lab.writes(&node).await;
    wait::until("another attempt", wait::LONG, async || {
        (lab.writes(&node).await > tried).then_some(())
    })
    .await;
    lab.label("b", &[(RACK, "8")]);
    has(&other, &[(RACK, "8")]).await;
    assert_eq!(lab.events_of("m", "LabelSyncFailed").await.len(), 1);
    lab.label("a", &[(RACK, "9")]);
    has(&node, &[(RACK, "9")]).await;
}
