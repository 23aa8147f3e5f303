//! Failures of the host: what is recorded, and when it is tried again.

use jiff::{SignedDuration, Timestamp};
use metal3_api::conditions;
use metal3_api::metal3::host::{BareMetalHostStatus, ErrorType};
use metal3_provisioner::WaitReason;

use crate::conditions::WAITING;
use crate::{BmcSecret, HostView, power, registration};

/// Failures beyond this many make the wait no longer.
const MAX_ATTEMPT: u32 = 9;

/// Upstream's back-off: 2ⁿ minutes for the n-th failure, n at most 9; the shell waits between half of it and all of it.
pub fn backoff_minutes(attempt: u32) -> i64 {
    1 << attempt.min(MAX_ATTEMPT)
}

/// How long a recorded failure still holds the host back. A change of spec, credentials, another request to
/// reboot or the wish to detach lifts it;
/// news from the backend does not, or every change of the node would restart what just failed.
pub(crate) fn held_back(
    view: &HostView<'_>,
    status: &BareMetalHostStatus,
    now: Timestamp,
) -> Option<SignedDuration> {
    let error = status.error_type?;
    let waiting = conditions::find(&status.conditions, WAITING)
        .filter(|condition| condition.reason == WaitReason::RetryBackoff.code())?;
    // New credentials are tried, and then recorded, by the registration only.
    let tried = error != ErrorType::Detach && registration::needed(&status.provisioning.state);
    if waiting.observed_generation != view.host.metadata.generation || tried && secret_changed(view, status) {
        return None;
    }
    if error == ErrorType::PowerManagement && power::asked_anew(view, status) {
        return None;
    }
    let attempt = u32::try_from(status.error_count).unwrap_or(u32::MAX);
    let shortest = SignedDuration::from_mins(backoff_minutes(attempt)) / 2;
    let until = waiting.last_transition_time.0.saturating_add(shortest).ok()?;
    let left = until.duration_since(now);
    left.is_positive().then_some(left)
}

pub(crate) fn secret_changed(view: &HostView<'_>, status: &BareMetalHostStatus) -> bool {
    match &view.secret {
        BmcSecret::Found { version, same } => {
            let tried = &status.tried_credentials;
            let name = tried
                .credentials
                .as_ref()
                .and_then(|secret| secret.name.as_deref());
            let known = tried
                .credentials_version
                .as_ref()
                .is_some_and(|tried| tried == version || same.contains(tried));
            !known || name != Some(view.host.spec.bmc.credentials_name.as_str())
        }
        BmcSecret::Missing | BmcSecret::Incomplete { .. } | BmcSecret::NotNeeded => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_up_to_nine_failures() {
        let minutes: Vec<_> = [0, 1, 2, 3, 8, 9, 10, 1000].map(backoff_minutes).into();
        assert_eq!(minutes, [1, 2, 4, 8, 256, 512, 512, 512]);
    }
}
