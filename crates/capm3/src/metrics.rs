//! Metrics under the names of controller-runtime, which upstream uses, and a few of our own.

use std::time::Duration;

use metal3_kit::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Bounds of controller-runtime's histogram, thinned out.
const SECONDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Controller {
    pub(crate) controller: &'static str,
}

/// A pass and its end: `success`, `requeue_after` or `error`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Pass {
    pub(crate) controller: &'static str,
    pub(crate) result: &'static str,
}

/// A call of the host service and its status code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) code: String,
}

/// A call of the host service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Method {
    pub(crate) method: &'static str,
}

/// Why an attempt of a call was made again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Retry {
    pub(crate) method: &'static str,
    pub(crate) cause: &'static str,
}

/// Replicas of the host service: `usable` or `failing`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Standing {
    pub(crate) state: &'static str,
}

/// The end of a stream of hosts and its status code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Stream {
    pub(crate) code: String,
}

/// A write to Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Write {
    pub(crate) kind: &'static str,
    pub(crate) part: &'static str,
}

/// Whether this replica leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Lease {
    pub(crate) name: String,
}

/// The counters of the process; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Capm3Metrics {
    pub(crate) passes: Family<Pass, Counter>,
    pub(crate) errors: Family<Controller, Counter>,
    pub(crate) seconds: Family<Controller, Histogram, fn() -> Histogram>,
    pub(crate) workers: Family<Controller, Gauge>,
    pub(crate) leading: Family<Lease, Gauge>,
    pub(crate) calls: Family<Call, Counter>,
    pub(crate) call_seconds: Family<Method, Histogram, fn() -> Histogram>,
    pub(crate) retries: Family<Retry, Counter>,
    pub(crate) replicas: Family<Standing, Gauge>,
    pub(crate) streams_lost: Family<Stream, Counter>,
    pub(crate) connected: Gauge,
    pub(crate) writes: Family<Write, Counter>,
}

impl Default for Capm3Metrics {
    fn default() -> Self {
        Self {
            passes: Family::default(),
            errors: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            workers: Family::default(),
            leading: Family::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            retries: Family::default(),
            replicas: Family::default(),
            streams_lost: Family::default(),
            connected: Gauge::default(),
            writes: Family::default(),
        }
    }
}

impl Capm3Metrics {
    /// Registers the counters. The encoder adds `_total`.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let capm3 = Self::default();
        metrics.register(|registry| {
            registry.register(
                "controller_runtime_reconcile",
                "Passes by controller and result",
                capm3.passes.clone(),
            );
            registry.register(
                "controller_runtime_reconcile_errors",
                "Passes that failed, by controller",
                capm3.errors.clone(),
            );
            registry.register(
                "controller_runtime_reconcile_time_seconds",
                "Length of passes",
                capm3.seconds.clone(),
            );
            registry.register(
                "controller_runtime_max_concurrent_reconciles",
                "Objects worked on at once, at most",
                capm3.workers.clone(),
            );
            registry.register(
                "leader_election_master_status",
                "1 when this replica leads",
                capm3.leading.clone(),
            );
            registry.register(
                "metal3_host_service_calls",
                "Calls of the host service by method and status code",
                capm3.calls.clone(),
            );
            registry.register(
                "metal3_host_service_call_duration_seconds",
                "Length of calls of the host service, retries included, by method",
                capm3.call_seconds.clone(),
            );
            registry.register(
                "metal3_host_service_call_retries",
                "Attempts that were made again, by method and cause",
                capm3.retries.clone(),
            );
            registry.register(
                "metal3_host_service_replicas",
                "Replicas of the host service that are usable, and that failed last",
                capm3.replicas.clone(),
            );
            registry.register(
                "metal3_host_service_stream_restarts",
                "Times that the stream of hosts was opened again, by the status code of its end",
                capm3.streams_lost.clone(),
            );
            registry.register(
                "metal3_host_service_connected",
                "1 while the host service is watched",
                capm3.connected.clone(),
            );
            registry.register(
                "metal3_kubernetes_writes",
                "Writes to Kubernetes",
                capm3.writes.clone(),
            );
        });
        capm3
    }

    pub(crate) fn wrote(&self, kind: &'static str, part: &'static str) {
        self.writes.get_or_create(&Write { kind, part }).inc();
    }

    pub(crate) fn passed(&self, controller: &'static str, result: &'static str, took: Duration) {
        self.passes.get_or_create(&Pass { controller, result }).inc();
        self.seconds
            .get_or_create(&Controller { controller })
            .observe(took.as_secs_f64());
        if result == "error" {
            self.errors.get_or_create(&Controller { controller }).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashboards_find_the_names_they_know() {
        let metrics = Metrics::default();
        let capm3 = Capm3Metrics::register(&metrics);
        capm3.passed("metal3machine", "error", Duration::from_millis(3));
        let text = metrics.text().unwrap();
        for line in [
            r#"controller_runtime_reconcile_total{controller="metal3machine",result="error"} 1"#,
            r#"controller_runtime_reconcile_errors_total{controller="metal3machine"} 1"#,
            r#"controller_runtime_reconcile_time_seconds_count{controller="metal3machine"} 1"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
