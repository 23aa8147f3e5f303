//! The conditions of a machine as Cluster API v1beta1 shows them: other names, and how bad each is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use metal3_api::infra::v1beta2::{DeprecatedStatus, V1Beta1Condition};

use crate::condition::Type;

const INFO: &str = "Info";
const WARNING: &str = "Warning";
const ERROR: &str = "Error";

/// The part of the status that goes away with v1beta1; what others wrote there stays.
pub(super) fn deprecated(
    conditions: &[Condition],
    stored: Option<&DeprecatedStatus>,
) -> Option<DeprecatedStatus> {
    let mut list: Vec<V1Beta1Condition> = conditions.iter().filter_map(old).collect();
    // The summary first, as it is read.
    list.sort_by(|a, b| (a.type_ != "Ready", &a.type_).cmp(&(b.type_ != "Ready", &b.type_)));
    if let Some(worst) = worst(&list)
        && let Some(ready) = list.iter_mut().find(|condition| condition.type_ == "Ready")
    {
        (ready.reason, ready.severity) = worst;
    }
    let mut deprecated = stored.cloned().unwrap_or_default();
    if !list.is_empty() || deprecated.v1beta1.is_some() {
        deprecated.v1beta1.get_or_insert_default().conditions = list;
    }
    (deprecated != DeprecatedStatus::default()).then_some(deprecated)
}

/// Reason and severity of the condition that most needs a person.
fn worst(list: &[V1Beta1Condition]) -> Option<(Option<String>, Option<String>)> {
    let rank = |condition: &&V1Beta1Condition| match condition.severity.as_deref() {
        Some(ERROR) => 3,
        Some(WARNING) => 2,
        Some(INFO) => 1,
        _ => 0,
    };
    let parts = list.iter().filter(|condition| condition.type_ != "Ready");
    let worst = parts.rev().max_by_key(rank)?;
    (worst.status == "False").then(|| (worst.reason.clone(), worst.severity.clone()))
}

/// One condition; `None` for those that v1beta1 does not have.
fn old(condition: &Condition) -> Option<V1Beta1Condition> {
    let type_ = match condition.type_.as_str() {
        known if known == Type::Associated.as_str() => "AssociateBMH",
        known if known == Type::MetaData.as_str() => "KubernetesNodeReady",
        known
            if [Type::Ready, Type::DataReady, Type::HostProvisioned]
                .iter()
                .any(|type_| type_.as_str() == known) =>
        {
            known
        }
        _ => return None,
    };
    let bad = condition.status == "False";
    let (reason, severity) = reason(&condition.reason);
    Some(V1Beta1Condition {
        type_: type_.to_owned(),
        status: condition.status.clone(),
        severity: bad.then(|| severity.to_owned()),
        last_transition_time: condition.last_transition_time.clone(),
        reason: (condition.status != "True").then(|| reason.to_owned()),
        message: (!condition.message.is_empty() && condition.status != "True")
            .then(|| condition.message.clone()),
    })
}

/// The old word for a reason, and how bad it is.
fn reason(reason: &str) -> (&str, &'static str) {
    match reason {
        "WaitingForMetal3MachineOwnerRef" => ("WaitingForM3MachineOwnerRef", INFO),
        "WaitingForClusterInfrastructureReady" => ("WaitingForClusterInfrastructure", INFO),
        "WaitingForBootstrapData" => ("WaitingForBootstrapReady", INFO),
        "Paused" => ("Metal3MachinePaused", INFO),
        "AssociateBareMetalHostFailed" => ("AssociateBMHFailed", ERROR),
        // The provider ID is not on the Node yet.
        "CreateError" | "UpdateError" => ("SettingProviderIDOnNodeFailed", INFO),
        "HostServiceUnavailable" | "HostServiceDenied" => (reason, WARNING),
        "HostMissing"
        | "HostTaken"
        | "HostRunsOther"
        | "SeveralHosts"
        | "InvalidConfiguration"
        | "HostError" => (reason, ERROR),
        _ => (reason, INFO),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use metal3_api::infra::v1beta2::V1Beta1DeprecatedStatus;

    use super::*;

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: "why".into(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    /// `Type Status Reason Severity` of each.
    fn shown(conditions: &[Condition]) -> Vec<String> {
        let list = deprecated(conditions, None).unwrap().v1beta1.unwrap().conditions;
        list.iter()
            .map(|condition| {
                let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".into());
                format!(
                    "{} {} {} {}",
                    condition.type_,
                    condition.status,
                    word(&condition.reason),
                    word(&condition.severity)
                )
            })
            .collect()
    }

    #[test]
    fn each_condition_has_its_old_name_reason_and_severity_and_ready_the_worst() {
        let conditions = [
            condition("Ready", "False", "NotReady"),
            condition("AssociateBareMetalHost", "False", "AssociateBareMetalHostFailed"),
            condition("AssociateMetal3MachineMetaData", "False", "Deleting"),
            condition("Metal3DataReady", "False", "WaitingForMetal3Data"),
            condition("Paused", "False", "NotPaused"),
        ];
        assert_eq!(
            shown(&conditions),
            [
                "Ready False AssociateBMHFailed Error",
                "AssociateBMH False AssociateBMHFailed Error",
                "KubernetesNodeReady False Deleting Info",
                "Metal3DataReady False WaitingForMetal3Data Info",
            ]
        );
    }

    #[test]
    fn a_machine_that_is_paused_without_a_host_says_so_in_the_old_word() {
        let paused = condition("AssociateBareMetalHost", "False", "Paused");
        assert_eq!(shown(&[paused]), ["AssociateBMH False Metal3MachinePaused Info"]);
    }

    #[test]
    fn what_is_well_needs_neither_reason_nor_severity() {
        let conditions = [
            condition("Ready", "True", "Ready"),
            condition("AssociateBareMetalHost", "True", "AssociateBareMetalHostSuccess"),
        ];
        assert_eq!(shown(&conditions), ["Ready True - -", "AssociateBMH True - -"]);
    }

    #[test]
    fn failure_fields_of_former_versions_stay() {
        let stored = DeprecatedStatus {
            v1beta1: Some(V1Beta1DeprecatedStatus {
                failure_reason: Some("UpdateError".into()),
                ..V1Beta1DeprecatedStatus::default()
            }),
        };
        let after = deprecated(&[], Some(&stored)).unwrap();
        assert_eq!(
            after.v1beta1.unwrap().failure_reason.as_deref(),
            Some("UpdateError")
        );
    }
}
