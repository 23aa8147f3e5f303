//! Giving the host back. Nothing around the machine matters here: deletion ends also when the Machine, the Cluster or
//! its infrastructure are gone or were never ready.

use jiff::SignedDuration;

use super::ask::{Ask, Released, Seen};
use super::draft::{Draft, Requeue, host_annotation};
use super::{Step, View};
use crate::condition::{Reason, Type, Wait};
use crate::host::HostKey;

/// Hosts tell when they change; this is for the case that we did not listen.
const RETRY: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn plan(view: &View<'_>, seen: &Seen, mut draft: Draft) -> Step {
    if !view.has_finalizer() {
        // Never claimed anything, or done already and kept alive by somebody else's finalizer.
        return draft.finish(None);
    }
    draft.set(Type::MetaData, false, Reason::Deleting, "");
    let named = host_annotation(view).and_then(|value| HostKey::from_annotation(value, view.namespace()));
    if let Some(host) = named
        && let Err(step) = release(view, &host, seen, &draft)
    {
        return *step;
    }
    // A claim whose annotation was never written, because the process died in between, is found by its consumer.
    let Some(held) = &seen.held else {
        return draft.ask(seen, Type::MetaData, Ask::Held(view.consumer()));
    };
    for host in held {
        if let Err(step) = release(view, host, seen, &draft) {
            return *step;
        }
    }
    draft.drop_finalizer()
}

/// Ok when the host was given back, otherwise what to do.
fn release(view: &View<'_>, host: &HostKey, seen: &Seen, draft: &Draft) -> Result<(), Box<Step>> {
    let mut draft = draft.clone();
    match seen.releases.get(host) {
        Some(Released::Done) => Ok(()),
        Some(Released::Waiting(progress)) => {
            draft.requeue(Requeue::After(RETRY));
            Err(Box::new(draft.wait(
                Type::MetaData,
                Wait {
                    reason: Reason::Deleting,
                    message: format!("host {host} is being given back: {progress}"),
                    remedy: "",
                },
            )))
        }
        None => {
            let ask = Ask::Release {
                host: host.clone(),
                consumer: view.consumer(),
                cluster_name: view.cluster_name().to_owned(),
                fast_track: view.fast_track,
            };
            Err(Box::new(draft.ask(seen, Type::MetaData, ask)))
        }
    }
}
