//! The object is deleted, in whatever phase: nothing of it stays on the host, on the Node or on the Machine.

use jiff::SignedDuration;
use metal3_api::conditions::find;

use super::ask::{Ask, Seen};
use super::draft::{Draft, POLL, Reason, Wait};
use super::end::{HostGivenUp, give_host_up, refused, unmarked};
use super::waiting::{Service, service};
use super::{ANNOTATION_TO_MARK, Phase, Step, machine};
use crate::machine::Trouble;

/// How long a workload cluster that does not answer is waited for; the Node may be left out of service then.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// Decides what to do until the finalizer may go.
pub(super) fn plan(mut draft: Draft<'_>, seen: &Seen) -> Step {
    let view = draft.view;
    if !view.guarded() {
        return draft.end();
    }
    let hold = view.host().and_then(|host| view.hold(host));
    if let Some(hold) = hold.filter(|_| !seen.released) {
        match &seen.trouble {
            None | Some(Trouble::Unavailable(_) | Trouble::Denied(_)) => {
                return draft.ask(seen, Ask::Release(hold));
            }
            // There can be no hold that the service does not take.
            Some(Trouble::Invalid(_)) => {}
        }
    }
    if let Some(host) = view.owed() {
        match give_host_up(&draft, seen, host) {
            HostGivenUp::Ask(ask) => return Step::Ask(ask),
            HostGivenUp::Later(why) if view.metal3_machine.is_some() => {
                return draft.trouble(seen, &Trouble::Unavailable(why));
            }
            // Without the machine nothing can be done when the service is back: it is not waited for.
            HostGivenUp::Later(why) | HostGivenUp::Refused(why) => refused(&mut draft, &why),
            HostGivenUp::Unmarked(why) => unmarked(&mut draft, why),
            HostGivenUp::Yes => {}
        }
        // Told once, however long the Node takes.
        draft.annotate(ANNOTATION_TO_MARK, None);
    }
    if let Some(step) = back_in_service(&mut draft, seen) {
        return step;
    }
    let status = view.machine.and_then(|machine| machine.status.as_ref());
    let known = status.and_then(|status| find(&status.conditions, machine::EXTERNAL));
    if known.is_some() && !seen.told {
        return Step::Ask(Box::new(Ask::Tell(None)));
    }
    draft.drop_finalizer()
}

/// What is still to be done to the Node.
fn back_in_service(draft: &mut Draft<'_>, seen: &Seen) -> Option<Step> {
    let view = draft.view;
    let touched = view.phase() != Phase::New || view.backup().is_some();
    let node = view.node().filter(|_| touched)?;
    let name = node.name.clone();
    match service(draft, seen, node) {
        Service::Ask(ask) => Some(Step::Ask(ask)),
        Service::In | Service::Restored => None,
        Service::Absent => {
            if view.backup().is_some() {
                let message = format!("Node {name} is not back; its labels and annotations are lost");
                draft.event(true, "NodeNotRestored", message);
            }
            None
        }
        Service::Failed(why) => {
            let since = view.remediation.metadata.deletion_timestamp.as_ref();
            let until = since.and_then(|since| since.0.checked_add(PATIENCE).ok());
            let no_way = matches!(seen.node, Some(super::NodeAnswer::NoWay(_)));
            if no_way || until.is_none_or(|until| draft.now >= until) {
                let message = format!("Node {name} may be left out of service: {why}");
                draft.event(true, "NodeNotRestored", message);
                return None;
            }
            let message = format!("Node {name} cannot be put in service yet: {why}");
            let wait = Wait::new(Reason::WorkloadUnreachable, message);
            Some(draft.clone().wait_silently(wait, Some(POLL)))
        }
    }
}
