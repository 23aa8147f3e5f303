//! What is done to a host belongs to the trace of the call that asked for it, until it is done.
//!
//! The call leaves its span on the host, in the write that asks. Nothing is written when that is done: whoever leads then
//! remembers it, and who takes over in between sees one pass too many in an old trace.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt as _;
use metal3_api::metal3::host::{BareMetalHost, ProvisioningState};
use metal3_api::names;
use metal3_host_core::{Ask, Requeue, Verdict};
use metal3_kit::telemetry;
use metal3_provisioner::{HostKey, WaitReason};
use tracing::{Span, field};

/// The calls whose work is done, by their host.
#[derive(Default)]
pub(super) struct Traces {
    done: Mutex<HashMap<HostKey, String>>,
}

impl Traces {
    /// The span of a pass.
    pub(super) fn pass(&self, key: &HostKey, host: &BareMetalHost) -> Span {
        let span = telemetry::reconcile("BareMetalHost", &key.namespace, &key.name);
        if let Some(call) = call(host)
            && self.done().get(key).is_none_or(|done| done != call)
        {
            telemetry::adopt(&span, call);
        }
        span
    }

    /// A pass left the host like this.
    pub(super) fn passed(&self, key: &HostKey, host: &BareMetalHost, rests: bool) {
        if let Some(call) = call(host).filter(|_| rests) {
            self.done().insert(key.clone(), call.to_owned());
        }
    }

    /// The host is gone.
    pub(super) fn forget(&self, key: &HostKey) {
        self.done().remove(key);
    }

    // Whole after every step, so a panic of another thread does not spoil it.
    fn done(&self) -> MutexGuard<'_, HashMap<HostKey, String>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn call(host: &BareMetalHost) -> Option<&str> {
    host.annotations()
        .get(names::ANNOTATION_TRACEPARENT)
        .map(String::as_str)
}

/// Whether nothing is left to do, until somebody wants something else.
pub(super) fn rests(verdict: &Verdict) -> bool {
    let next = &verdict.next;
    is_goal(&verdict.status.provisioning.state) && is_over(next.requeue(), next.reason())
}

/// States that a host stays in.
const fn is_goal(state: &ProvisioningState) -> bool {
    match state {
        ProvisioningState::Unmanaged
        | ProvisioningState::Ready
        | ProvisioningState::Available
        | ProvisioningState::Provisioned
        | ProvisioningState::ExternallyProvisioned => true,
        ProvisioningState::None
        | ProvisioningState::Registering
        | ProvisioningState::MatchProfile
        | ProvisioningState::Inspecting
        | ProvisioningState::Preparing
        | ProvisioningState::Provisioning
        | ProvisioningState::Deprovisioning
        | ProvisioningState::PoweringOffBeforeDelete
        | ProvisioningState::Deleting
        | ProvisioningState::Unknown(_) => false,
    }
}

/// Whether a host in such a state is left alone. Its power may still be about to change, or a change of it have failed.
fn is_over(requeue: Requeue, reason: Option<WaitReason>) -> bool {
    match requeue {
        Requeue::Now | Requeue::Backoff { .. } => false,
        Requeue::OnChange => true,
        // Off is as it was wanted.
        Requeue::After(_) => matches!(
            reason,
            None | Some(WaitReason::HeldOff | WaitReason::PoweredOffByUser)
        ),
    }
}

/// What is asked of the backend, as the name of a span.
pub(super) fn step(ask: &Ask) -> Span {
    let name = match ask {
        Ask::Capacity(_) => "capacity",
        Ask::PreprovisioningImage { .. } => "preprovisioning image",
        Ask::Register(_) => "register",
        Ask::Inspect(_) => "inspect",
        Ask::Adopt(_) => "adopt",
        Ask::Prepare(_) => "prepare",
        Ask::Service(_) => "service",
        Ask::Provision(_) => "provision",
        Ask::Deprovision(_) => "deprovision",
        Ask::Delete => "delete",
        Ask::Detach(_) => "detach",
        Ask::Hardware => "read the power",
        Ask::SetPower(_) => "set the power",
    };
    tracing::info_span!(
        "step",
        otel.name = name,
        otel.status_code = field::Empty,
        step = name
    )
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;

    #[test]
    fn work_is_over_when_the_host_is_left_alone() {
        let soon = Requeue::After(SignedDuration::from_secs(5));
        for (requeue, reason, over) in [
            (soon, None, true),
            (soon, Some(WaitReason::HeldOff), true),
            (soon, Some(WaitReason::PowerChanging), false),
            (Requeue::Now, None, false),
            (Requeue::Now, Some(WaitReason::PowerChanging), false),
            (
                Requeue::Backoff { attempt: 1 },
                Some(WaitReason::RetryBackoff),
                false,
            ),
            (Requeue::OnChange, None, true),
        ] {
            assert_eq!(is_over(requeue, reason), over, "{requeue:?} {reason:?}");
        }
        assert!(is_goal(&ProvisioningState::Provisioned));
        assert!(!is_goal(&ProvisioningState::Provisioning));
    }

    #[test]
    fn only_the_call_whose_work_is_done_is_remembered() {
        let host = |call: &str| -> BareMetalHost {
            serde_json::from_value(json!({
                "metadata": {"name": "a", "annotations": {names::ANNOTATION_TRACEPARENT: call}},
                "spec": {"online": true},
            }))
            .unwrap()
        };
        let (traces, key) = (Traces::default(), HostKey::new("ns", "a"));
        let done = |traces: &Traces| traces.done().get(&key).cloned();
        traces.passed(&key, &host("first"), false);
        assert_eq!(done(&traces), None);
        traces.passed(&key, &host("first"), true);
        assert_eq!(done(&traces).as_deref(), Some("first"));
        traces.passed(&key, &host("second"), false);
        assert_eq!(done(&traces).as_deref(), Some("first"), "the second is not done");
        traces.forget(&key);
        assert_eq!(done(&traces), None);
    }
}
