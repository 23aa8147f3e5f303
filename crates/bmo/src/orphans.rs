//! Nodes in Ironic that are named after hosts which do not exist, told by Events in the namespace of that name.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use metal3_api::metal3::host::BareMetalHost;
use metal3_host_core::EventKind;
use metal3_ironic::{IronicProvisioner, Orphan};
use metal3_kit::lease::Leadership;
use tokio_util::sync::CancellationToken;

use crate::events::{Events, Told};

/// Tells of each node once, while this replica leads, until shutdown. The Event is about the host that the node is named
/// after: Kubernetes takes one about an object that does not exist, and it is where people look.
pub(crate) async fn run(
    backend: Arc<IronicProvisioner>,
    events: Events,
    mut leadership: Leadership,
    shutdown: CancellationToken,
) {
    let mut changes = backend.orphan_changes();
    let telling = async {
        leadership.acquired().await;
        let mut told = HashSet::new();
        loop {
            for orphan in unknown(&mut told, backend.orphans()) {
                events.tell(event(&orphan)).await;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = telling => {}
        () = shutdown.cancelled() => {}
    }
}

/// Those that were not told yet. One that had a host meanwhile is told again.
fn unknown(told: &mut HashSet<String>, orphans: Vec<Orphan>) -> Vec<Orphan> {
    let now: HashSet<String> = orphans.iter().map(|orphan| orphan.node.clone()).collect();
    let before = std::mem::replace(told, now);
    let mut orphans = orphans;
    orphans.retain(|orphan| !before.contains(&orphan.node));
    orphans
}

fn event(orphan: &Orphan) -> Told {
    Told {
        about: ObjectReference {
            namespace: Some(orphan.key.namespace.clone()),
            name: Some(orphan.key.name.clone()),
            ..BareMetalHost::default().object_ref(&())
        },
        related: None,
        kind: EventKind::Warning,
        reason: "NodeWithoutHost",
        message: format!(
            "node {} in Ironic ({}) is named after this host, which does not exist; create the BareMetalHost to take the node \
             over, or delete the node in Ironic",
            orphan.node, orphan.provision_state
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use metal3_provisioner::HostKey;

    use super::*;

    fn orphan(name: &str) -> Orphan {
        Orphan {
            node: format!("node-{name}"),
            key: HostKey::new("ns", name),
            provision_state: "active".into(),
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_node_is_told_once_and_again_when_it_had_a_host_meanwhile() {
        let mut told = HashSet::new();
        let mut names = |names: &[&str]| {
            let orphans = names.iter().map(|name| orphan(name)).collect();
            let fresh = unknown(&mut told, orphans).into_iter();
            fresh.map(|orphan| orphan.key.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["a"]), ["a"]);
        assert_eq!(names(&["a", "b"]), ["b"]);
        assert!(names(&["b"]).is_empty());
        assert_eq!(names(&["a", "b"]), ["a"]);
    }

    #[test]
    fn the_event_is_about_the_host_of_the_name_and_says_what_to_do() {
        let told = event(&orphan("a"));
        let about = (
            told.about.kind,
            told.about.namespace,
            told.about.name,
            told.about.uid,
        );
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(about, (text("BareMetalHost"), text("ns"), text("a"), None));
        assert!(
            told.message.contains("node-a") && told.message.contains("create the BareMetalHost"),
            "{}",
            told.message
        );
    }
}
