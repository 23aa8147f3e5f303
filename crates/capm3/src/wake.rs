//! Who is to be looked at because something else changed, and who waits for what.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use metal3_kit::lease::Leadership;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::objects::Key;

/// Machines woken by one host that became free. Those that wait longest come first; a host that none of them can use is
/// found by the others when they ask again by themselves. Without the bound, a thousand waiting machines would ask a
/// thousand times for each host of a rack that is unpacked.
const PER_HOST: usize = 32;

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

    /// A host of the namespace became free.
    pub(crate) fn host_freed(&self, namespace: &str) {
        for key in self.waiting.pop_for_host(namespace) {
            self.machine(key);
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
    for_host: VecDeque<Key>,
    queued: HashSet<Key>,
    for_service: HashSet<Key>,
    clusters: HashSet<Key>,
}

impl Waiting {
    /// The machine is about to claim. Called before the claim, so that a host that becomes free meanwhile wakes it.
    pub(crate) fn for_host(&self, key: &Key) {
        self.with(|lists| {
            if lists.queued.insert(key.clone()) {
                lists.for_host.push_back(key.clone());
            }
        });
    }

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

    /// The machine waits for no host any more.
    pub(crate) fn has_host(&self, key: &Key) {
        // Its place in the queue is skipped when its turn comes.
        self.with(|lists| {
            lists.queued.remove(key);
        });
    }

    fn pop_for_host(&self, namespace: &str) -> Vec<Key> {
        self.with(|lists| {
            let mut woken = Vec::new();
            let mut rest = VecDeque::with_capacity(lists.for_host.len());
            for key in lists.for_host.drain(..) {
                if !lists.queued.contains(&key) {
                    continue;
                }
                if key.namespace == namespace && woken.len() < PER_HOST {
                    lists.queued.remove(&key);
                    woken.push(key);
                } else {
                    rest.push_back(key);
                }
            }
            lists.for_host = rest;
            woken
        })
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

    #[test]
    fn a_free_host_wakes_those_who_wait_longest_in_its_namespace() {
        let waiting = Waiting::default();
        waiting.for_host(&Key::new("other", "first"));
        for n in 0..PER_HOST + 2 {
            waiting.for_host(&Key::new("ns", &n.to_string()));
        }
        waiting.has_host(&Key::new("ns", "0"));
        let woken = waiting.pop_for_host("ns");
        assert_eq!(woken.len(), PER_HOST);
        assert_eq!(woken.first(), Some(&Key::new("ns", "1")));
        assert_eq!(
            waiting.pop_for_host("ns"),
            [Key::new("ns", &(PER_HOST + 1).to_string())]
        );
        assert_eq!(waiting.pop_for_host("ns"), []);
        assert_eq!(waiting.pop_for_host("other"), [Key::new("other", "first")]);
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

    #[test]
    fn a_machine_that_left_the_queue_may_enter_it_again_once() {
        let waiting = Waiting::default();
        let key = Key::new("ns", "m");
        waiting.for_host(&key);
        waiting.has_host(&key);
        waiting.for_host(&key);
        assert_eq!(waiting.pop_for_host("ns"), [key]);
        assert_eq!(waiting.pop_for_host("ns"), []);
    }
}
