//! Metrics under upstream's names, and some of our own; `catalogue.rs` lists all.
//!
//! What a pass did is counted from its verdict (`facts.rs`), what hosts are like is looked at when somebody asks
//! (`fleet.rs`), and the client of Ironic counts for itself (`ironic.rs`).

mod calls;
mod catalogue;
mod facts;
mod fleet;
mod ironic;
mod labels;
mod reference;

use std::sync::Arc;
use std::time::Instant;

use metal3_ironic::IronicProvisioner;
use metal3_kit::metrics::Metrics;
use metal3_provisioner::HostKey;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

pub(crate) use calls::CallMetrics;
pub(crate) use facts::Facts;
pub(crate) use fleet::Each;
pub(crate) use reference::markdown;

use self::catalogue as all;
use self::labels::{
    Cause, Controller, DataType, Host, HostError, PowerChange, Result, State, Transition, Write,
};

/// The name of the controller, as controller-runtime would have it.
const CONTROLLER: Controller = Controller {
    controller: "baremetalhost",
};

/// The Lease of the replica that leads.
pub(crate) const LEASE: &str = "baremetal-operator";

/// Buckets of Prometheus' Go client, which upstream's histogram of registrations has.
const DEFAULT: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upstream's, for what takes long.
const LONG: [f64; 6] = [30.0, 90.0, 180.0, 360.0, 720.0, 1440.0];
/// From a simulated host to one whose disks are erased.
const STATE: [f64; 12] = [
    1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0, 7200.0, 14400.0,
];
/// Bounds of controller-runtime's histogram, thinned out.
const PASS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Metrics of the host controller; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct HostMetrics {
    hosts: PerHost,
    pub(crate) reconcile_errors: Counter,
    host_errors: Family<HostError, Counter>,
    failures: Family<Cause, Counter>,
    transitions: Family<Transition, Counter>,
    state_seconds: Histograms<State>,
    pub(crate) not_ready: Counter,
    pub(crate) credentials_unhandled: Counter,
    credentials_missing: Counter,
    credentials_invalid: Counter,
    credentials_updated: Counter,
    no_management_access: Counter,
    config_data_errors: Family<DataType, Counter>,
    registration_required: Counter,
    unmanaged: Counter,
    deleted_unclean: Counter,
    deleted_powered: Counter,
    deletion_delayed: Counter,
    waiting_for_image: Counter,
    passes: Family<Result, Counter>,
    pass_errors: Family<Controller, Counter>,
    pass_seconds: Histograms<Controller>,
    active: Family<Controller, Gauge>,
    workers: Family<Controller, Gauge>,
    writes: Family<Write, Counter>,
    pub(crate) events_joined: Counter,
}

/// What is counted of each host alone, and forgotten with it.
#[derive(Clone, Debug)]
struct PerHost {
    reconciles: Family<Host, Counter>,
    power_changes: Family<PowerChange, Counter>,
    delayed_provisioning: Family<Host, Counter>,
    delayed_deprovisioning: Family<Host, Counter>,
    register: Histograms<Host>,
    inspect: Histograms<Host>,
    provision: Histograms<Host>,
    deprovision: Histograms<Host>,
}

impl Default for PerHost {
    fn default() -> Self {
        Self {
            reconciles: Family::default(),
            power_changes: Family::default(),
            delayed_provisioning: Family::default(),
            delayed_deprovisioning: Family::default(),
            register: Family::new_with_constructor(|| Histogram::new(DEFAULT)),
            inspect: Family::new_with_constructor(|| Histogram::new(LONG)),
            provision: Family::new_with_constructor(|| Histogram::new(LONG)),
            deprovision: Family::new_with_constructor(|| Histogram::new(LONG)),
        }
    }
}

impl Default for HostMetrics {
    fn default() -> Self {
        Self {
            hosts: PerHost::default(),
            reconcile_errors: Counter::default(),
            host_errors: Family::default(),
            failures: Family::default(),
            transitions: Family::default(),
            state_seconds: Family::new_with_constructor(|| Histogram::new(STATE)),
            not_ready: Counter::default(),
            credentials_unhandled: Counter::default(),
            credentials_missing: Counter::default(),
            credentials_invalid: Counter::default(),
            credentials_updated: Counter::default(),
            no_management_access: Counter::default(),
            config_data_errors: Family::default(),
            registration_required: Counter::default(),
            unmanaged: Counter::default(),
            deleted_unclean: Counter::default(),
            deleted_powered: Counter::default(),
            deletion_delayed: Counter::default(),
            waiting_for_image: Counter::default(),
            passes: Family::default(),
            pass_errors: Family::default(),
            pass_seconds: Family::new_with_constructor(|| Histogram::new(PASS)),
            active: Family::default(),
            workers: Family::default(),
            writes: Family::default(),
            events_joined: Counter::default(),
        }
    }
}

impl HostMetrics {
    /// Registers the metrics, also those of the backend's client.
    pub(crate) fn register(metrics: &Metrics, backend: Arc<IronicProvisioner>) -> Self {
        let host = Self::default();
        metrics.register(|registry| registry.register_collector(Box::new(ironic::Backend(backend))));
        host.announce(metrics);
        host
    }

    fn announce(&self, metrics: &Metrics) {
        let hosts = &self.hosts;
        metrics.register(|registry| {
            all::RECONCILES.register(registry, hosts.reconciles.clone());
            all::POWER_CHANGES.register(registry, hosts.power_changes.clone());
            for twin in [all::DELAYED_PROVISIONING_ODD, all::DELAYED_PROVISIONING] {
                twin.register(registry, hosts.delayed_provisioning.clone());
            }
            for twin in [all::DELAYED_DEPROVISIONING_ODD, all::DELAYED_DEPROVISIONING] {
                twin.register(registry, hosts.delayed_deprovisioning.clone());
            }
            all::REGISTER_SECONDS.register(registry, hosts.register.clone());
            all::INSPECT_SECONDS.register(registry, hosts.inspect.clone());
            all::PROVISION_SECONDS.register(registry, hosts.provision.clone());
            all::DEPROVISION_SECONDS.register(registry, hosts.deprovision.clone());
            all::HOST_ERRORS.register(registry, self.host_errors.clone());
            all::FAILURES.register(registry, self.failures.clone());
            all::STATE_CHANGES.register(registry, self.transitions.clone());
            all::STATE_SECONDS.register(registry, self.state_seconds.clone());
            all::CONFIG_DATA_ERRORS.register(registry, self.config_data_errors.clone());
            all::RUNTIME_RECONCILES.register(registry, self.passes.clone());
            all::RUNTIME_ERRORS.register(registry, self.pass_errors.clone());
            all::RUNTIME_SECONDS.register(registry, self.pass_seconds.clone());
            all::RUNTIME_ACTIVE.register(registry, self.active.clone());
            all::RUNTIME_WORKERS.register(registry, self.workers.clone());
            all::WRITES.register(registry, self.writes.clone());
            for (metric, counter) in [
                (all::RECONCILE_ERRORS, &self.reconcile_errors),
                (all::NOT_READY, &self.not_ready),
                (all::CREDENTIALS_MISSING, &self.credentials_missing),
                (all::CREDENTIALS_INVALID, &self.credentials_invalid),
                (all::CREDENTIALS_UNHANDLED, &self.credentials_unhandled),
                (all::CREDENTIALS_UPDATED, &self.credentials_updated),
                (all::NO_MANAGEMENT_ACCESS, &self.no_management_access),
                (all::REGISTRATION_REQUIRED, &self.registration_required),
                (all::UNMANAGED, &self.unmanaged),
                (all::DELETED_UNCLEAN, &self.deleted_unclean),
                (all::DELETED_POWERED, &self.deleted_powered),
                (all::DELETION_DELAYED, &self.deletion_delayed),
                (all::WAITING_FOR_IMAGE, &self.waiting_for_image),
                (all::EVENTS_JOINED, &self.events_joined),
            ] {
                metric.register(registry, counter.clone());
            }
        });
    }

    /// A pass over a host begins.
    pub(crate) fn pass(&self, key: &HostKey) {
        self.hosts.reconciles.get_or_create(&Host::of(key)).inc();
    }

    /// A worker is busy until the pass is told to have ended.
    pub(crate) fn begun(&self) -> Pass {
        self.active.get_or_create(&CONTROLLER).inc();
        Pass {
            metrics: self.clone(),
            begun: Instant::now(),
        }
    }

    /// At most so many hosts are worked on at once.
    pub(crate) fn workers(&self, count: u16) {
        self.workers.get_or_create(&CONTROLLER).set(count.into());
    }

    /// A change of power was accepted.
    pub(crate) fn power_changed(&self, key: &HostKey, on: bool) {
        self.hosts
            .power_changes
            .get_or_create(&PowerChange::of(key, on))
            .inc();
    }

    /// A Secret for the config drive cannot be used; the words about it name the field.
    pub(crate) fn config_data_error(&self, problem: &str) {
        let fields = ["userData", "networkData", "metaData"];
        let Some(host_data_type) = fields.into_iter().find(|field| problem.contains(field)) else {
            return;
        };
        self.config_data_errors
            .get_or_create(&DataType { host_data_type })
            .inc();
    }

    /// Looks at all hosts whenever somebody asks.
    pub(crate) fn fleet(metrics: &Metrics, each: fleet::Each) {
        metrics.register(|registry| registry.register_collector(Box::new(fleet::Fleet(each))));
    }

    /// The host is gone, and with it everything that was counted of it alone.
    pub(crate) fn forget(&self, key: &HostKey) {
        let (host, hosts) = (Host::of(key), &self.hosts);
        hosts.reconciles.remove(&host);
        hosts.delayed_provisioning.remove(&host);
        hosts.delayed_deprovisioning.remove(&host);
        for on in [true, false] {
            hosts.power_changes.remove(&PowerChange::of(key, on));
        }
        for histogram in [
            &hosts.register,
            &hosts.inspect,
            &hosts.provision,
            &hosts.deprovision,
        ] {
            histogram.remove(&host);
        }
    }

    #[cfg(test)]
    pub(crate) fn passes_of(&self, key: &HostKey) -> Option<u64> {
        self.hosts
            .reconciles
            .get(&Host::of(key))
            .map(|counter| counter.get())
    }

    #[cfg(test)]
    pub(crate) fn transitions_of(&self, from: &str, to: &str) -> Option<u64> {
        let labels = Transition {
            prev_state: from.to_owned(),
            new_state: to.to_owned(),
        };
        self.transitions.get(&labels).map(|counter| counter.get())
    }

    /// How often something was written.
    #[cfg(test)]
    pub(crate) fn writes_of(&self, kind: &'static str) -> u64 {
        self.writes
            .get(&Write { kind })
            .map_or(0, |counter| counter.get())
    }

    /// Something was written.
    pub(crate) fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&Write { kind }).inc();
    }
}

/// A pass under way. One that is dropped ended with its process or its host.
pub(crate) struct Pass {
    metrics: HostMetrics,
    begun: Instant,
}

impl Pass {
    /// With `success`, `requeue`, `requeue_after` or `error`.
    pub(crate) fn ended(self, result: &'static str) {
        let labels = Result {
            controller: CONTROLLER.controller,
            result,
        };
        self.metrics.passes.get_or_create(&labels).inc();
        if result == "error" {
            self.metrics.pass_errors.get_or_create(&CONTROLLER).inc();
        }
        self.metrics
            .pass_seconds
            .get_or_create(&CONTROLLER)
            .observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.metrics.active.get_or_create(&CONTROLLER).dec();
    }
}

#[cfg(test)]
mod tests;
