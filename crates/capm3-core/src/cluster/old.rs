//! The state of a cluster as Cluster API v1beta1 shows it: conditions with severity, and what failed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use metal3_api::conditions::find;
use metal3_api::infra::v1beta2::{
    Metal3ClusterDeprecatedStatus, Metal3ClusterV1Beta1DeprecatedStatus, V1Beta1Condition,
};

use crate::condition::{Reason, Type};

/// The part of the status that goes away with v1beta1, from the conditions of today.
pub(super) fn deprecated(
    conditions: &[Condition],
    stored: Option<&Metal3ClusterDeprecatedStatus>,
) -> Option<Metal3ClusterDeprecatedStatus> {
    let infrastructure = find(conditions, Type::InfrastructureReady.as_str());
    let known = [find(conditions, Type::Ready.as_str()), infrastructure];
    let list: Vec<V1Beta1Condition> = known
        .into_iter()
        .flatten()
        // The summary of one condition has its reason.
        .map(|condition| old(condition, infrastructure.unwrap_or(condition)))
        .collect();
    let mut part = stored
        .and_then(|stored| stored.v1beta1.clone())
        .unwrap_or_default();
    part.conditions = list;
    let ours = Reason::InvalidConfiguration.as_str();
    match infrastructure.filter(|condition| condition.reason == ours) {
        Some(condition) => {
            part.failure_reason = Some(ours.to_owned());
            part.failure_message = Some(condition.message.clone());
        }
        // Corrected. What somebody else has written there stays.
        None if part.failure_reason.as_deref() == Some(ours) => {
            part.failure_reason = None;
            part.failure_message = None;
        }
        None => {}
    }
    (part != Metal3ClusterV1Beta1DeprecatedStatus::default())
        .then_some(Metal3ClusterDeprecatedStatus { v1beta1: Some(part) })
}

fn old(condition: &Condition, cause: &Condition) -> V1Beta1Condition {
    let well = condition.status == "True";
    let (reason, severity) = match cause.reason.as_str() {
        reason if reason == Reason::InvalidConfiguration.as_str() => ("ControlPlaneEndpointFailed", "Error"),
        reason => (reason, "Info"),
    };
    V1Beta1Condition {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        // Only what is False has one.
        severity: (condition.status == "False").then(|| severity.to_owned()),
        last_transition_time: condition.last_transition_time.clone(),
        reason: (!well).then(|| reason.to_owned()),
        message: (!well && !condition.message.is_empty()).then(|| condition.message.clone()),
    }
}
