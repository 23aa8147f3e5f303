//! The host comes back, and its Node is put in service.

use metal3_api::capi::Machine;

use super::ask::{Ask, NodeAnswer, NodeChange, Seen};
use super::draft::{Draft, POLL, Reason, Wait};
use super::node::NodeName;
use super::{ANNOTATION_ANNOTATIONS, ANNOTATION_LABELS, Host, Step};

/// Decides what to do until the attempt is over.
pub(super) fn plan(draft: Draft<'_>, seen: &Seen, host: &Host, machine: &Machine) -> Step {
    let held = host.facts.holds.contains(&draft.view.hold_key());
    // Asked for as long as the host is off: what was told of its holds may be old.
    if (held || !host.facts.powered_on)
        && !seen.released
        && let Some(hold) = draft.view.hold(host.key.clone())
    {
        return draft.ask(seen, Ask::Release(hold));
    }
    if !host.facts.powered_on {
        let others = if host.facts.holds.is_empty() {
            String::new()
        } else {
            format!("; it is held off by {}", host.facts.holds.join(", "))
        };
        let message = format!("waiting for host {} to power on{others}", host.key);
        return draft.wait(seen, Wait::new(Reason::PoweringOn, message), None);
    }
    let Some(node) = draft.view.node() else {
        let why = match machine
            .status
            .as_ref()
            .and_then(|status| status.node_ref.as_ref())
        {
            None => "waiting for the Machine to become a Node",
            Some(_) => "waiting; the Cluster is gone",
        };
        return draft.wait(seen, Wait::new(Reason::WaitingForNode, why), None);
    };
    let name = node.name.clone();
    match service(&draft, seen, node) {
        Service::Ask(ask) => Step::Ask(ask),
        Service::Restored => restored(draft),
        Service::In => {
            let message = format!("host {} runs; waiting for Node {name} to be healthy", host.key);
            draft.wait(seen, Wait::new(Reason::WaitingForNode, message), None)
        }
        Service::Absent => {
            // Nobody tells us when it is back.
            let poll = draft.view.backup().map(|_| POLL);
            let message = format!("host {} runs; waiting for Node {name} to come back", host.key);
            draft.wait(seen, Wait::new(Reason::WaitingForNode, message), poll)
        }
        Service::Failed(why) => {
            let message = format!("Node {name} cannot be put in service yet: {why}");
            draft.wait(seen, Wait::new(Reason::WorkloadUnreachable, message), Some(POLL))
        }
    }
}

fn restored(mut draft: Draft<'_>) -> Step {
    draft.annotate(ANNOTATION_LABELS, None);
    draft.annotate(ANNOTATION_ANNOTATIONS, None);
    draft.again()
}

/// How the Node is on its way back into service.
pub(super) enum Service {
    /// Do this first.
    Ask(Box<Ask>),
    /// It is.
    In,
    /// It has again what it had: that need not be kept any more.
    Restored,
    /// There is no such Node, or it is none of our business.
    Absent,
    /// Not now.
    Failed(String),
}

/// Takes back what was done to a Node.
pub(super) fn service(draft: &Draft<'_>, seen: &Seen, node: NodeName) -> Service {
    let found = match &seen.node {
        None => {
            return Service::Ask(Box::new(Ask::Node {
                node,
                workloads: false,
            }));
        }
        Some(NodeAnswer::Missing | NodeAnswer::Forbidden(_)) => return Service::Absent,
        Some(NodeAnswer::Unreachable(why) | NodeAnswer::NoWay(why)) => return Service::Failed(why.clone()),
        Some(NodeAnswer::Present(found)) => found,
    };
    // Either may be left, whatever the cluster can do today: it may have been upgraded meanwhile.
    let backup = draft.view.backup();
    let lacking = backup.as_ref().map(|backup| backup.lacking(&found.marks));
    let change = match &lacking {
        _ if found.tainted => NodeChange::Untaint,
        Some(lacking) if !lacking.is_empty() => NodeChange::Restore(lacking.clone()),
        Some(_) => return Service::Restored,
        None => return Service::In,
    };
    let last = change != NodeChange::Untaint || backup.is_none();
    match &seen.changed {
        None => Service::Ask(Box::new(Ask::ChangeNode(node, change))),
        Some(Some(error)) => Service::Failed(error.clone()),
        Some(None) if !last => Service::Failed("the rest follows".to_owned()),
        Some(None) if backup.is_some() => Service::Restored,
        Some(None) => Service::In,
    }
}
