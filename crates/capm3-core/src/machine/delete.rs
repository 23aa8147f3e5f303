//! Giving the host back. Nothing around the machine matters here: deletion ends also when the Machine, the Cluster or
//! its infrastructure are gone or were never ready.

use jiff::{SignedDuration, Timestamp};

use super::ask::{Ask, Released, Seen};
use super::draft::{Draft, Requeue, host_annotation};
use super::reuse::{self, Fate, Parent, Reservation, Reservations, Successor};
use super::{Step, View, moving};
use crate::condition::{Event, Reason, Type, Wait};
use crate::host::HostKey;

/// Hosts tell when they change; this is for the case that we did not listen.
const RETRY: SignedDuration = SignedDuration::from_secs(30);

/// What becomes of the hosts of the machine, and of others that are kept.
#[derive(Default)]
struct Afterwards {
    reservation: Option<Reservation>,
    ends: Option<Reservations>,
}

pub(super) fn plan(view: &View<'_>, seen: &Seen, mut draft: Draft, now: Timestamp) -> Step {
    if !view.has_finalizer() {
        // Never claimed anything, or done already and kept alive by somebody else's finalizer.
        return draft.finish(None);
    }
    draft.set(Type::MetaData, false, Reason::Deleting, "");
    let afterwards = match afterwards(view, seen, now) {
        Ok(afterwards) => afterwards,
        Err(parent) => return Step::Ask(Box::new(Ask::Successor(*parent))),
    };
    let named = host_annotation(view).and_then(|value| HostKey::from_annotation(value, view.namespace()));
    if let Some(host) = named
        && let Err(step) = release(view, &host, &afterwards, seen, &draft)
    {
        return *step;
    }
    // A claim whose annotation was never written, because the process died in between, is found by its consumer.
    let Some(held) = &seen.held else {
        return draft.ask(seen, Type::MetaData, Ask::Held(view.consumer()));
    };
    for host in held {
        if let Err(step) = release(view, host, &afterwards, seen, &draft) {
            return *step;
        }
    }
    if let Some(reservations) = afterwards.ends
        && !seen.ended
    {
        return draft.ask(seen, Type::MetaData, Ask::EndReservations(reservations));
    }
    tell(seen, afterwards.reservation.as_ref(), &mut draft);
    draft.drop_finalizer()
}

/// Decides what comes after the machine, or whom to ask for that.
fn afterwards(view: &View<'_>, seen: &Seen, now: Timestamp) -> Result<Afterwards, Box<Parent>> {
    let Some(cluster) = view.cluster else {
        return Ok(Afterwards::default());
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(Afterwards {
            reservation: None,
            ends: Some(Reservations::Cluster(view.cluster_consumer())),
        });
    }
    let Some(parent) = view.owner.and_then(reuse::parent) else {
        return Ok(Afterwards::default());
    };
    let Some(successor) = &seen.successor else {
        return Err(Box::new(parent));
    };
    let Parent { namespace, key, .. } = parent;
    Ok(match reuse::fate(successor) {
        Fate::Free => Afterwards::default(),
        Fate::Kept => Afterwards {
            reservation: Some(Reservation {
                key,
                cluster: view.cluster_consumer(),
                expires: view
                    .policy
                    .reuse_timeout
                    .and_then(|timeout| now.checked_add(timeout).ok()),
            }),
            ends: None,
        },
        Fate::Surplus => Afterwards {
            reservation: None,
            ends: Some(Reservations::Key { namespace, key }),
        },
    })
}

/// Ok when the host was given back, otherwise what to do.
fn release(
    view: &View<'_>,
    host: &HostKey,
    afterwards: &Afterwards,
    seen: &Seen,
    draft: &Draft,
) -> Result<(), Box<Step>> {
    let mut draft = draft.clone();
    let mut wait = |message: String| {
        draft.requeue(Requeue::After(RETRY));
        let wait = Wait {
            reason: Reason::Deleting,
            message,
            remedy: "",
        };
        Err(Box::new(draft.clone().wait(Type::MetaData, wait)))
    };
    match seen.releases.get(host) {
        Some(Released::Done) => Ok(()),
        Some(Released::Waiting(progress)) => wait(format!("host {host} is being given back: {progress}")),
        Some(Released::PausedForMove) => match seen.resumed.get(host) {
            None => Err(Box::new(moving::ask_to_resume(view, host, seen, draft))),
            Some(refused) => {
                let why = refused.as_deref().unwrap_or("its pause is being ended");
                wait(format!(
                    "host {host} cannot be given back while it is paused: {why}"
                ))
            }
        },
        None => {
            let ask = Ask::Release {
                host: host.clone(),
                consumer: view.consumer(),
                cluster_name: view.cluster_name().to_owned(),
                fast_track: view.policy.fast_track,
                reservation: afterwards.reservation.clone(),
            };
            Err(Box::new(draft.ask(seen, Type::MetaData, ask)))
        }
    }
}

/// What became of the hosts.
fn tell(seen: &Seen, reservation: Option<&Reservation>, draft: &mut Draft) {
    let hosts: Vec<String> = seen.releases.keys().map(ToString::to_string).collect();
    if hosts.is_empty() {
        return;
    }
    let hosts = hosts.join(", ");
    let message = match reservation {
        None => format!("host {hosts} was given back"),
        Some(Reservation { key, expires, .. }) => match expires {
            None => format!("host {hosts} was given back and is kept for the next machine of {key}"),
            Some(until) => {
                format!(
                    "host {hosts} was given back and is kept for the next machine of {key} until {until:.0}"
                )
            }
        },
    };
    draft.tell(Event {
        warning: false,
        reason: "HostReleased",
        message,
    });
    if let Some(Successor::Unknown(why)) = &seen.successor {
        draft.tell(Event {
            warning: true,
            reason: "NodeReuseUnknown",
            message: format!("host {hosts} is not kept for the next machine: {why}"),
        });
    }
}
