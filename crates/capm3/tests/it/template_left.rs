//! Template sync: machines that do not follow their template.
//!
//! They begin without a mode, so that each change that reached them would show. A template is looked at by one pass at a
//! time: when a second change is through, all that the first one did is done.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use metal3_api::capi::Cluster;
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3MachineTemplate};
use metal3_testkit::{events, wait};
use serde_json::{Value, json};

use crate::lab::{Lab, META_DATA};
use crate::template::{GROUP_KIND, cloned_from, writes, wrote};
use crate::webhooks::GROUP;
use crate::world::World;

fn pause(paused: bool) -> Value {
    json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": paused.then_some("")}}})
}

#[tokio::test]
async fn what_is_paused_or_goes_does_not_follow_until_it_is_not() {
    let world = World::start("template-paused").await;
    let lab = &world.lab;
    for cluster in ["c", "stopped"] {
        lab.ready_cluster(cluster).await;
    }
    for template in ["t", "still"] {
        lab.template(template, None).await;
    }
    for machine in ["free", "paused", "going"] {
        lab.clone_of("t", machine).await;
    }
    lab.clone_of("still", "behind").await;
    lab.free_host("host-of-stopped");
    lab.machine("stopped", "stopped").await;
    lab.patch::<Metal3Machine>("stopped", cloned_from("t", GROUP_KIND))
        .await;
    lab.claimed("stopped").await;

    lab.patch::<Metal3Machine>("paused", pause(true)).await;
    lab.patch::<Cluster>("stopped", json!({"spec": {"paused": true}}))
        .await;
    for machine in ["paused", "stopped"] {
        lab.condition::<Metal3Machine>(machine, "Paused", "True", "Paused")
            .await;
    }
    lab.hosts.with(|world| world.slow_release = true);
    lab.delete::<Metal3Machine>("going").await;
    lab.condition::<Metal3Machine>("going", META_DATA, "False", "Deleting")
        .await;
    lab.patch::<Metal3MachineTemplate>("still", pause(true)).await;
    lab.clean("still", Some("disabled")).await;
    let left = ["paused", "stopped", "going", "behind"];
    let before = left.map(|machine| writes(&world, machine));
    for mode in ["disabled", "metadata", "disabled"] {
        lab.clean("t", Some(mode)).await;
        lab.follows("free", mode).await;
    }
    for machine in left {
        assert_eq!(lab.mode(machine).await, None, "{machine}");
    }

    // Had one followed before, there would be a write more.
    lab.patch::<Metal3Machine>("paused", pause(false)).await;
    lab.patch::<Cluster>("stopped", json!({"spec": {"paused": false}}))
        .await;
    let mut patch = pause(false);
    patch["spec"] = json!({"template": {"spec": {"automatedCleaningMode": "metadata"}}});
    lab.patch::<Metal3MachineTemplate>("still", patch).await;
    for (machine, mode) in [
        ("paused", "disabled"),
        ("stopped", "disabled"),
        ("behind", "metadata"),
    ] {
        lab.follows(machine, mode).await;
    }
    for (machine, before) in left.into_iter().zip(before) {
        let times = usize::from(machine != "going");
        wrote(&world, machine, before + times).await;
    }
    lab.hosts.with(|world| world.slow_release = false);
    lab.free_host("host-of-going");
    lab.patch::<Metal3Machine>("going", json!({"metadata": {"labels": {"look": "again"}}}))
        .await;
    lab.is_gone::<Metal3Machine>("going").await;
}

#[tokio::test]
async fn only_machines_that_the_watch_filter_selects_follow() {
    let mut world = World::with_flags("template-filter", &["--watch-filter=mine"]).await;
    world.lab.labels = vec![("cluster.x-k8s.io/watch-filter".into(), "mine".into())];
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.template("t", None).await;
    for machine in ["mine", "theirs"] {
        lab.clone_of("t", machine).await;
    }
    let unlabelled = json!({"metadata": {"labels": {"cluster.x-k8s.io/watch-filter": null}}});
    lab.patch::<Metal3Machine>("theirs", unlabelled).await;
    let before = writes(&world, "theirs");
    for mode in ["disabled", "metadata", "disabled"] {
        lab.clean("t", Some(mode)).await;
        lab.follows("mine", mode).await;
    }
    assert_eq!(
        (lab.mode("theirs").await, writes(&world, "theirs")),
        (None, before)
    );
}

/// Lets Kubernetes refuse a cleaning mode to the machines of a namespace that have the label `test/refused`.
async fn refuse(lab: &Lab, mode: &str) {
    let name = format!("refuse-{}", lab.namespace);
    let refused =
        format!("!has(object.spec.automatedCleaningMode) || object.spec.automatedCleaningMode != '{mode}'");
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}},
                "objectSelector": {"matchLabels": {"test/refused": ""}},
                "resourceRules": [{
                    "apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["metal3machines"],
                }],
            },
            "validations": [{"expression": refused, "message": "not on this machine"}],
        },
    }))
    .unwrap();
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
    }))
    .unwrap();
    let (client, params) = (lab.plane.client(), PostParams::default());
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    policies.create(&params, &policy).await.unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    bindings.create(&params, &binding).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_is_refused_holds_no_other_up_and_says_why() {
    let world = World::start("template-refused").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.template("t", None).await;
    let machines: Vec<String> = (0..10).map(|n| format!("m{n}")).collect();
    for machine in &machines {
        lab.clone_of("t", machine).await;
    }
    let label = |value: Option<&str>| json!({"metadata": {"labels": {"test/refused": value}}});
    lab.patch::<Metal3Machine>("m0", label(Some(""))).await;
    refuse(lab, "disabled").await;
    let machine: Api<Metal3Machine> = lab.api();
    wait::until("the policy to be in force", wait::LONG, async || {
        let (patch, params) = (
            json!({"spec": {"automatedCleaningMode": "disabled"}}),
            PatchParams::default().dry_run(),
        );
        let answer = machine.patch("m0", &params, &Patch::Merge(patch)).await;
        answer.is_err().then_some(())
    })
    .await;

    lab.clean("t", Some("disabled")).await;
    for machine in &machines[1..] {
        lab.follows(machine, "disabled").await;
    }
    let message = events::expect(
        &lab.plane.client(),
        "template-refused",
        "m0",
        "CleaningModeRefused",
    )
    .await;
    for part in [
        "cannot become disabled",
        "not on this machine",
        "correct the Metal3Machine",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(lab.mode("m0").await, None);
    // Whatever was in the way is gone.
    lab.patch::<Metal3Machine>("m0", label(None)).await;
    lab.follows("m0", "disabled").await;
}
