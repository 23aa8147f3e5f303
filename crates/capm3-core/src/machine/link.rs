//! From a running host to the Node on it, and to telling Cluster API that the machine is there.

use jiff::SignedDuration;
use metal3_api::capi::Machine;

use super::ask::{Ask, NodeAnswer, Seen};
use super::draft::{Draft, Requeue};
use super::{Step, View};
use crate::condition::{Reason, Type, Wait};
use crate::host::HostSummary;
use crate::node::{Choice, NodeMatches, NodeQuery, choose};

/// A Node that comes up is heard of by watch; a cluster that comes up is not.
const RETRY: SignedDuration = SignedDuration::from_secs(10);

/// How the Node of a machine is recognised.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// An external cloud provider sets the provider ID: wait for it.
    CloudProvider,
    /// By the host's UID in a label that kubelet sets.
    Label,
    /// By label if there is one, else by host name. Only for machines whose bootstrap data the user brought.
    Hostname,
}

pub(super) fn plan(
    view: &View<'_>,
    owner: &Machine,
    host: &HostSummary,
    seen: &Seen,
    mut draft: Draft,
) -> Step {
    let id = format!("metal3://{}/{}/{}", view.namespace(), host.key.name, view.name());
    draft.achieve(format!("host {} has provider ID {id}", host.key));
    let stored = view.machine.spec.provider_id.as_deref();
    let has_node = owner
        .status
        .as_ref()
        .is_some_and(|status| status.node_ref.is_some());
    // Also with an ID of another form, which releases before 1.14 wrote: Cluster API knows the Node, and an ID never changes.
    if draft.is_provisioned() && stored.is_some_and(|stored| !stored.is_empty()) && has_node {
        draft.set(Type::MetaData, true, Reason::MetaDataSuccess, "");
        return draft.finish(None);
    }
    let cloud = view.infra.and_then(|infra| infra.spec.cloud_provider_enabled) == Some(true);
    let way = match (cloud, owner.spec.bootstrap.config_ref.is_some()) {
        (true, _) => Way::CloudProvider,
        (false, true) => Way::Label,
        (false, false) => Way::Hostname,
    };
    if way == Way::Hostname {
        // Nothing else tells Cluster API which Node to expect.
        draft.provisioned(&id, stored);
    }
    let query = query(view, host, &id);
    let matches = match &seen.nodes {
        None => return Step::Ask(Box::new(Ask::Nodes(query))),
        Some(NodeAnswer::Unreachable(message)) => {
            let message = format!("the workload cluster cannot be asked for the Node: {message}");
            return wait(way, message, "", draft);
        }
        Some(NodeAnswer::Found(matches)) => matches,
    };
    let choice = decide(way, matches, &id, host);
    match choice {
        Choice::Linked => done(&id, stored, draft),
        Choice::None => wait(way, absent(way, host), "", draft),
        Choice::Unclear(message) => wait(
            way,
            message,
            "delete Nodes of the workload cluster that no longer exist",
            draft,
        ),
        Choice::Unlinked(node) => match &seen.linked {
            None => Step::Ask(Box::new(Ask::LinkNode { node, query })),
            Some(None) => done(&id, stored, draft),
            Some(Some(error)) => wait(
                way,
                format!("the provider ID of Node {node} cannot be set: {error}"),
                "",
                draft,
            ),
        },
    }
}

fn query(view: &View<'_>, host: &HostSummary, id: &str) -> NodeQuery {
    NodeQuery {
        namespace: view.namespace().to_owned(),
        cluster: view.cluster_name().to_owned(),
        provider_id: id.to_owned(),
        host_uid: host.uid.clone(),
        hostnames: Some(host.hostname.clone())
            .filter(|name| !name.is_empty())
            .into_iter()
            .collect(),
    }
}

fn decide(way: Way, matches: &NodeMatches, id: &str, host: &HostSummary) -> Choice {
    match matches.by_provider_id.as_slice() {
        [_] => return Choice::Linked,
        [] => {}
        several => {
            return Choice::Unclear(format!("{} Nodes have the provider ID {id}", several.len()));
        }
    }
    match way {
        Way::CloudProvider => Choice::None,
        Way::Label => choose(&matches.by_uid, id),
        Way::Hostname => match choose(&matches.by_uid, id) {
            Choice::None if host.hostname.is_empty() => Choice::Unclear(format!(
                "host {} has no host name to recognise its Node by",
                host.key
            )),
            Choice::None => choose(&matches.by_hostname, id),
            found @ (Choice::Linked | Choice::Unlinked(_) | Choice::Unclear(_)) => found,
        },
    }
}

fn absent(way: Way, host: &HostSummary) -> String {
    match way {
        Way::CloudProvider => "no Node has the provider ID yet; the cloud provider sets it".into(),
        Way::Label => format!("no Node has the label metal3.io/uuid={} yet", host.uid),
        Way::Hostname => format!(
            "no Node has the label metal3.io/uuid={} or the host name {:?} yet",
            host.uid, host.hostname
        ),
    }
}

fn wait(way: Way, message: String, remedy: &'static str, mut draft: Draft) -> Step {
    draft.requeue(Requeue::After(RETRY));
    let reason = match way {
        Way::CloudProvider | Way::Label => Reason::CreateError,
        Way::Hostname => Reason::UpdateError,
    };
    draft.wait(
        Type::MetaData,
        Wait {
            reason,
            message,
            remedy,
        },
    )
}

fn done(id: &str, stored: Option<&str>, mut draft: Draft) -> Step {
    draft.provisioned(id, stored);
    draft.set(Type::MetaData, true, Reason::MetaDataSuccess, "");
    draft.finish(None)
}
