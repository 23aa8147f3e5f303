//! What a verdict counts as, once it is written.

use jiff::{SignedDuration, Timestamp};
use metal3_api::metal3::host::{
    BareMetalHost, BareMetalHostStatus, ErrorType, OperationMetric, ProvisioningState,
};
use metal3_host_core::{Verdict, state_since};
use metal3_provisioner::{FailureCause, HostKey, WaitReason};

use super::HostMetrics;
use super::labels::{Cause, Host, HostError, State, Transition};

/// What is to be counted. Pure: found from the host before and the verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    transitions: Vec<(ProvisioningState, ProvisioningState)>,
    /// The state that was left, and how long the host was in it.
    left: Option<(ProvisioningState, SignedDuration)>,
    operations: Vec<(Operation, SignedDuration)>,
    failed: Option<(ErrorType, FailureCause)>,
    /// What the host waits for, and whether that is about its deprovisioning.
    waits: Vec<(WaitReason, bool)>,
    deleting: bool,
    credentials_updated: bool,
    registered: bool,
    gave_up: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Register,
    Inspect,
    Provision,
    Deprovision,
}

impl Facts {
    /// What the verdict about this host counts as.
    pub(crate) fn of(host: &BareMetalHost, verdict: &Verdict, now: Timestamp) -> Self {
        let blank = BareMetalHostStatus::default();
        let before = host.status.as_ref().unwrap_or(&blank);
        let after = &verdict.status;
        let left = verdict.transitions.first().and_then(|(from, _)| {
            let since = state_since(before).filter(|_| busy(from))?;
            Some((from.clone(), now.duration_since(since)))
        });
        let good = |status: &BareMetalHostStatus| status.good_credentials.clone();
        Self {
            transitions: verdict.transitions.clone(),
            left,
            operations: operations(before, after),
            failed: verdict
                .failure
                .zip(after.error_type)
                .map(|(cause, type_)| (type_, cause)),
            waits: verdict
                .next
                .reason()
                .map(|reason| (reason, leaving(&after.provisioning.state)))
                .into_iter()
                .collect(),
            deleting: host.metadata.deletion_timestamp.is_some(),
            credentials_updated: good(before) != good(after),
            registered: before.provisioning.id != after.provisioning.id && !after.provisioning.id.is_empty(),
            gave_up: verdict
                .events
                .iter()
                .map(|event| event.reason)
                .filter(|reason| reason.starts_with("DeletedWithout"))
                .collect(),
        }
    }
}

/// States in which something is done: how long a host rests tells nothing.
fn busy(state: &ProvisioningState) -> bool {
    use ProvisioningState as S;
    match state {
        S::Registering
        | S::MatchProfile
        | S::Inspecting
        | S::Preparing
        | S::Provisioning
        | S::Deprovisioning
        | S::PoweringOffBeforeDelete
        | S::Deleting => true,
        S::None
        | S::Unmanaged
        | S::Ready
        | S::Available
        | S::Provisioned
        | S::ExternallyProvisioned
        | S::Unknown(_) => false,
    }
}

/// States from which a host that waits for room goes on to be deprovisioned.
fn leaving(state: &ProvisioningState) -> bool {
    matches!(
        state,
        ProvisioningState::Provisioned
            | ProvisioningState::ExternallyProvisioned
            | ProvisioningState::Provisioning
            | ProvisioningState::Deprovisioning
    )
}

/// The long operations that ended in this pass.
fn operations(before: &BareMetalHostStatus, after: &BareMetalHostStatus) -> Vec<(Operation, SignedDuration)> {
    let (old, new) = (&before.operation_history, &after.operation_history);
    let ended = |old: &OperationMetric, new: &OperationMetric| {
        let (start, end) = (new.start.as_ref()?, new.end.as_ref()?);
        (old.end.as_ref() != Some(end)).then(|| end.0.duration_since(start.0))
    };
    [
        (Operation::Register, ended(&old.register, &new.register)),
        (Operation::Inspect, ended(&old.inspect, &new.inspect)),
        (Operation::Provision, ended(&old.provision, &new.provision)),
        (Operation::Deprovision, ended(&old.deprovision, &new.deprovision)),
    ]
    .into_iter()
    .filter_map(|(operation, took)| Some((operation, took?)))
    .collect()
}

impl HostMetrics {
    /// Counts what a verdict did, once it is written.
    pub(crate) fn count(&self, key: &HostKey, facts: &Facts) {
        for (from, to) in &facts.transitions {
            let labels = Transition {
                prev_state: from.to_string(),
                new_state: to.to_string(),
            };
            self.transitions.get_or_create(&labels).inc();
        }
        if let Some((state, took)) = &facts.left {
            let labels = State {
                state: state.to_string(),
            };
            self.state_seconds
                .get_or_create(&labels)
                .observe(took.as_secs_f64());
        }
        for (operation, took) in &facts.operations {
            let family = match operation {
                Operation::Register => &self.hosts.register,
                Operation::Inspect => &self.hosts.inspect,
                Operation::Provision => &self.hosts.provision,
                Operation::Deprovision => &self.hosts.deprovision,
            };
            family.get_or_create(&Host::of(key)).observe(took.as_secs_f64());
        }
        if let Some((type_, cause)) = facts.failed {
            self.failed(type_, cause);
        }
        for (reason, leaving) in &facts.waits {
            self.waits(key, *reason, *leaving, facts.deleting);
        }
        for (happened, counter) in [
            (facts.credentials_updated, &self.credentials_updated),
            (facts.registered, &self.registration_required),
        ] {
            if happened {
                counter.inc();
            }
        }
        for reason in &facts.gave_up {
            match *reason {
                "DeletedWithoutDeprovisioning" => self.deleted_unclean.inc(),
                "DeletedWithoutPowerOff" => self.deleted_powered.inc(),
                _ => 0,
            };
        }
    }

    fn failed(&self, type_: ErrorType, cause: FailureCause) {
        let labels = HostError {
            error_type: type_.event_reason(),
        };
        self.host_errors.get_or_create(&labels).inc();
        let labels = Cause {
            error_type: type_.event_reason(),
            cause: cause.code(),
        };
        self.failures.get_or_create(&labels).inc();
        if type_ == ErrorType::Registration {
            self.no_management_access.inc();
        }
    }

    fn waits(&self, key: &HostKey, reason: WaitReason, leaving: bool, deleting: bool) {
        match reason {
            WaitReason::NoCapacity if leaving => {
                self.hosts
                    .delayed_deprovisioning
                    .get_or_create(&Host::of(key))
                    .inc();
            }
            WaitReason::NoCapacity => {
                self.hosts
                    .delayed_provisioning
                    .get_or_create(&Host::of(key))
                    .inc();
            }
            WaitReason::BmcSecretMissing => {
                self.credentials_missing.inc();
            }
            WaitReason::BmcAccessIncomplete => {
                self.credentials_invalid.inc();
            }
            WaitReason::Unmanaged => {
                self.unmanaged.inc();
            }
            WaitReason::PreprovisioningImage => {
                self.waiting_for_image.inc();
            }
            WaitReason::Detached if deleting => {
                self.deletion_delayed.inc();
            }
            _ => {}
        }
    }
}

/// One of each, for tests.
#[cfg(test)]
pub(super) fn everything() -> Facts {
    let long = SignedDuration::from_secs(400);
    let all = [
        Operation::Register,
        Operation::Inspect,
        Operation::Provision,
        Operation::Deprovision,
    ];
    Facts {
        transitions: vec![(ProvisioningState::Inspecting, ProvisioningState::Preparing)],
        left: Some((ProvisioningState::Inspecting, long)),
        operations: all.map(|operation| (operation, long)).into(),
        failed: Some((ErrorType::Inspection, FailureCause::InspectionTimeout)),
        waits: vec![(WaitReason::NoCapacity, false), (WaitReason::NoCapacity, true)],
        deleting: true,
        credentials_updated: true,
        registered: true,
        gave_up: vec!["DeletedWithoutDeprovisioning", "DeletedWithoutPowerOff"],
    }
}

#[cfg(test)]
mod tests {
    use metal3_host_core::{BmcSecret, Event, EventKind, HostView, Settings, unavailable};
    use serde_json::{Value, json};

    use super::*;

    fn host(state: &str, more: &Value) -> BareMetalHost {
        let mut status = json!({
            "operationalStatus": "OK", "errorMessage": "", "errorCount": 0, "provisioningFailCount": 0,
            "poweredOn": true, "provisioning": {"state": state, "ID": "a"},
        });
        for (name, value) in more.as_object().unwrap() {
            status[name] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "metadata": {"name": "a", "namespace": "b"}, "spec": {"online": true}, "status": status,
        }))
        .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A verdict that changes nothing but what the test changes.
    fn verdict(host: &BareMetalHost) -> Verdict {
        let settings = Settings::default();
        let view = HostView {
            host,
            hardware: None,
            secret: BmcSecret::NotNeeded,
            settings: &settings,
        };
        unavailable(&view, "no route", at(0))
    }

    #[test]
    fn a_verdict_that_ends_an_operation_tells_how_long_it_took() {
        let started = json!({"operationHistory": {
            "register": {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:00:05Z"},
            "inspect": {"start": "1970-01-01T00:00:05Z", "end": null},
            "provision": {"start": null, "end": null}, "deprovision": {"start": null, "end": null},
        }});
        let host = host("inspecting", &started);
        let mut verdict = verdict(&host);
        assert_eq!(Facts::of(&host, &verdict, at(105)).operations, []);
        verdict.status.operation_history.inspect.end = Some(metal3_api::conditions::time(at(105)));
        verdict.status.provisioning.state = ProvisioningState::Preparing;
        verdict.transitions = vec![(ProvisioningState::Inspecting, ProvisioningState::Preparing)];
        let facts = Facts::of(&host, &verdict, at(106));
        assert_eq!(
            facts.operations,
            [(Operation::Inspect, SignedDuration::from_secs(100))]
        );
        let left = (ProvisioningState::Inspecting, SignedDuration::from_secs(101));
        assert_eq!(facts.left, Some(left));
    }

    #[test]
    fn a_failure_is_counted_once_with_its_cause() {
        let host = host(
            "inspecting",
            &json!({"errorType": "inspection error", "errorMessage": "x"}),
        );
        let mut verdict = verdict(&host);
        assert_eq!(Facts::of(&host, &verdict, at(1)).failed, None);
        verdict.failure = Some(FailureCause::NoAgent);
        let failed = Facts::of(&host, &verdict, at(1)).failed;
        assert_eq!(failed, Some((ErrorType::Inspection, FailureCause::NoAgent)));
    }

    #[test]
    fn a_new_node_and_new_credentials_are_seen_in_the_status() {
        let host = host("registering", &json!({}));
        let mut verdict = verdict(&host);
        verdict.status.provisioning.id = "b".into();
        verdict.status.good_credentials.credentials_version = Some("2".into());
        verdict.events.push(Event {
            kind: EventKind::Warning,
            reason: "DeletedWithoutPowerOff",
            message: String::new(),
        });
        let facts = Facts::of(&host, &verdict, at(1));
        assert!(facts.registered && facts.credentials_updated);
        assert_eq!(facts.gave_up, ["DeletedWithoutPowerOff"]);
        assert_eq!(facts.waits, [(WaitReason::BackendNotReady, false)]);
    }

    #[test]
    fn what_is_waited_for_decides_what_is_counted() {
        let (metrics, key) = (HostMetrics::default(), HostKey::new("b", "a"));
        for (reason, deleting) in [
            (WaitReason::BmcSecretMissing, false),
            (WaitReason::BmcAccessIncomplete, false),
            (WaitReason::Unmanaged, false),
            (WaitReason::PreprovisioningImage, false),
            (WaitReason::Detached, false),
            (WaitReason::Detached, true),
        ] {
            let facts = Facts {
                waits: vec![(reason, false)],
                deleting,
                ..Facts::default()
            };
            metrics.count(&key, &facts);
        }
        for counter in [
            &metrics.credentials_missing,
            &metrics.credentials_invalid,
            &metrics.unmanaged,
            &metrics.waiting_for_image,
            &metrics.deletion_delayed,
        ] {
            assert_eq!(counter.get(), 1);
        }
    }
}
