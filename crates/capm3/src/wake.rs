//! Who is to be looked at because something else changed, and who waits for what.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use metal3_capm3_core::host::HostKey;
use metal3_capm3_core::machine::Wish;
use metal3_capm3_core::waiting::Lines;
use metal3_kit::lease::Leadership;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::objects::Key;

/// Wakes controllers; cheap to share.
#[derive(Clone)]
pub(crate) struct Wakes {
    pub(crate) leadership: Leadership,
    pub(crate) machines: UnboundedSender<Key>,
    pub(crate) clusters: UnboundedSender<Key>,
    pub(crate) remediations: UnboundedSender<Key>,
    pub(crate) templates: UnboundedSender<Key>,
    pub(crate) labels: UnboundedSender<Key>,
    pub(crate) following: Arc<Following>,
    pub(crate) waiting: Arc<Waiting>,
}

/// The ends at which controllers are woken.
pub(crate) struct Woken {
    pub(crate) machines: UnboundedReceiver<Key>,
    pub(crate) clusters: UnboundedReceiver<Key>,
    pub(crate) remediations: UnboundedReceiver<Key>,
    pub(crate) templates: UnboundedReceiver<Key>,
    pub(crate) labels: UnboundedReceiver<Key>,
}

impl Wakes {
    pub(crate) fn new(leadership: Leadership) -> (Self, Woken) {
        let (machines, machines_woken) = mpsc::unbounded_channel();
        let (clusters, clusters_woken) = mpsc::unbounded_channel();
        let (remediations, remediations_woken) = mpsc::unbounded_channel();
        let (templates, templates_woken) = mpsc::unbounded_channel();
        let (labels, labels_woken) = mpsc::unbounded_channel();
        let wakes = Self {
            leadership,
            machines,
            clusters,
            remediations,
            templates,
            labels,
            following: Arc::default(),
            waiting: Arc::default(),
        };
        let woken = Woken {
            machines: machines_woken,
            clusters: clusters_woken,
            remediations: remediations_woken,
            templates: templates_woken,
            labels: labels_woken,
        };
        (wakes, woken)
    }

    /// A machine, and the remediations that wait for something about it.
    pub(crate) fn machine(&self, key: Key) {
        for remediation in self.following.of(&key) {
            self.remediation(remediation);
        }
        self.send(&self.machines, key);
    }

    /// A machine whose host and Node may not have the same labels any more.
    pub(crate) fn labels(&self, key: Key) {
        self.send(&self.labels, key);
    }

    /// A machine, in all respects: it changed, or an object around it did.
    pub(crate) fn all_of(&self, machine: Key) {
        self.labels(machine.clone());
        self.machine(machine);
    }

    pub(crate) fn remediation(&self, key: Key) {
        self.send(&self.remediations, key);
    }

    pub(crate) fn template(&self, key: Key) {
        self.send(&self.templates, key);
    }

    pub(crate) fn cluster(&self, key: Key) {
        self.send(&self.clusters, key);
    }

    /// There is news of a host that might be claimed: by any machine, or by those with this key.
    pub(crate) fn host_offered(&self, host: &HostKey, reuse_key: &str) {
        self.lines(&host.namespace, |lines| lines.offered(&host.name, reuse_key));
    }

    /// A host cannot be claimed any more.
    pub(crate) fn host_withdrawn(&self, host: &HostKey) {
        self.lines(&host.namespace, |lines| {
            lines.withdrawn(&host.name);
            Vec::new()
        });
    }

    /// A host that was kept for machines with this key is not to be waited for any more.
    pub(crate) fn host_not_awaited(&self, namespace: &str, reuse_key: &str) {
        self.lines(namespace, |lines| lines.not_awaited(reuse_key));
    }

    /// Nobody tells of hosts any more, or what was told meanwhile is not known.
    pub(crate) fn hosts_anew(&self) {
        for namespace in self.waiting.namespaces() {
            self.lines(&namespace, Lines::anew);
        }
    }

    /// The machine is about to claim a host. Called before the claim, so that a host that is offered meanwhile wakes it.
    pub(crate) fn asks_for_host(&self, machine: &Key, wish: &Wish) {
        self.lines(&machine.namespace, |lines| lines.asks(machine, wish));
    }

    /// The machine was told that there is no host for it.
    pub(crate) fn found_no_host(&self, machine: &Key) {
        self.lines(&machine.namespace, |lines| lines.found_none(machine));
    }

    /// The machine could not be looked at, or could not ask for a host, and tries again.
    pub(crate) fn unanswered(&self, machine: &Key) {
        self.lines(&machine.namespace, |lines| lines.unanswered(machine));
    }

    /// The machine waits for no host.
    pub(crate) fn wants_no_host(&self, machine: &Key) {
        self.lines(&machine.namespace, |lines| lines.leaves(machine));
    }

    /// Wakes whoever is to look for a host then.
    fn lines(&self, namespace: &str, act: impl FnOnce(&mut Lines<Key>) -> Vec<Key>) {
        let woken = self
            .waiting
            .with(|lists| act(lists.for_host.entry(namespace.to_owned()).or_default()));
        for machine in woken {
            self.machine(machine);
        }
    }

    /// The host service answers again.
    pub(crate) fn service_back(&self) {
        for key in self.waiting.pop_for_service() {
            self.machine(key);
        }
        for key in self.waiting.pop_clusters() {
            self.cluster(key);
        }
        for key in self.following.all() {
            self.remediation(key);
        }
    }

    /// A controller that does not lead looks at everything when it begins to.
    fn send(&self, sender: &UnboundedSender<Key>, key: Key) {
        if self.leadership.held() {
            // The receiver ends with the process only.
            let _ = sender.send(key);
        }
    }
}

/// Which remediation is about which Metal3Machine.
#[derive(Debug, Default)]
pub(crate) struct Following {
    machines: Mutex<HashMap<Key, Key>>,
}

impl Following {
    pub(crate) fn follow(&self, remediation: &Key, machine: Key) {
        self.with(|machines| machines.insert(remediation.clone(), machine));
    }

    pub(crate) fn forget(&self, remediation: &Key) {
        self.with(|machines| machines.remove(remediation));
    }

    /// Remediations are few: there is no index the other way round.
    fn of(&self, machine: &Key) -> BTreeSet<Key> {
        self.with(|machines| {
            let about = machines.iter().filter(|(_, about)| *about == machine);
            about.map(|(remediation, _)| remediation.clone()).collect()
        })
    }

    fn all(&self) -> BTreeSet<Key> {
        self.with(|machines| machines.keys().cloned().collect())
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Key, Key>) -> T) -> T {
        act(&mut self.machines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Machines and clusters that wait for something that has no object of Kubernetes.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// By namespace.
    for_host: HashMap<String, Lines<Key>>,
    for_service: HashSet<Key>,
    clusters: HashSet<Key>,
}

impl Waiting {
    /// The machine could not ask the host service.
    pub(crate) fn for_service(&self, key: &Key) {
        self.with(|lists| {
            lists.for_service.insert(key.clone());
        });
    }

    /// The Metal3Cluster could not ask the host service.
    pub(crate) fn cluster_for_service(&self, key: &Key) {
        self.with(|lists| {
            lists.clusters.insert(key.clone());
        });
    }

    fn namespaces(&self) -> Vec<String> {
        self.with(|lists| lists.for_host.keys().cloned().collect())
    }

    fn pop_for_service(&self) -> HashSet<Key> {
        self.with(|lists| std::mem::take(&mut lists.for_service))
    }

    fn pop_clusters(&self) -> HashSet<Key> {
        self.with(|lists| std::mem::take(&mut lists.clusters))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Lists) -> T) -> T {
        act(&mut self.lists.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostKey {
        HostKey {
            namespace: "ns".into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_host_wakes_machines_of_its_namespace_and_a_stream_that_broke_those_of_all() {
        let (wakes, mut woken) = Wakes::new(Leadership::always());
        let machines = ["m", "n"].map(|name| Key::new("ns", name));
        let elsewhere = Key::new("other", "m");
        for machine in machines.iter().chain([&elsewhere]) {
            wakes.asks_for_host(machine, &Wish::default());
            wakes.found_no_host(machine);
        }
        let mut woken = || std::iter::from_fn(|| woken.machines.try_recv().ok()).collect::<Vec<_>>();
        wakes.host_offered(&host("h"), "");
        assert_eq!(woken(), machines[..1]);
        wakes.host_withdrawn(&host("h"));
        wakes.wants_no_host(&machines[0]);
        assert_eq!(woken(), []);
        wakes.hosts_anew();
        let mut all = woken();
        all.sort();
        assert_eq!(all, [machines[1].clone(), elsewhere]);
    }

    #[test]
    fn a_host_service_that_is_back_wakes_each_cluster_that_waited_for_it_once() {
        let (wakes, mut woken) = Wakes::new(Leadership::always());
        let key = Key::new("ns", "c");
        wakes.waiting.cluster_for_service(&key);
        wakes.waiting.cluster_for_service(&key);
        wakes.service_back();
        wakes.service_back();
        assert_eq!(woken.clusters.try_recv().ok(), Some(key));
        assert!(woken.clusters.try_recv().is_err() && woken.machines.try_recv().is_err());
    }

    #[test]
    fn a_remediation_follows_its_machine_until_it_is_gone() {
        let following = Following::default();
        let (remediation, machine) = (Key::new("ns", "r"), Key::new("ns", "m"));
        following.follow(&remediation, machine.clone());
        assert_eq!(following.of(&machine), [remediation.clone()].into());
        assert_eq!(following.of(&remediation), [].into());
        following.forget(&remediation);
        assert_eq!((following.of(&machine), following.all()), ([].into(), [].into()));
    }
}
