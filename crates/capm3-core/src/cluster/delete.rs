//! The end of a Metal3Cluster. It waits for the Machines, then for the host service to free the hosts that are kept for
//! Machines that will not come. A Cluster that is gone, or never was, does not hold it up, and a host service that is
//! gone does so for a bounded time: what is kept ends by itself (`--node-reuse-timeout`), a deletion that is stuck does not.

use jiff::{SignedDuration, Timestamp};

use super::{Draft, Seen, Step, View, cluster_name, has_finalizer};
use crate::condition::{Event, Reason, Type, Wait};
use crate::host::Consumer;
use crate::machine::{CAPI_GROUP, Finalizer, Reservations, Trouble};

/// Machines and the host service tell when something changes; this is for the case that we did not listen.
const RETRY: SignedDuration = SignedDuration::from_secs(30);
/// How long after its deletion was asked for a Metal3Cluster waits for the host service. Longer than a restart or an upgrade
/// of it takes.
const PATIENCE: SignedDuration = SignedDuration::from_mins(15);

pub(super) fn plan(view: &View<'_>, seen: &Seen, mut draft: Draft) -> Step {
    if !has_finalizer(view.infra) {
        return draft.finish();
    }
    if let Some(name) = cluster_name(view.infra) {
        let Some(left) = seen.machines else {
            return Step::CountMachines(name.to_owned());
        };
        if left > 0 {
            let message = format!("{left} Machines of the Cluster are left");
            return wait(draft, Reason::Deleting, message, "", RETRY);
        }
        match &seen.ended {
            None => return Step::EndReservations(Reservations::Cluster(consumer(view, name))),
            Some(Ok(())) => {}
            Some(Err(trouble)) => match patience(view, draft.now) {
                Some((left, until)) => {
                    let (reason, why, remedy) = told(trouble);
                    let message = format!(
                        "hosts that are kept for Machines of the Cluster cannot be freed: {why}; they are left to \
                         their timeout at {until:.0}"
                    );
                    return wait(draft, reason, message, remedy, left.min(RETRY));
                }
                None => draft.tell(given_up(trouble)),
            },
        }
    }
    draft.verdict.finalizer = Finalizer::Drop;
    draft.finish()
}

fn wait(
    mut draft: Draft,
    reason: Reason,
    message: String,
    remedy: &'static str,
    after: SignedDuration,
) -> Step {
    let wait = Wait {
        reason,
        message,
        remedy,
    };
    draft.set(Type::InfrastructureReady, false, reason, &wait.text());
    draft.verdict.after = Some(after);
    draft.wait(reason, wait.message, remedy)
}

/// How long the host service is still waited for, and until when.
fn patience(view: &View<'_>, now: Timestamp) -> Option<(SignedDuration, Timestamp)> {
    let asked = view.infra.metadata.deletion_timestamp.as_ref()?.0;
    let until = asked.checked_add(PATIENCE).ok()?;
    let left = until.duration_since(now);
    left.is_positive().then_some((left, until))
}

fn told(trouble: &Trouble) -> (Reason, &str, &'static str) {
    match trouble {
        Trouble::Unavailable(why) => (
            Reason::HostServiceUnavailable,
            why,
            "check that the bare-metal operator runs and --host-service-address is right",
        ),
        Trouble::Denied(why) => (
            Reason::HostServiceDenied,
            why,
            "grant the provider's ServiceAccount release on hosts.host.metal3.io and check its token",
        ),
        Trouble::Invalid(why) => (Reason::Deleting, why, ""),
    }
}

fn given_up(trouble: &Trouble) -> Event {
    let (_, why, _) = told(trouble);
    Event {
        warning: true,
        reason: "ReservationsLeft",
        message: format!(
            "hosts that are kept for Machines of the Cluster were not freed: {why}; they are anybody's after \
             --node-reuse-timeout, or by ReleaseReservations of the host service"
        ),
    }
}

/// The Cluster as the owner of hosts that are kept.
fn consumer(view: &View<'_>, name: &str) -> Consumer {
    Consumer {
        group: CAPI_GROUP.to_owned(),
        kind: "Cluster".to_owned(),
        namespace: view.infra.metadata.namespace.clone().unwrap_or_default(),
        name: name.to_owned(),
    }
}
