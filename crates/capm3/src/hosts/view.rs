//! The hosts as the stream told them last: labels for label sync, and what machines would ask for otherwise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metal3_capm3_core::host::{HostKey, HostSummary};
use metal3_capm3_core::label_sync::Labels;
use metal3_rpc::identity;

use super::track::Known;
use crate::objects::Key;

/// All of them; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostView {
    hosts: Arc<Mutex<HashMap<HostKey, Told>>>,
}

/// What is known of a host.
#[derive(Debug)]
struct Told {
    known: Arc<Known>,
    /// A call told more than the stream until it comes to this revision.
    behind: Option<u64>,
}

impl HostView {
    /// What the stream told of a host; none when it is gone.
    pub(super) fn told(&self, host: identity::HostKey, known: Option<Arc<Known>>) {
        let identity::HostKey { namespace, name } = host;
        let host = HostKey { namespace, name };
        self.with(|hosts| {
            let behind = hosts.remove(&host).and_then(|told| told.behind);
            if let Some(known) = known {
                let behind = behind.filter(|revision| known.revision < *revision);
                hosts.insert(host, Told { known, behind });
            }
        });
    }

    /// What a call told of a host. Replicas of the service and the stream do not hear of it at the same time: whoever was told of
    /// something must not be told of what was before.
    pub(super) fn answered(&self, host: &HostSummary, revision: u64) {
        self.with(|hosts| {
            if let Some(told) = hosts.get_mut(&host.key)
                && told.known.revision < revision
                && told.known.summary != *host
            {
                told.behind = told.behind.max(Some(revision));
            }
        });
    }

    /// A host that a machine uses, unless a call told more of it.
    pub(super) fn used_by(&self, host: &HostKey, machine: &Key) -> Option<HostSummary> {
        self.with(|hosts| {
            let told = hosts.get(host)?;
            let lent = told.known.lent.as_ref()?;
            (told.behind.is_none() && lent.machine == *machine).then(|| told.known.summary.clone())
        })
    }

    /// The labels of a host, if the machine uses it and nobody has paused it.
    pub(crate) fn labels(&self, host: &HostKey, machine: &Key) -> Option<Labels> {
        self.with(|hosts| {
            let lent = hosts.get(host)?.known.lent.as_ref()?;
            (lent.machine == *machine && !lent.paused).then(|| lent.labels.clone())
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<HostKey, Told>) -> T) -> T {
        act(&mut self.hosts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::{Consumer, Host, HostRef};

    use super::*;

    fn host(revision: u64, edit: impl FnOnce(&mut Host)) -> Host {
        let mut host = Host {
            r#ref: Some(HostRef::named("ns", "h")),
            provisioning_state: "provisioning".into(),
            revision: revision.to_string(),
            consumer: Some(Consumer {
                api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
                kind: "Metal3Machine".into(),
                namespace: "ns".into(),
                name: "m".into(),
                uid: String::new(),
            }),
            ..Host::default()
        };
        edit(&mut host);
        host
    }

    fn key() -> HostKey {
        HostKey {
            namespace: "ns".into(),
            name: "h".into(),
        }
    }

    fn told(view: &HostView, host: Option<Host>) {
        let (namespace, name) = ("ns".into(), "h".into());
        let known = host.map(|host| Arc::new(Known::of(host).unwrap()));
        view.told(identity::HostKey { namespace, name }, known);
    }

    fn answered(view: &HostView, host: Host) {
        let revision = host.revision.parse().unwrap();
        view.answered(&super::super::translate::summary(host).unwrap(), revision);
    }

    #[test]
    fn only_the_machine_that_uses_a_host_gets_its_labels_and_not_while_it_is_paused() {
        let (view, machine) = (HostView::default(), Key::new("ns", "m"));
        assert_eq!(view.labels(&key(), &machine), None);
        told(&view, Some(host(1, |_| {})));
        assert!(view.labels(&key(), &machine).is_some());
        assert_eq!(view.labels(&key(), &Key::new("ns", "n")), None);
        told(&view, Some(host(2, |host| host.paused_by = Some(String::new()))));
        assert_eq!(view.labels(&key(), &machine), None);
        told(&view, Some(host(3, |_| {})));
        told(&view, None);
        assert_eq!(view.labels(&key(), &machine), None);
    }

    #[test]
    fn a_machine_is_shown_its_host_and_no_other() {
        let (view, machine) = (HostView::default(), Key::new("ns", "m"));
        assert_eq!(view.used_by(&key(), &machine), None);
        told(&view, Some(host(1, |_| {})));
        let shown = view.used_by(&key(), &machine).unwrap();
        assert_eq!((shown.key, shown.state.as_str()), (key(), "provisioning"));
        assert_eq!(view.used_by(&key(), &Key::new("ns", "n")), None);
        told(&view, Some(host(2, |host| host.consumer = None)));
        assert_eq!(view.used_by(&key(), &machine), None);
    }

    #[test]
    fn who_was_told_more_by_a_call_is_not_shown_what_was_before() {
        let (view, machine) = (HostView::default(), Key::new("ns", "m"));
        let provisioned = |revision| host(revision, |host| host.provisioning_state = "provisioned".into());
        told(&view, Some(host(3, |_| {})));
        // The same, and what another replica knew before.
        answered(&view, host(4, |_| {}));
        answered(&view, host(2, |host| host.consumer = None));
        assert!(view.used_by(&key(), &machine).is_some());
        answered(&view, provisioned(7));
        answered(&view, provisioned(6));
        assert_eq!(view.used_by(&key(), &machine), None);
        told(&view, Some(host(6, |host| host.error_message = "bmc".into())));
        assert_eq!(view.used_by(&key(), &machine), None);
        told(&view, Some(provisioned(7)));
        assert_eq!(view.used_by(&key(), &machine).unwrap().state, "provisioned");
    }
}
