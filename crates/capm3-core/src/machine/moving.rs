//! `clusterctl move`: as long as the Cluster is paused, so are its hosts, each with its status in an annotation from which
//! it is restored in the other cluster; afterwards they go on, there or here.

use super::ask::{Ask, Seen};
use super::draft::{Draft, Requeue, host_annotation};
use super::{Step, View};
use crate::condition::{Reason, Type, Wait};
use crate::host::{HostKey, HostSummary};

/// The Cluster is paused: the hosts of the machine are made ready to be moved, and nothing else is done.
pub(super) fn prepare(view: &View<'_>, seen: &Seen, draft: Draft, why: &str) -> Step {
    // A claim whose annotation was never written is found by its consumer: clusterctl waits for that host as well.
    let hosts = match named(view) {
        Some(host) => vec![host],
        None if !view.has_finalizer() => Vec::new(),
        None => match &seen.held {
            Some(held) => held.clone(),
            None => return draft.ask_about_pause(seen, Reason::PauseSetFailed, Ask::Held(view.consumer())),
        },
    };
    if let Some(host) = hosts.into_iter().find(|host| !seen.prepared.contains(host)) {
        let ask = Ask::PrepareMove {
            host,
            consumer: view.consumer(),
        };
        return draft.ask_about_pause(seen, Reason::PauseSetFailed, ask);
    }
    draft.paused(why)
}

/// Only the machine is paused. Its host is not, also when the Cluster was until now.
pub(super) fn machine_alone(view: &View<'_>, seen: &Seen, mut draft: Draft, why: &str) -> Step {
    // Without its Cluster nobody knows: while objects are copied, one comes after the other.
    let host = named(view).filter(|_| view.cluster.is_some());
    let Some(host) = host else {
        return draft.paused(why);
    };
    if seen.trouble.is_some() {
        draft.requeue(Requeue::Backoff);
        return draft.paused(why);
    }
    let Some(found) = &seen.host else {
        return Step::Ask(Box::new(Ask::Host(host)));
    };
    match found {
        Some(found) if found.consumer == Some(view.consumer()) => match resume(view, found, seen, &draft) {
            Some(step) => *step,
            None => draft.paused(why),
        },
        _ => draft.paused(why),
    }
}

/// What to do before the host goes on, if it is still paused from a move.
pub(super) fn resume(view: &View<'_>, host: &HostSummary, seen: &Seen, draft: &Draft) -> Option<Box<Step>> {
    if !host.paused_for_move {
        return None;
    }
    match seen.resumed.get(&host.key) {
        None => Some(Box::new(ask_to_resume(view, &host.key, seen, draft.clone()))),
        Some(None) => None,
        Some(Some(refused)) => Some(Box::new(draft.clone().wait(
            Type::Paused,
            Wait {
                reason: Reason::PauseRemoveFailed,
                message: refused.clone(),
                remedy: "correct the label of the BareMetalHost, or remove its annotation \
                         baremetalhost.metal3.io/paused",
            },
        ))),
    }
}

/// Ends the pause of [`prepare`].
pub(super) fn ask_to_resume(view: &View<'_>, host: &HostKey, seen: &Seen, draft: Draft) -> Step {
    let ask = Ask::ResumeAfterMove {
        host: host.clone(),
        consumer: view.consumer(),
        cluster_name: view.cluster_name().to_owned(),
    };
    draft.ask_about_pause(seen, Reason::PauseRemoveFailed, ask)
}

fn named(view: &View<'_>) -> Option<HostKey> {
    HostKey::from_annotation(host_annotation(view)?, view.namespace())
}
