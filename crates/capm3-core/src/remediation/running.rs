//! The host goes off, and what ran on its Node goes.

use metal3_api::capi::Machine;

use super::ask::{Ask, NodeAnswer, NodeChange, Seen};
use super::draft::{Draft, POLL, Reason, Wait};
use super::node::{NodeName, NodeSeen, write};
use super::{ANNOTATION_ANNOTATIONS, ANNOTATION_LABELS, Host, Phase, Step};

const UNCONFIRMED: &str = "FencingUnconfirmed";

/// Decides what to do until the host may come back.
pub(super) fn plan(draft: Draft<'_>, seen: &Seen, host: &Host, machine: &Machine) -> Step {
    let key = draft.view.hold_key();
    let Some(hold) = draft.view.hold(host.key.clone()) else {
        return draft.end();
    };
    if !host.facts.holds.contains(&key) && !seen.held {
        return draft.ask(seen, Ask::Hold(hold));
    }
    if host.facts.never_off {
        return rebooted(draft, seen, host, &key);
    }
    if host.facts.powered_on {
        let error = match host.facts.error.as_str() {
            "" => String::new(),
            error => format!(": {error}"),
        };
        let message = format!("waiting for host {} to power off{error}", host.key);
        return draft.wait(seen, Wait::new(Reason::PoweringOff, message), None);
    }
    fence(draft, seen, host, machine)
}

/// Such a host restarts once for the hold. It is never off, so nothing may be taken from its Node.
fn rebooted(draft: Draft<'_>, seen: &Seen, host: &Host, key: &str) -> Step {
    if host.facts.rebooted_for.iter().any(|known| known == key) || fence_is_over(&draft) {
        return let_go(draft, host, "it cannot be powered off, and was restarted");
    }
    let message = format!(
        "waiting for host {}, which is never powered off, to restart",
        host.key
    );
    draft.wait(seen, Wait::new(Reason::PoweringOff, message), None)
}

fn fence(draft: Draft<'_>, seen: &Seen, host: &Host, machine: &Machine) -> Step {
    let Some(node) = draft.view.node() else {
        let why = match machine
            .status
            .as_ref()
            .and_then(|status| status.node_ref.as_ref())
        {
            None => "its Machine never had a Node",
            Some(_) => "its Cluster is gone",
        };
        return let_go(draft, host, why);
    };
    match &seen.node {
        None => Step::Ask(Box::new(Ask::Node {
            node,
            workloads: true,
        })),
        Some(NodeAnswer::Missing) => let_go(draft, host, "its Node is gone"),
        Some(NodeAnswer::Forbidden(why)) => {
            let why = format!("the workload cluster does not let us look at the Node: {why}");
            unfenced(draft, host, &why)
        }
        Some(NodeAnswer::Unreachable(why) | NodeAnswer::NoWay(why)) => unreachable(draft, seen, host, why),
        Some(NodeAnswer::Present(found)) if found.can_be_tainted => taint(draft, seen, host, node, found),
        Some(NodeAnswer::Present(found)) => delete(draft, seen, host, node, found),
    }
}

/// The taint evicts Pods and detaches volumes, which takes a moment.
fn taint(draft: Draft<'_>, seen: &Seen, host: &Host, node: NodeName, found: &NodeSeen) -> Step {
    let name = node.name.clone();
    if !found.tainted {
        return change(draft, seen, host, node, NodeChange::Taint);
    }
    if found.terminating == 0 && found.attached == 0 {
        return let_go(draft, host, &format!("nothing runs on Node {name} any more"));
    }
    let message = format!(
        "{} Pods are being deleted and {} volumes are attached on Node {name}",
        found.terminating, found.attached
    );
    if fence_is_over(&draft) {
        return unfenced(draft, host, &message);
    }
    let message = format!("waiting until nothing is left: {message}");
    draft.wait(seen, Wait::new(Reason::Fencing, message), Some(POLL))
}

/// Kept before it goes, for the Node that kubelet registers anew.
fn delete(mut draft: Draft<'_>, seen: &Seen, host: &Host, node: NodeName, found: &NodeSeen) -> Step {
    let kept = draft.view.backup();
    // What an earlier attempt kept and could not put back is kept on.
    let all = kept.clone().unwrap_or_default().under(&found.marks);
    if kept.as_ref() != Some(&all) {
        draft.annotate(ANNOTATION_LABELS, Some(write(&all.labels)));
        draft.annotate(ANNOTATION_ANNOTATIONS, Some(write(&all.annotations)));
        return draft.again();
    }
    change(draft, seen, host, node, NodeChange::Delete)
}

fn change(draft: Draft<'_>, seen: &Seen, host: &Host, node: NodeName, change: NodeChange) -> Step {
    let name = node.name.clone();
    match &seen.changed {
        None => Step::Ask(Box::new(Ask::ChangeNode(node, change))),
        Some(Some(error)) => unreachable(draft, seen, host, error),
        // What comes of it is looked at later: it takes a moment until Pods are told to go.
        Some(None) => {
            let message = format!("taking Node {name} out of service");
            draft.wait(seen, Wait::new(Reason::Fencing, message), Some(POLL))
        }
    }
}

fn unreachable(draft: Draft<'_>, seen: &Seen, host: &Host, why: &str) -> Step {
    let message = format!("the workload cluster does not answer: {why}");
    if fence_is_over(&draft) {
        return unfenced(draft, host, &message);
    }
    draft.wait(seen, Wait::new(Reason::WorkloadUnreachable, message), Some(POLL))
}

fn fence_is_over(draft: &Draft<'_>) -> bool {
    draft.view.fence_until().is_none_or(|until| draft.now >= until)
}

/// The host comes back although it is not known that nothing waits for its volumes.
fn unfenced(mut draft: Draft<'_>, host: &Host, why: &str) -> Step {
    let message = format!(
        "host {} is powered on without confirmation that its workloads are gone: {why}",
        host.key
    );
    draft.event(true, UNCONFIRMED, message);
    draft.enter(Phase::Waiting)
}

fn let_go(mut draft: Draft<'_>, host: &Host, why: &str) -> Step {
    let message = format!("host {} is powered on again: {why}", host.key);
    draft.event(false, "HostPoweredOff", message);
    draft.enter(Phase::Waiting)
}
