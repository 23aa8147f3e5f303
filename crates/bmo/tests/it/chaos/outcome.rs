//! What must hold after the storm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::ListParams;
use metal3_api::metal3::host::BareMetalHost;
use metal3_ironic_sim::actions::Log;
use metal3_testkit::wait;
use serde_json::json;

use super::NAMESPACE;
use super::edits::{Fleet, Kind, Subject};
use super::intent::unexplained;
use crate::world::{condition, summary};

/// A host in a back-off of minutes is edited after its first failures are over, as its user would.
const PATIENCE: Duration = Duration::from_secs(180);

/// How much was done to a machine, by name of its host.
pub(super) type Counts = BTreeMap<String, usize>;

impl Fleet {
    /// What was done to each machine: what `GET /sim/v1/actions` answers.
    fn logs(&self) -> BTreeMap<String, Log> {
        let logs = self.chaos.ironic.actions().into_iter();
        logs.map(|log| (log.bmc_address.clone(), log)).collect()
    }

    /// How much was done so far to the machines that nobody touches.
    pub(super) fn untouched(&self) -> Counts {
        let logs = self.logs();
        let untouched = self
            .subjects
            .iter()
            .filter(|subject| subject.kind == Kind::Untouched);
        untouched
            .map(|subject| (subject.name.clone(), logs[&subject.address()].actions.len()))
            .collect()
    }

    /// Waits until every host is where its spec wants it, and Ironic has a node for each and no other.
    pub(super) async fn converge(&self) {
        let missed = wait::try_until("every host to be where its spec wants it", PATIENCE, async || {
            let hosts = self.chaos.hosts.list(&ListParams::default()).await;
            let hosts = hosts.map_err(|error| error.to_string())?.items;
            for host in &hosts {
                if condition(host, "Waiting").is_some_and(|waiting| waiting.reason == "RetryBackoff") {
                    let now = format!("tried again in generation {:?}", host.metadata.generation);
                    self.chaos
                        .patch(&host.name_any(), json!({"spec": {"description": now}}))
                        .await;
                }
            }
            let astray: Vec<String> = hosts.iter().filter_map(|host| self.astray(host)).collect();
            if !astray.is_empty() {
                let some: Vec<_> = astray.iter().take(10).cloned().collect();
                return Err(format!("{} are not: {}", astray.len(), some.join("\n")));
            }
            let names = |name: String| format!("{NAMESPACE}~{name}");
            let wanted: BTreeSet<_> = hosts.iter().map(|host| names(host.name_any())).collect();
            let machines = self.chaos.ironic.machines();
            let nodes: Vec<_> = machines.into_iter().filter_map(|machine| machine.name).collect();
            let known: BTreeSet<_> = nodes.iter().cloned().collect();
            if known != wanted || self.chaos.ironic.nodes() != hosts.len() {
                let orphans: Vec<_> = known.difference(&wanted).collect();
                let missing: Vec<_> = wanted.difference(&known).collect();
                return Err(format!(
                    "{} nodes for {} hosts; orphans {orphans:?}, missing {missing:?}",
                    self.chaos.ironic.nodes(),
                    hosts.len()
                ));
            }
            Ok(())
        })
        .await;
        if let Err(missed) = missed {
            panic!("{missed}\n{}", self.chaos.diary());
        }
    }

    /// Why a host is not where its spec wants it.
    fn astray(&self, host: &BareMetalHost) -> Option<String> {
        let name = host.name_any();
        let why = |what: &str| Some(format!("{name}: {what}; {}", summary(host)));
        if host.metadata.deletion_timestamp.is_some() {
            return why("is being deleted");
        }
        let Some(status) = &host.status else {
            return why("has no status");
        };
        let subject = self.subjects.iter().find(|subject| subject.name == name)?;
        // A host that is to be off is not deployed before it is to be on.
        let waits = !host.spec.online && status.provisioning.state.as_str() == "available";
        let image = host.spec.image.as_ref().filter(|_| !waits);
        let wanted = image.map(|image| image.url.clone());
        let state = if wanted.is_some() {
            "provisioned"
        } else {
            "available"
        };
        let Some(machine) = self.machine(subject) else {
            return why("has no machine");
        };
        let power = if host.spec.online { "power on" } else { "power off" };
        if status.error_type.is_some() || status.operational_status.as_str() != "OK" {
            why("is not well")
        } else if status.provisioning.state.as_str() != state {
            why(&format!("is to be {state}"))
        } else if status.powered_on != host.spec.online || machine.power_state != power {
            why(&format!(
                "is to be {power}; the machine is {}",
                machine.power_state
            ))
        } else if status.provisioning.image.as_ref().map(|image| &image.url) != wanted.as_ref()
            || wanted.is_some() && machine.image != wanted
        {
            why(&format!(
                "is to run {wanted:?}; the machine holds {:?}",
                machine.image
            ))
        } else if machine.node.as_ref() != Some(&status.provisioning.id) {
            why(&format!(
                "has node {}; the machine's is {:?}",
                status.provisioning.id, machine.node
            ))
        } else {
            None
        }
    }

    /// Nothing happened to a machine that nobody asked for, and nothing is left of what was deleted.
    pub(super) async fn judge(&self, before: &Counts) {
        let mut wrong = Vec::new();
        let mut logs = self.logs();
        for subject in &self.subjects {
            let Some(log) = logs.remove(&subject.address()) else {
                wrong.push(format!("{} has no machine", subject.name));
                continue;
            };
            if let Some(word) = misdeed(subject, &log, before) {
                wrong.push(format!(
                    "{}: {word}\nasked for: {:#?}\ndone: {:#?}",
                    subject.name, subject.intents, log.actions
                ));
            }
        }
        wrong.extend(
            logs.keys()
                .map(|address| format!("{address} is nobody's machine")),
        );
        let hosts = self.chaos.hosts.list(&ListParams::default()).await.unwrap();
        let used: BTreeSet<_> = hosts
            .iter()
            .map(|host| host.spec.bmc.credentials_name.clone())
            .collect();
        let secrets = self.chaos.secrets.list(&ListParams::default()).await.unwrap();
        for secret in secrets {
            if !used.contains(&secret.name_any()) && !secret.finalizers().is_empty() {
                wrong.push(format!(
                    "Secret {} is held by a host that is gone",
                    secret.name_any()
                ));
            }
        }
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), self.chaos.diary());
    }
}

/// What was done to a machine that nobody asked for.
fn misdeed(subject: &Subject, log: &Log, before: &Counts) -> Option<String> {
    let before = before.get(&subject.name);
    if before.is_some_and(|count| *count != log.actions.len()) {
        return Some("the machine was touched".into());
    }
    unexplained(&subject.intents, log)
}
