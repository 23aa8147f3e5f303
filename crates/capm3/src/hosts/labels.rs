//! The labels of the hosts that machines use, as the stream told them last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metal3_capm3_core::host::HostKey;
use metal3_capm3_core::label_sync::Labels;
use metal3_rpc::identity;

use crate::objects::Key;

/// What label sync needs of a host that a machine uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lent {
    pub(super) machine: Key,
    /// Somebody paused it, whoever that was.
    pub(super) paused: bool,
    pub(super) labels: Labels,
}

/// All of them; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostLabels {
    lent: Arc<Mutex<HashMap<HostKey, Arc<Lent>>>>,
}

impl HostLabels {
    /// What the stream told of a host; none when it is gone, or no machine uses it.
    pub(super) fn told(&self, host: identity::HostKey, lent: Option<Arc<Lent>>) {
        let identity::HostKey { namespace, name } = host;
        let host = HostKey { namespace, name };
        let mut all = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        match lent {
            Some(lent) => all.insert(host, lent),
            None => all.remove(&host),
        };
    }

    /// The labels of a host, if the machine uses it and nobody has paused it.
    pub(crate) fn of(&self, host: &HostKey, machine: &Key) -> Option<Labels> {
        let all = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let lent = all
            .get(host)
            .filter(|lent| lent.machine == *machine && !lent.paused);
        lent.map(|lent| lent.labels.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_machine_that_uses_a_host_gets_its_labels_and_not_while_it_is_paused() {
        let (labels, machine) = (HostLabels::default(), Key::new("ns", "m"));
        let host = HostKey {
            namespace: "ns".into(),
            name: "h".into(),
        };
        let lent = |paused| {
            Some(Arc::new(Lent {
                machine: machine.clone(),
                paused,
                labels: Labels::default(),
            }))
        };
        assert_eq!(labels.of(&host, &machine), None);
        let told = |lent| {
            let (namespace, name) = ("ns".into(), "h".into());
            labels.told(identity::HostKey { namespace, name }, lent);
        };
        told(lent(false));
        assert!(labels.clone().of(&host, &machine).is_some());
        assert_eq!(labels.of(&host, &Key::new("ns", "n")), None);
        told(lent(true));
        assert_eq!(labels.of(&host, &machine), None);
        told(lent(false));
        told(None);
        assert_eq!(labels.of(&host, &machine), None);
    }
}
