//! Metrics under upstream's names, and a few of our own.

use std::fmt;
use std::sync::Arc;

use metal3_ironic::IronicProvisioner;
use metal3_kit::metrics::Metrics;
use metal3_provisioner::HostKey;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;

/// A change of the provisioning state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Transition {
    pub(crate) prev_state: String,
    pub(crate) new_state: String,
}

/// A failure recorded on a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct HostError {
    pub(crate) error_type: String,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Host {
    pub(crate) namespace: String,
    pub(crate) host: String,
}

impl Host {
    fn of(key: &HostKey) -> Self {
        Self {
            namespace: key.namespace.clone(),
            host: key.name.clone(),
        }
    }
}

/// A write to Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Write {
    pub(crate) kind: &'static str,
}

/// Counters of the host controller; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostMetrics {
    pub(crate) reconciles: Family<Host, Counter>,
    pub(crate) reconcile_errors: Counter,
    pub(crate) host_errors: Family<HostError, Counter>,
    pub(crate) transitions: Family<Transition, Counter>,
    pub(crate) not_ready: Counter,
    pub(crate) writes: Family<Write, Counter>,
}

impl HostMetrics {
    /// Registers the counters. The encoder adds `_total`.
    pub(crate) fn register(metrics: &Metrics, backend: Arc<IronicProvisioner>) -> Self {
        let host = Self::default();
        metrics.register(|registry| {
            registry.register("metal3_reconcile", "Passes over hosts", host.reconciles.clone());
            registry.register(
                "metal3_reconcile_error",
                "Passes that failed",
                host.reconcile_errors.clone(),
            );
            registry.register(
                "metal3_host_error",
                "Failures recorded on hosts",
                host.host_errors.clone(),
            );
            registry.register(
                "metal3_provisioning_state_change",
                "Changes of the provisioning state",
                host.transitions.clone(),
            );
            registry.register(
                "metal3_provisioner_not_ready",
                "Passes without a backend",
                host.not_ready.clone(),
            );
            registry.register(
                "metal3_kubernetes_writes",
                "Writes to Kubernetes",
                host.writes.clone(),
            );
            registry.register_collector(Box::new(Requests(backend)));
        });
        host
    }

    pub(crate) fn pass(&self, key: &HostKey) {
        self.reconciles.get_or_create(&Host::of(key)).inc();
    }

    /// The host is gone, and with it everything that was counted of it alone.
    pub(crate) fn forget(&self, key: &HostKey) {
        self.reconciles.remove(&Host::of(key));
    }

    #[cfg(test)]
    pub(crate) fn passes_of(&self, key: &HostKey) -> Option<u64> {
        self.reconciles.get(&Host::of(key)).map(|counter| counter.get())
    }

    pub(crate) fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&Write { kind }).inc();
    }
}

/// Requests to Ironic, counted by its client.
struct Requests(Arc<IronicProvisioner>);

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut metric = encoder.encode_descriptor(
            "metal3_ironic_requests",
            "Requests to Ironic",
            None,
            MetricType::Counter,
        )?;
        for ((method, route, code), (count, _)) in self.0.client().stats().snapshot() {
            let labels = [
                ("method", method),
                ("route", route.to_owned()),
                ("code", code.to_string()),
            ];
            ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
