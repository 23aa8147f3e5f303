//! Why a host is where it is, from the object alone: for metrics, and for whoever asks.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use metal3_api::conditions;
use metal3_api::metal3::host::{
    BareMetalHost, BareMetalHostStatus, ErrorType, OperationalStatus, ProvisioningState,
};
use metal3_api::names;
use metal3_provisioner::{FailureCause, WaitReason};

use crate::conditions::{DELETING, WAITING};
use crate::{backoff_minutes, is_paused};

/// Why a host is where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Where the host is in its life.
    pub state: ProvisioningState,
    /// Since when, as far as the object tells.
    pub state_since: Option<Timestamp>,
    /// Summary.
    pub operational_status: OperationalStatus,
    /// What it waits for; `None`: nothing is to be done, or a pass is about to do it.
    pub wait: Option<Wait>,
    /// The failure that is recorded.
    pub failure: Option<Failure>,
}

/// What a host waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The reason; its code, what is awaited and its remedy are in the catalogue.
    pub reason: WaitReason,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it should be over at the latest; `None`: when the user acts.
    pub deadline: Option<Timestamp>,
    /// The deadline has passed.
    pub overdue: bool,
    /// For a failure that is tried again: when at the latest.
    pub next_attempt: Option<Timestamp>,
}

/// A failure that is recorded on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub operation: ErrorType,
    /// What it means, as far as the message is understood.
    pub cause: FailureCause,
    /// The words of the backend.
    pub message: String,
    /// Failures in a row.
    pub count: i64,
}

impl Explanation {
    /// One word for all of it: what is waited for, or what failed.
    pub fn code(&self) -> Option<&'static str> {
        let wait = self.wait.as_ref().map(|wait| wait.reason);
        let failed = self.failure.as_ref().map(|failure| failure.cause.code());
        match wait {
            Some(WaitReason::RetryBackoff) => failed.or(Some(WaitReason::RetryBackoff.code())),
            Some(reason) => Some(reason.code()),
            None => failed,
        }
    }

    /// What a user can do about it.
    pub fn remedy(&self) -> Option<&'static str> {
        let wait = self.wait.as_ref().map(|wait| wait.reason);
        let failed = self.failure.as_ref().map(|failure| failure.cause.remedy());
        match wait {
            Some(WaitReason::RetryBackoff) => failed.or(Some(WaitReason::RetryBackoff.remedy())),
            Some(reason) => Some(reason.remedy()),
            None => failed,
        }
    }
}

/// Says why a host is where it is.
pub fn explain(host: &BareMetalHost, now: Timestamp) -> Explanation {
    let blank = BareMetalHostStatus::default();
    let status = host.status.as_ref().unwrap_or(&blank);
    Explanation {
        state: status.provisioning.state.clone(),
        state_since: state_since(status),
        operational_status: status.operational_status,
        wait: wait(host, status, now),
        failure: status.error_type.map(|operation| Failure {
            operation,
            cause: FailureCause::of(operation, &status.error_message),
            message: status.error_message.clone(),
            count: status.error_count,
        }),
    }
}

/// What a host waits for: cheap enough to be asked of all hosts at once.
pub fn waits(host: &BareMetalHost, now: Timestamp) -> Option<Wait> {
    host.status
        .as_ref()
        .map_or_else(|| paused(host), |status| wait(host, status, now))
}

fn wait(host: &BareMetalHost, status: &BareMetalHostStatus, now: Timestamp) -> Option<Wait> {
    // What a paused host waited for before may be long over: nobody looks.
    if let Some(paused) = paused(host) {
        return Some(paused);
    }
    let told = conditions::find(&status.conditions, WAITING)
        .filter(|told| told.status == "True")
        .and_then(|told| Some((WaitReason::from_code(&told.reason)?, told.last_transition_time.0)));
    let Some((reason, since)) = told else {
        return held_off(host, status).then(|| until_told(WaitReason::HeldOff));
    };
    let after = |budget: SignedDuration| since.checked_add(budget).ok();
    let deadline = reason.budget().and_then(after);
    Some(Wait {
        reason,
        since: Some(since),
        deadline,
        overdue: deadline.is_some_and(|deadline| deadline < now),
        next_attempt: (reason == WaitReason::RetryBackoff)
            .then(|| {
                let attempt = u32::try_from(status.error_count).unwrap_or(u32::MAX);
                after(SignedDuration::from_mins(backoff_minutes(attempt)))
            })
            .flatten(),
    })
}

/// A wait that nothing but a user ends, and whose begin nobody wrote down.
const fn until_told(reason: WaitReason) -> Wait {
    Wait {
        reason,
        since: None,
        deadline: None,
        overdue: false,
        next_attempt: None,
    }
}

fn paused(host: &BareMetalHost) -> Option<Wait> {
    is_paused(host).then(|| until_told(WaitReason::Paused))
}

/// A client that reboots a host in phases keeps it off with an annotation of its own.
fn held_off(host: &BareMetalHost, status: &BareMetalHostStatus) -> bool {
    let provisioned = matches!(
        status.provisioning.state,
        ProvisioningState::Provisioned | ProvisioningState::ExternallyProvisioned
    );
    let mut asked = host.metadata.annotations.iter().flat_map(|all| all.keys());
    provisioned
        && host.spec.online
        && !status.powered_on
        && asked.any(|name| {
            name.strip_prefix(names::ANNOTATION_REBOOT)
                .is_some_and(|client| client.starts_with('/'))
        })
}

/// Since when a host is in its state. Each state leaves another trace.
pub fn state_since(status: &BareMetalHostStatus) -> Option<Timestamp> {
    use ProvisioningState as S;
    let history = &status.operation_history;
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    let since = |condition: &str| {
        conditions::find(&status.conditions, condition).map(|found| found.last_transition_time.0)
    };
    match &status.provisioning.state {
        S::Registering => time(&history.register.start),
        S::Inspecting => time(&history.inspect.start),
        S::Provisioning => time(&history.provision.start),
        S::Deprovisioning => time(&history.deprovision.start),
        // After another operation, or after a rest.
        S::MatchProfile | S::Preparing => [
            time(&history.register.end),
            time(&history.inspect.end),
            since("Progressing"),
        ]
        .into_iter()
        .flatten()
        .max(),
        S::Ready | S::Available => since("AvailableForProvisioning"),
        S::Provisioned | S::ExternallyProvisioned => since("Provisioned"),
        S::PoweringOffBeforeDelete | S::Deleting => since(DELETING),
        S::None | S::Unmanaged | S::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn host(annotations: &Value, status: &Value) -> BareMetalHost {
        let mut full = json!({
            "operationalStatus": "OK", "errorMessage": "", "errorCount": 0, "provisioningFailCount": 0,
            "poweredOn": true,
            "provisioning": {"state": "inspecting", "ID": "a"},
        });
        for (name, value) in status.as_object().unwrap() {
            full[name] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "metadata": {"name": "a", "namespace": "b", "annotations": annotations},
            "spec": {"online": true},
            "status": full,
        }))
        .unwrap()
    }

    fn waiting(reason: &str, since: &str) -> Value {
        json!({
            "type": "Waiting", "status": "True", "reason": reason, "message": "", "lastTransitionTime": since,
        })
    }

    #[test]
    fn a_wait_is_overdue_once_its_budget_is_spent() {
        let status = json!({"conditions": [waiting("InspectionRunning", "2026-01-01T10:00:00Z")]});
        let host = host(&json!({}), &status);
        let wait = |now| explain(&host, at(now)).wait.unwrap();
        let early = wait("2026-01-01T11:00:00Z");
        assert_eq!((early.reason, early.overdue), (WaitReason::Inspecting, false));
        assert_eq!(early.deadline, Some(at("2026-01-01T11:00:00Z")));
        assert!(wait("2026-01-01T11:00:01Z").overdue);
        assert_eq!(
            explain(&host, at("2026-01-01T10:00:00Z")).code(),
            Some("InspectionRunning")
        );
    }

    #[test]
    fn a_failure_is_explained_by_its_cause_while_it_is_to_be_tried_again() {
        let status = json!({
            "operationalStatus": "error", "errorType": "inspection error", "errorCount": 3,
            "errorMessage": "timeout reached while inspecting the node",
            "conditions": [waiting("RetryBackoff", "2026-01-01T10:00:00Z")],
        });
        let told = explain(&host(&json!({}), &status), at("2026-01-01T10:00:00Z"));
        assert_eq!(told.code(), Some("InspectionTimeout"));
        assert_eq!(told.remedy(), Some(FailureCause::InspectionTimeout.remedy()));
        let wait = told.wait.unwrap();
        assert_eq!(wait.next_attempt, Some(at("2026-01-01T10:08:00Z")));
        assert_eq!(told.failure.unwrap().count, 3);
    }

    #[test]
    fn what_users_hold_up_has_no_deadline() {
        let now = at("2026-01-01T10:00:00Z");
        let paused = host(
            &json!({"baremetalhost.metal3.io/paused": ""}),
            &json!({"conditions": [waiting("InspectionRunning", "2025-01-01T10:00:00Z")]}),
        );
        let off = json!({"poweredOn": false, "provisioning": {"state": "provisioned", "ID": "a"}});
        let annotations = json!({"reboot.metal3.io/me": ""});
        for (host, reason) in [
            (paused, Some(WaitReason::Paused)),
            (host(&annotations, &off), Some(WaitReason::HeldOff)),
            (host(&json!({"reboot.metal3.io": ""}), &off), None),
        ] {
            let wait = waits(&host, now);
            assert_eq!(wait.as_ref().map(|wait| wait.reason), reason);
            assert!(wait.is_none_or(|wait| !wait.overdue && wait.deadline.is_none()));
        }
    }

    #[test]
    fn a_host_that_waits_for_nothing_has_nothing_to_explain() {
        let no = json!({
            "type": "Waiting", "status": "False", "reason": "NotWaiting", "message": "",
            "lastTransitionTime": "2026-01-01T10:00:00Z",
        });
        let told = explain(
            &host(&json!({}), &json!({"conditions": [no]})),
            at("2026-01-01T10:00:00Z"),
        );
        assert_eq!(
            (told.wait.clone(), told.code(), told.remedy()),
            (None, None, None)
        );
        assert_eq!(waits(&BareMetalHost::default(), at("2026-01-01T10:00:00Z")), None);
    }

    #[test]
    fn every_state_tells_since_when() {
        let condition = |type_: &str, since: &str| json!({"type": type_, "status": "True", "reason": "A", "message": "", "lastTransitionTime": since});
        let conditions = json!([
            condition("AvailableForProvisioning", "2026-01-01T05:00:00Z"),
            condition("Deleting", "2026-01-01T06:00:00Z"),
            condition("Progressing", "2026-01-01T01:00:00Z"),
            condition("Provisioned", "2026-01-01T07:00:00Z"),
        ]);
        let history = json!({
            "register": {"start": "2026-01-01T01:00:00Z", "end": "2026-01-01T02:00:00Z"},
            "inspect": {"start": "2026-01-01T02:00:00Z", "end": "2026-01-01T03:00:00Z"},
            "provision": {"start": "2026-01-01T04:00:00Z", "end": null},
            "deprovision": {"start": null, "end": null},
        });
        for (state, hour) in [
            ("registering", Some(1)),
            ("inspecting", Some(2)),
            ("preparing", Some(3)),
            ("provisioning", Some(4)),
            ("available", Some(5)),
            ("deleting", Some(6)),
            ("provisioned", Some(7)),
            ("deprovisioning", None),
            ("unmanaged", None),
        ] {
            let status = json!({
                "provisioning": {"state": state, "ID": "a"}, "conditions": conditions, "operationHistory": history,
            });
            let host = host(&json!({}), &status);
            let since = state_since(host.status.as_ref().unwrap());
            assert_eq!(
                since,
                hour.map(|hour| at(&format!("2026-01-01T0{hour}:00:00Z"))),
                "{state}"
            );
        }
    }
}
