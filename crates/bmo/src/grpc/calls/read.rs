//! What is told of one host beyond its projection.

use std::collections::BTreeMap;

use jiff::Timestamp;
use metal3_host_core::{Explanation, explain};
use metal3_provisioner::WaitReason;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::HostRef;
use tonic::Status;

use super::super::intent::{Seen, title};
use super::super::project::{timestamp, told_wait};
use super::super::request::{host_key, not_found, stuck};
use super::super::service::Service;

impl Service {
    pub(in super::super) async fn inventory(
        &self,
        request: v1::GetInventoryRequest,
    ) -> Result<v1::GetInventoryResponse, Status> {
        let seen = self.look(request.host.as_ref()).await?;
        inventory(seen, &request)
    }

    pub(in super::super) async fn explain(
        &self,
        request: v1::ExplainHostRequest,
    ) -> Result<v1::ExplainHostResponse, Status> {
        let seen = self.look(request.host.as_ref()).await?;
        Ok(explanation(seen, Timestamp::now()))
    }

    /// The host as Kubernetes has it now.
    async fn look(&self, host: Option<&HostRef>) -> Result<Seen, Status> {
        let key = host_key(host)?;
        let seen = self.store.read(&key, host).await?;
        seen.ok_or_else(|| not_found(&key))
    }
}

/// What inspection found of a host, and what else was asked for.
///
/// # Errors
/// `FAILED_PRECONDITION` when it was not inspected yet.
pub(in super::super) fn inventory(
    seen: Seen,
    request: &v1::GetInventoryRequest,
) -> Result<v1::GetInventoryResponse, Status> {
    let Some(inventory) = seen.host.inventory else {
        let title = title(&seen.host);
        return Err(Reason::NotInspected.status(
            format!("host {title} was not inspected yet: wait until it is available"),
            [("host", title.as_str())],
        ));
    };
    let pick = |all: Option<&BTreeMap<String, String>>, keys: &[String]| {
        let all = all.into_iter().flatten();
        all.filter(|(key, _)| keys.contains(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let object = &seen.object;
    Ok(v1::GetInventoryResponse {
        host: seen.host.r#ref,
        boot_mac_address: object.spec.boot_mac_address.clone().unwrap_or_default(),
        inventory: Some(inventory),
        labels: pick(object.metadata.labels.as_ref(), &request.label_keys),
        annotations: pick(object.metadata.annotations.as_ref(), &request.annotation_keys),
    })
}

/// Why a host is where it is.
pub(in super::super) fn explanation(seen: Seen, now: Timestamp) -> v1::ExplainHostResponse {
    let told = explain(&seen.object, now);
    let wait = told.wait.as_ref().map(|wait| told_wait(&seen.object, wait));
    let in_step = told.state_since.map(|since| now.duration_since(since));
    v1::ExplainHostResponse {
        step: told.state.to_string(),
        last_backend_error: seen.host.error_message.clone(),
        next_attempt: told
            .wait
            .as_ref()
            .and_then(|wait| wait.next_attempt)
            .map(timestamp),
        in_step: in_step.map(|long| prost_types::Duration {
            seconds: long.as_secs(),
            nanos: long.subsec_nanos(),
        }),
        cause: told
            .failure
            .as_ref()
            .map(|failure| failure.cause.code().to_owned())
            .unwrap_or_default(),
        remedy: remedy(&told, wait.as_ref()),
        stuck: stuck(&seen.host, now),
        wait,
        host: Some(seen.host),
    }
}

/// That of the failure while it is what is waited for; the wait's own one knows the case better than the catalogue.
fn remedy(told: &Explanation, wait: Option<&v1::Wait>) -> String {
    let backs_off = told.wait.as_ref().map(|wait| wait.reason) == Some(WaitReason::RetryBackoff);
    match wait {
        Some(wait) if !backs_off => wait.remedy.clone(),
        _ => told.remedy().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use metal3_provisioner::FailureCause;
    use serde_json::{Value, json};

    use super::super::super::intent::tests::seen;
    use super::*;

    #[test]
    fn an_inventory_has_the_labels_and_annotations_asked_for() {
        let host = seen(&json!({
            "metadata": {"labels": {"rack": "7", "row": "1"}, "annotations": {"note": "x", "other": "y"}},
            "spec": {"bootMACAddress": "52:54:00:00:00:01"},
            "status": {"hardware": {"hostname": "h", "nics": [{"name": "eth0", "mac": "52:54:00:00:00:01"}]}},
        }));
        let request = v1::GetInventoryRequest {
            label_keys: vec!["rack".into(), "none".into()],
            annotation_keys: vec!["note".into()],
            ..Default::default()
        };
        let answer = inventory(host, &request).unwrap();
        assert_eq!(answer.boot_mac_address, "52:54:00:00:00:01");
        assert_eq!(answer.labels, [("rack".to_owned(), "7".to_owned())].into());
        assert_eq!(answer.annotations, [("note".to_owned(), "x".to_owned())].into());
        assert_eq!(answer.inventory.unwrap().nics[0].name, "eth0");
    }

    #[test]
    fn a_host_that_was_not_inspected_says_so() {
        let status = inventory(seen(&json!({})), &v1::GetInventoryRequest::default()).unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::NotInspected));
    }

    fn explained(status: &Value, now: &str) -> v1::ExplainHostResponse {
        explanation(seen(&json!({"status": status})), now.parse().unwrap())
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!([{
            "type": "Waiting", "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T10:00:00Z",
        }])
    }

    #[test]
    fn an_explanation_tells_step_wait_and_remedy() {
        let status = json!({
            "provisioning": {"state": "inspecting"},
            "conditions": waiting("InspectionRunning", "waiting for x; since; to help: watch the console"),
            "operationHistory": {
                "register": {"start": null, "end": null}, "inspect": {"start": "2026-01-01T09:59:00Z", "end": null},
                "provision": {"start": null, "end": null}, "deprovision": {"start": null, "end": null},
            },
        });
        let early = explained(&status, "2026-01-01T10:30:00Z");
        assert_eq!((early.step.as_str(), early.stuck), ("inspecting", false));
        assert_eq!(early.in_step.unwrap().seconds, 31 * 60);
        assert_eq!(early.wait.unwrap().reason, "InspectionRunning");
        assert_eq!(early.remedy, "watch the console");
        assert_eq!((early.cause.as_str(), early.next_attempt), ("", None));
        assert!(
            explained(&status, "2026-01-01T11:00:01Z").stuck,
            "past its deadline"
        );
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_the_backend_with_its_cause_and_the_next_attempt() {
        let message = "timeout reached while inspecting the node";
        let status = json!({
            "operationalStatus": "error", "errorType": "inspection error", "errorCount": 3, "errorMessage": message,
            "conditions": waiting("RetryBackoff", "waiting for the back-off; to help: wait"),
        });
        let told = explained(&status, "2026-01-01T10:01:00Z");
        assert_eq!(told.last_backend_error, message);
        assert_eq!(told.cause, "InspectionTimeout");
        assert_eq!(told.remedy, FailureCause::InspectionTimeout.remedy());
        let next = told.next_attempt.unwrap().seconds - told.wait.unwrap().since.unwrap().seconds;
        assert_eq!(next, 8 * 60);
        assert!(told.stuck, "it is in error");
    }

    #[test]
    fn a_host_at_rest_has_nothing_to_explain() {
        let told = explained(&json!({}), "2026-01-01T10:00:00Z");
        assert_eq!((told.step.as_str(), told.stuck), ("available", false));
        assert_eq!(
            (told.wait, told.remedy.as_str(), told.cause.as_str()),
            (None, "", "")
        );
    }
}
