//! Template sync: a changed cleaning mode goes the whole way from a template to the hosts of its machines.
//!
//! `template_left.rs` is about machines that do not follow.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3MachineTemplate};
use metal3_rpc::v1::CleaningMode;
use metal3_testkit::{ControlPlane, events, wait};
use serde_json::{Value, json};

use crate::hosts::Hosts;
use crate::lab::Lab;
use crate::webhooks::{self, GROUP, get, path, send};
use crate::world::{World, account};

pub(crate) const GROUP_KIND: &str = "Metal3MachineTemplate.infrastructure.cluster.x-k8s.io";

pub(crate) fn cloned_from(template: &str, group_kind: &str) -> Value {
    json!({"metadata": {"annotations": {
        "cluster.x-k8s.io/cloned-from-name": template,
        "cluster.x-k8s.io/cloned-from-groupkind": group_kind,
    }}})
}

impl Lab {
    pub(crate) async fn template(&self, name: &str, mode: Option<&str>) {
        let image = json!({"url": "http://images.test/node.qcow2", "checksum": "abc"});
        let spec = json!({"image": image, "automatedCleaningMode": mode});
        let template = json!({"metadata": {"name": name}, "spec": {"template": {"spec": spec}}});
        self.create::<Metal3MachineTemplate>(template).await;
    }

    /// What a user changes.
    pub(crate) async fn clean(&self, template: &str, mode: Option<&str>) {
        let patch = json!({"spec": {"template": {"spec": {"automatedCleaningMode": mode}}}});
        self.patch::<Metal3MachineTemplate>(template, patch).await;
    }

    /// A machine without a mode that was cloned from a template and has a host, which it names.
    pub(crate) async fn clone_of(&self, template: &str, name: &str) -> String {
        self.free_host(&format!("host-of-{name}"));
        self.machine(name, "c").await;
        self.patch::<Metal3Machine>(name, cloned_from(template, GROUP_KIND))
            .await;
        self.claimed(name).await
    }

    pub(crate) async fn mode(&self, machine: &str) -> Option<String> {
        self.get::<Metal3Machine>(machine)
            .await
            .spec
            .automated_cleaning_mode
    }

    async fn has_mode(&self, machine: &str, mode: &str) {
        let what = format!("{machine} to have the mode {mode}");
        wait::until(&what, wait::LONG, async || match self.mode(machine).await {
            Some(found) if found == mode => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// Waits until a machine has a mode, and its host as well.
    pub(crate) async fn follows(&self, machine: &str, mode: &str) {
        self.has_mode(machine, mode).await;
        let host = self.claimed(machine).await;
        let wanted = CleaningMode::from_str_name(&format!("CLEANING_MODE_{}", mode.to_uppercase()));
        wait::until(&format!("{host} to be {mode}"), wait::LONG, async || {
            let found = self.hosts.with(|world| world.hosts[&host].cleaning_mode());
            (Some(found) == wanted).then_some(()).ok_or(found.as_str_name())
        })
        .await;
    }
}

/// How often the provider wrote metadata or spec of a machine.
pub(crate) fn writes(world: &World, machine: &str) -> usize {
    let requests = world.lab.plane.requests_of(&world.account.user()).unwrap();
    let written = requests.iter().filter(|request| {
        let of = request.object_ref.as_ref();
        let of_machine = of.is_some_and(|of| {
            (of.resource.as_str(), of.subresource.as_str(), of.name.as_str())
                == ("metal3machines", "", machine)
        });
        of_machine && request.verb == "patch" && request.code() == 200
    });
    written.count()
}

/// As [`writes`], when there are so many; the log of the API server may lag behind what was seen otherwise.
pub(crate) async fn wrote(world: &World, machine: &str, times: usize) {
    let what = format!("{times} writes of {machine}");
    let found = wait::until(&what, wait::LONG, async || {
        let found = writes(world, machine);
        if found >= times { Ok(found) } else { Err(found) }
    })
    .await;
    assert_eq!(found, times, "{what}");
}

#[tokio::test]
async fn a_changed_cleaning_mode_reaches_the_hosts_of_the_machines_of_its_template_and_no_others() {
    let world = World::start("template").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    for template in ["t", "other"] {
        lab.template(template, None).await;
    }
    for machine in ["m", "n"] {
        lab.clone_of("t", machine).await;
    }
    let anywhere = json!({"matchExpressions": [{"key": "rack", "operator": "Exists", "values": []}]});
    lab.patch::<Metal3Machine>("n", json!({"spec": {"hostSelector": anywhere}}))
        .await;
    let mut others = BTreeMap::new();
    for (machine, template) in [("o", "other"), ("hand", "t"), ("foreign", "t")] {
        others.insert(machine, lab.clone_of(template, machine).await);
    }
    let by_hand = json!({"metadata": {"annotations": {
        "cluster.x-k8s.io/cloned-from-name": null, "cluster.x-k8s.io/cloned-from-groupkind": null}}});
    lab.patch::<Metal3Machine>("hand", by_hand).await;
    let foreign = cloned_from("t", "Metal3MachineTemplate.example.com");
    lab.patch::<Metal3Machine>("foreign", foreign).await;

    // Each goes the whole way by one write.
    let before = writes(&world, "m");
    for (times, mode) in [(1, "disabled"), (2, "metadata"), (3, "disabled")] {
        lab.clean("t", Some(mode)).await;
        for machine in ["m", "n"] {
            lab.follows(machine, mode).await;
        }
        wrote(&world, "m", before + times).await;
        // Nothing that comes with it is carried, and a mode that is taken away stays.
        let more = json!({"metadata": {"labels": {"a": mode}}, "spec": {"nodeReuse": times == 2}});
        lab.patch::<Metal3MachineTemplate>("t", more).await;
        lab.clean("t", None).await;
    }
    let message = events::expect(&lab.plane.client(), "template", "m", "CleaningModeChanged").await;
    assert!(message.contains("as Metal3MachineTemplate t has it"), "{message}");
    let machine = json!(lab.get::<Metal3Machine>("n").await);
    assert_eq!(machine["spec"]["hostSelector"], anywhere);

    lab.clean("other", Some("metadata")).await;
    lab.follows("o", "metadata").await;
    wrote(&world, "m", before + 3).await;
    assert_eq!(lab.mode("m").await.as_deref(), Some("disabled"));
    for machine in ["hand", "foreign"] {
        assert_eq!(lab.mode(machine).await, None, "{machine}");
        let mode = lab
            .hosts
            .with(|world| world.hosts[&others[machine]].cleaning_mode());
        assert_eq!(mode, CleaningMode::Unspecified, "{machine}");
    }
}

#[tokio::test]
async fn a_storm_of_changes_ends_at_the_last_one() {
    const CHANGES: usize = 30;
    let world = World::start("template-storm").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.template("t", None).await;
    let machines: Vec<String> = (0..12).map(|n| format!("m{n}")).collect();
    for machine in &machines {
        lab.clone_of("t", machine).await;
    }
    let before: Vec<_> = machines.iter().map(|machine| writes(&world, machine)).collect();
    // The mode it ends at comes but once in each storm: when a machine has it, nothing else can follow.
    for (storm, last) in [("metadata", "disabled"), ("disabled", "metadata")] {
        for change in 0..CHANGES {
            lab.clean("t", (change % 2 == 0).then_some(storm)).await;
            // A change of the machine itself, for conflicts.
            let label = json!({"metadata": {"labels": {"change": change.to_string()}}});
            lab.patch::<Metal3Machine>(&machines[change % machines.len()], label)
                .await;
        }
        lab.clean("t", Some(last)).await;
        for machine in &machines {
            lab.follows(machine, last).await;
        }
    }
    // None to one mode, to the other, and back: what came in between is not written again.
    for (machine, before) in machines.iter().zip(before) {
        let times = writes(&world, machine) - before;
        assert!((2..=3).contains(&times), "{times} writes of {machine}");
    }
}

#[tokio::test]
async fn machines_follow_at_the_start_when_they_come_later_and_against_users_until_the_template_goes() {
    let plane = ControlPlane::shared().await;
    let account = account(plane, "template-later", "capm3").await;
    let kubeconfig = account.kubeconfig.clone();
    // The change came while no provider was there.
    let lab = Lab::new(plane, "template-later", Hosts::new("template-later"));
    lab.cluster("c").await;
    lab.template("t", Some("disabled")).await;
    lab.machine("early", "c").await;
    lab.patch::<Metal3Machine>("early", cloned_from("t", GROUP_KIND))
        .await;
    let world = World::by(plane, account, &kubeconfig, &[]).await;
    let lab = &world.lab;
    lab.has_mode("early", "disabled").await;
    lab.infrastructure_is_ready("c").await;
    lab.free_host("a");
    lab.follows("early", "disabled").await;

    lab.clone_of("t", "late").await;
    lab.follows("late", "disabled").await;
    let before = writes(&world, "late");
    let own = json!({"spec": {"automatedCleaningMode": "metadata"}});
    lab.patch::<Metal3Machine>("late", own.clone()).await;
    wrote(&world, "late", before + 1).await;
    lab.follows("late", "disabled").await;

    // Nobody follows a template that goes, whatever it says.
    let hold = json!({"metadata": {"finalizers": ["test/keep"]}});
    lab.patch::<Metal3MachineTemplate>("t", hold).await;
    lab.delete::<Metal3MachineTemplate>("t").await;
    wait::until("the provider to know", wait::LONG, async || {
        let log = world.capm3.process.log();
        log.contains("the template is being deleted").then_some(())
    })
    .await;
    lab.patch::<Metal3Machine>("late", own).await;
    lab.follows("late", "metadata").await;
    let release = json!({"metadata": {"finalizers": null}});
    lab.patch::<Metal3MachineTemplate>("t", release).await;
    lab.is_gone::<Metal3MachineTemplate>("t").await;
    // Another one of that name has the machines again.
    lab.template("t", Some("metadata")).await;
    lab.follows("early", "metadata").await;
    wrote(&world, "late", before + 1).await;
}

#[tokio::test]
async fn old_templates_and_machines_follow_past_the_webhooks() {
    let shared = webhooks::shared().await;
    let lab = shared.lab("template-old").await;
    let client = lab.plane.client();
    lab.cluster("c").await;
    lab.bare_machine("m", "c").await;
    let template = json!({
        "apiVersion": format!("{GROUP}/v1beta1"), "kind": "Metal3MachineTemplate",
        "metadata": {"name": "t", "labels": BTreeMap::from_iter(lab.labels.clone())},
        "spec": {"template": {"spec": {"image": {"url": "http://images.test/node.qcow2", "checksum": "abc"}}}},
    });
    let [templates, machines] =
        ["metal3machinetemplates", "metal3machines"].map(|plural| path("v1beta1", &lab.namespace, plural));
    send(&client, "POST", &templates, &template).await.unwrap();
    let (template, machine) = (format!("{templates}/t"), format!("{machines}/m"));
    send(&client, "PATCH", &machine, &cloned_from("t", GROUP_KIND))
        .await
        .unwrap();
    for mode in ["disabled", "metadata"] {
        let patch = json!({"spec": {"template": {"spec": {"automatedCleaningMode": mode}}}});
        send(&client, "PATCH", &template, &patch).await.unwrap();
        lab.has_mode("m", mode).await;
        let old = get(&client, &machine).await.unwrap();
        assert_eq!(old["spec"]["automatedCleaningMode"], mode);
    }
    let machine: Metal3Machine = lab.get("m").await;
    assert_eq!(machine.annotations()["cluster.x-k8s.io/cloned-from-name"], "t");
}
