//! What a host waits for, in the words of the contract.

use metal3_api::conditions;
use metal3_api::metal3::host::BareMetalHost;
use metal3_host_core::Wait;
use metal3_rpc::v1;

use super::timestamp;

/// What the host waits for, as its object tells.
pub(super) fn waits(host: &BareMetalHost) -> Option<v1::Wait> {
    // Whether it is overdue depends on when it is asked, which is not told here.
    let wait = metal3_host_core::waits(host, jiff::Timestamp::UNIX_EPOCH)?;
    Some(told(host, &wait))
}

/// A wait of this host, as it is told.
pub(in super::super) fn told(host: &BareMetalHost, wait: &Wait) -> v1::Wait {
    let reason = wait.reason;
    let status = host.status.as_ref();
    let message = status
        .and_then(|status| conditions::find(&status.conditions, "Waiting"))
        .filter(|told| told.reason == reason.code())
        .map_or("", |told| &told.message);
    let (detail, remedy) = parts(message);
    v1::Wait {
        reason: reason.code().to_owned(),
        message: match detail {
            Some(detail) => format!("waiting for {} ({detail})", reason.awaits()),
            None => format!("waiting for {}", reason.awaits()),
        },
        since: wait.since.map(timestamp),
        deadline: wait.deadline.map(timestamp),
        remedy: remedy.unwrap_or_else(|| reason.remedy()).to_owned(),
    }
}

/// What the condition's message says for people beside the times, which have fields of their own here: the detail, and
/// what would help.
fn parts(message: &str) -> (Option<&str>, Option<&str>) {
    let (before, remedy) = match message.split_once("; to help: ") {
        Some((before, remedy)) => (before, Some(remedy)),
        None => (message, None),
    };
    (before.split_once("; ").map(|(_, detail)| detail), remedy)
}

#[cfg(test)]
mod tests {
    use metal3_provisioner::WaitReason;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn times_of_a_wait_are_told_once() {
        let plain = "waiting for x since 2026-01-01T00:00:00Z, at most until y; to help: look";
        assert_eq!(parts(plain), (None, Some("look")));
        let detailed =
            "waiting for x since 2026-01-01T00:00:00Z; failure 2: no route; again; to help: look; call";
        assert_eq!(
            parts(detailed),
            (Some("failure 2: no route; again"), Some("look; call"))
        );
        assert_eq!(parts(""), (None, None));
    }

    fn host(annotations: &Value, waiting: &str) -> BareMetalHost {
        serde_json::from_value(json!({
            "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "metadata": {"name": "a", "annotations": annotations}, "spec": {"online": true},
            "status": {
                "operationalStatus": "OK", "errorMessage": "", "errorCount": 0, "provisioningFailCount": 0,
                "poweredOn": true, "provisioning": {"state": "inspecting", "ID": "i"},
                "conditions": [{
                    "type": "Waiting", "status": waiting, "reason": "InspectionRunning", "message": "waiting for x; detail; to help: ask",
                    "lastTransitionTime": "2026-01-01T10:00:00Z",
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_wait_has_a_begin_a_bound_and_a_remedy() {
        let wait = waits(&host(&json!({}), "True")).unwrap();
        assert_eq!(wait.reason, "InspectionRunning");
        let (since, deadline) = (wait.since.unwrap(), wait.deadline.unwrap());
        assert_eq!(deadline.seconds - since.seconds, 3600);
        assert!(wait.message.ends_with("(detail)"), "{wait:?}");
        assert_eq!(wait.remedy, "ask");
        assert_eq!(waits(&host(&json!({}), "False")), None);
    }

    #[test]
    fn a_paused_host_waits_for_whoever_paused_it() {
        let wait = waits(&host(&json!({"baremetalhost.metal3.io/paused": ""}), "True")).unwrap();
        assert_eq!(wait.reason, WaitReason::Paused.code());
        assert_eq!((wait.since, wait.deadline), (None, None));
        assert_eq!(wait.remedy, WaitReason::Paused.remedy());
        assert!(!wait.message.contains("detail"), "{wait:?}");
    }
}
