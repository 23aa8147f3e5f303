//! What a remediation asks of the host service: power holds and the mark of bad health.

use metal3_capm3_core::host::{Consumer, HostKey};
use metal3_capm3_core::machine::{self, Trouble};
use metal3_capm3_core::remediation::{Answer, Hold, HostFacts};
use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::hold_power_off_request::Mode;
use tonic::{Code, Status};

use super::{Hosts, reference, translate};
use crate::commit::Failure;

/// Condition of a host that is never off: the annotations for which it was restarted.
const REBOOT_SERVED: &str = "RebootServed";
/// Prefix of the annotations that hold a host off.
const REBOOT: &str = "reboot.metal3.io/";

/// An answer that may be that the service did not do it.
pub(super) trait Told: Send {
    fn trouble(trouble: Trouble) -> Self;
}

impl Told for machine::Answer {
    fn trouble(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Told for Result<(), Trouble> {
    fn trouble(trouble: Trouble) -> Self {
        Err(trouble)
    }
}

impl Told for Answer {
    fn trouble(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Hosts {
    /// Looks at the power of a host.
    pub(crate) async fn look(&self, host: HostKey) -> Result<Answer, Failure> {
        let request = v1::GetHostRequest {
            host: Some(reference(host)),
        };
        self.answer(Box::pin(async {
            match self.client.get_host(request).await {
                Ok(response) => Ok(Answer::Host(response.host.map(facts))),
                Err(status) if status.code() == Code::NotFound => Ok(Answer::Host(None)),
                Err(status) => Err(status),
            }
        }))
        .await
    }

    /// Keeps a host off. Hard: the system on it does not answer, and is not to write any more.
    pub(crate) async fn hold(&self, hold: Hold) -> Result<Answer, Failure> {
        let request = v1::HoldPowerOffRequest {
            host: Some(reference(hold.host)),
            consumer: Some(translate::consumer(&hold.consumer, "")),
            key: hold.key,
            mode: Mode::Hard.into(),
        };
        self.answer(Box::pin(async {
            match self.client.hold_power_off(request).await {
                Ok(response) => Ok(Answer::Held(response.host.map(facts))),
                Err(status) if is_absent(&status) => Ok(Answer::Held(None)),
                Err(status) if Reason::of(&status) == Some(Reason::PoweredOffByUser) => {
                    Ok(Answer::PoweredOffByUser)
                }
                Err(status) => Err(status),
            }
        }))
        .await
    }

    /// Ends a hold.
    pub(crate) async fn let_go(&self, hold: Hold) -> Result<Answer, Failure> {
        let request = v1::ReleasePowerHoldRequest {
            host: Some(reference(hold.host)),
            consumer: Some(translate::consumer(&hold.consumer, "")),
            key: hold.key,
        };
        self.answer(Box::pin(async {
            match self.client.release_power_hold(request).await {
                Ok(response) => Ok(Answer::Released(response.host.map(facts))),
                Err(status) if is_absent(&status) => Ok(Answer::Released(None)),
                Err(status) => Err(status),
            }
        }))
        .await
    }

    /// Nobody is to claim a host again until a person has looked at it.
    pub(crate) async fn mark_unhealthy(&self, host: HostKey, consumer: &Consumer) -> Result<Answer, Failure> {
        let request = v1::MarkHealthRequest {
            host: Some(reference(host)),
            consumer: Some(translate::consumer(consumer, "")),
            unhealthy: true,
            // The service has upstream's words for it.
            reason: String::new(),
        };
        self.answer(Box::pin(async {
            match self.client.mark_health(request).await {
                Err(status) if Reason::of(&status) == Some(Reason::ForeignConsumer) => Ok(Answer::GivenBack),
                // Nobody claims a host that goes, either.
                Err(status) if !is_absent(&status) => Err(status),
                Ok(_) | Err(_) => Ok(Answer::Marked),
            }
        }))
        .await
    }
}

/// The machine has no such host, or no longer.
fn is_absent(status: &Status) -> bool {
    matches!(
        Reason::of(status),
        Some(Reason::HostNotFound | Reason::HostDeleting | Reason::ForeignConsumer)
    )
}

/// What a remediation needs to know of a host.
pub(super) fn facts(host: v1::Host) -> HostFacts {
    let served = host
        .conditions
        .into_iter()
        .find(|condition| condition.r#type == REBOOT_SERVED);
    let served = served.map(|condition| condition.message).unwrap_or_default();
    HostFacts {
        consumer: host.consumer.map(|consumer| Consumer {
            group: consumer.group().to_owned(),
            kind: consumer.kind,
            namespace: consumer.namespace,
            name: consumer.name,
        }),
        powered_on: host.powered_on,
        online: host.online,
        never_off: host.disable_power_off,
        unhealthy: host.unhealthy,
        holds: host.power_holds,
        rebooted_for: served
            .split(", ")
            .filter_map(|name| name.strip_prefix(REBOOT))
            .map(str::to_owned)
            .collect(),
        error: host.error_message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_never_off_tells_for_whom_it_was_restarted() {
        let host = v1::Host {
            disable_power_off: true,
            powered_on: true,
            conditions: vec![v1::Condition {
                r#type: REBOOT_SERVED.into(),
                message: "reboot.metal3.io/a, reboot.metal3.io/b".into(),
                ..v1::Condition::default()
            }],
            ..v1::Host::default()
        };
        let facts = facts(host);
        assert!(facts.never_off);
        assert_eq!(facts.rebooted_for, ["a", "b"]);
    }
}
