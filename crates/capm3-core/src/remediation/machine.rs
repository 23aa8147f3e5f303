//! What a remediation writes into the status of a Machine.
//!
//! Cluster API's own condition OwnerRemediated lets a MachineSet or control plane replace the Machine. It is written in both
//! sets, because its owners look at the one of v1beta2, and older ones at the other. ExternallyRemediated is begun by the
//! MachineHealthCheck and left to whoever remediates.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ask::Progress;

const OWNER: &str = "OwnerRemediated";
const WAITING: &str = "WaitingForRemediation";
const GIVEN_UP: &str = "Metal3Remediation has given up; the owner of the Machine is to replace it";
/// Type of the condition that the MachineHealthCheck begins and we go on with.
pub(super) const EXTERNAL: &str = "ExternallyRemediated";

/// The conditions of a Machine, both sets, as they are to be; none when they are already.
pub fn told(machine: &Value, progress: Option<&Progress>, hand_over: bool, now: Timestamp) -> Option<Value> {
    let generation = &machine["metadata"]["generation"];
    let mut list = conditions(&machine["status"]["conditions"]);
    match progress {
        Some(Progress { reason, message }) => set(
            &mut list,
            json!({"type": EXTERNAL, "status": "False", "reason": reason, "message": message}),
            generation,
            now,
        ),
        None => list.retain(|condition| condition["type"] != EXTERNAL),
    }
    let mut old = conditions(&machine["status"]["deprecated"]["v1beta1"]["conditions"]);
    if hand_over {
        // One that is already false is worked on by the owner.
        if !is_false(&list) {
            let condition = json!({"type": OWNER, "status": "False", "reason": WAITING, "message": GIVEN_UP});
            set(&mut list, condition, generation, now);
        }
        if !is_false(&old) {
            let condition = json!({
                "type": OWNER, "status": "False", "severity": "Warning", "reason": WAITING, "message": GIVEN_UP,
            });
            set(&mut old, condition, &Value::Null, now);
        }
    }
    let mut status = serde_json::Map::new();
    if list != conditions(&machine["status"]["conditions"]) {
        status.insert("conditions".into(), json!(list));
    }
    if old != conditions(&machine["status"]["deprecated"]["v1beta1"]["conditions"]) {
        status.insert("deprecated".into(), json!({"v1beta1": {"conditions": old}}));
    }
    (!status.is_empty()).then_some(Value::Object(status))
}

fn conditions(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

fn is_false(list: &[Value]) -> bool {
    let owner = list.iter().find(|condition| condition["type"] == OWNER);
    owner.is_some_and(|owner| owner["status"] == "False")
}

/// The transition time moves only when the status does; Cluster API keeps the order of the others.
fn set(list: &mut Vec<Value>, mut new: Value, generation: &Value, now: Timestamp) {
    let known = list.iter().position(|condition| condition["type"] == new["type"]);
    let since = known
        .and_then(|at| list.get(at))
        .filter(|old| old["status"] == new["status"])
        .map(|old| old["lastTransitionTime"].clone());
    new["lastTransitionTime"] = since.unwrap_or_else(|| json!(metal3_api::conditions::time(now)));
    if !generation.is_null() {
        new["observedGeneration"] = generation.clone();
    }
    match known.and_then(|at| list.get_mut(at)) {
        Some(old) => *old = new,
        None => list.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn progress(message: &str) -> Progress {
        Progress {
            reason: "Rebooting",
            message: message.into(),
        }
    }

    fn after(machine: &Value, status: &Value) -> Value {
        let mut machine = machine.clone();
        for (key, value) in status.as_object().unwrap() {
            machine["status"][key] = value.clone();
        }
        machine
    }

    fn summary(list: &Value) -> Vec<String> {
        let words = |condition: &Value| {
            ["type", "status", "reason", "severity"]
                .map(|key| condition[key].as_str().unwrap_or("-").to_owned())
                .join(" ")
        };
        list.as_array().unwrap().iter().map(words).collect()
    }

    #[test]
    fn a_machine_that_is_given_up_is_its_owners_in_both_sets() {
        let machine = json!({
            "metadata": {"generation": 3},
            "status": {
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "NotReady"},
                    {"type": "HealthCheckSucceeded", "status": "False", "reason": "UnhealthyNode"},
                    {"type": "ExternallyRemediated", "status": "False", "reason": "WaitingForRemediation",
                     "lastTransitionTime": "2026-01-01T00:00:00Z"},
                ],
                "deprecated": {"v1beta1": {"conditions": [{"type": "Ready", "status": "True"}], "failureReason": "x"}},
            },
        });
        let status = told(&machine, Some(&progress("given up")), true, at(7)).unwrap();
        assert_eq!(
            summary(&status["conditions"]),
            [
                "Ready False NotReady -",
                "HealthCheckSucceeded False UnhealthyNode -",
                "ExternallyRemediated False Rebooting -",
                "OwnerRemediated False WaitingForRemediation -",
            ]
        );
        assert_eq!(
            status["conditions"][2]["lastTransitionTime"],
            "2026-01-01T00:00:00Z"
        );
        assert_eq!(status["conditions"][3]["observedGeneration"], 3);
        assert_eq!(
            summary(&status["deprecated"]["v1beta1"]["conditions"]),
            [
                "Ready True - -",
                "OwnerRemediated False WaitingForRemediation Warning"
            ]
        );
        let machine = after(&machine, &status);
        assert_eq!(told(&machine, Some(&progress("given up")), true, at(9)), None);
    }

    #[test]
    fn what_the_owner_says_about_its_work_stays_and_a_former_success_does_not() {
        let owner = |status: &str, reason: &str| {
            json!({"status": {
                "conditions": [{"type": "OwnerRemediated", "status": status, "reason": reason}],
                "deprecated": {"v1beta1": {"conditions": [{"type": "OwnerRemediated", "status": status, "reason": reason}]}},
            }})
        };
        let status = told(
            &owner("False", "RemediationDeferred"),
            Some(&progress("x")),
            true,
            at(7),
        );
        let status = status.unwrap();
        assert_eq!(status["conditions"][0]["reason"], "RemediationDeferred");
        assert!(status["deprecated"].is_null());
        let status = told(&owner("True", "Done"), Some(&progress("x")), true, at(7)).unwrap();
        assert_eq!(status["conditions"][0]["reason"], WAITING);
        assert_eq!(
            status["deprecated"]["v1beta1"]["conditions"][0]["reason"],
            WAITING
        );
    }

    #[test]
    fn progress_is_told_when_it_changes_and_taken_back_at_the_end() {
        let machine = json!({"status": {}});
        let machine = after(
            &machine,
            &told(&machine, Some(&progress("a")), false, at(1)).unwrap(),
        );
        assert_eq!(told(&machine, Some(&progress("a")), false, at(2)), None);
        assert!(told(&machine, Some(&progress("b")), false, at(2)).is_some());
        let machine = after(&machine, &told(&machine, None, false, at(3)).unwrap());
        assert_eq!(machine["status"]["conditions"], json!([]));
        assert_eq!(told(&machine, None, false, at(4)), None);
    }
}
