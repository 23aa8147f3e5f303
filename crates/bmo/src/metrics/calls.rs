//! Calls of the HostService and what was asked about their callers.

use std::time::Duration;

use metal3_kit::caller::Reviews;
use metal3_kit::metrics::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::Histograms;
use super::catalogue::host_service as all;

/// From an answer out of memory to one that waited for other writers.
const CALL: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    call: &'static str,
    code: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    call: &'static str,
}

/// Metrics of the HostService; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct CallMetrics {
    calls: Family<Answered, Counter>,
    seconds: Histograms<Called>,
    watches: Gauge,
}

impl Default for CallMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(CALL)),
            watches: Gauge::default(),
        }
    }
}

impl CallMetrics {
    /// Registers them, with what is counted of callers.
    pub(crate) fn announce(&self, metrics: &Metrics, reviews: Reviews) {
        metrics.register(|registry| {
            all::CALLS.register(registry, self.calls.clone());
            all::CALL_SECONDS.register(registry, self.seconds.clone());
            all::WATCHES.register(registry, self.watches.clone());
            all::REVIEWS.register(registry, reviews);
        });
    }

    /// A call was answered; one that the contract does not know has no name.
    pub(crate) fn answered(
        &self,
        call: &'static str,
        code: &'static str,
        reason: &'static str,
        after: Duration,
    ) {
        let labels = Answered { call, code, reason };
        self.calls.get_or_create(&labels).inc();
        self.seconds
            .get_or_create(&Called { call })
            .observe(after.as_secs_f64());
    }

    /// A watch is open until what this gives is dropped.
    pub(crate) fn watching(&self) -> Watching {
        self.watches.inc();
        Watching(self.watches.clone())
    }
}

/// An open watch.
#[derive(Debug)]
pub(crate) struct Watching(Gauge);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use metal3_kit::caller::Review;

    use super::*;

    #[test]
    fn the_catalogue_lists_what_is_told_of_calls() {
        let (metrics, calls) = (Metrics::default(), CallMetrics::default());
        let reviews = Reviews::default();
        calls.announce(&metrics, reviews.clone());
        let (review, result) = ("token", "denied");
        reviews.get_or_create(&Review { review, result }).inc();
        calls.answered("GetHost", "NOT_FOUND", "HOST_NOT_FOUND", Duration::from_millis(3));
        let watching = calls.watching();
        let text = metrics.text().unwrap();
        for line in [
            r#"metal3_host_service_calls_total{call="GetHost",code="NOT_FOUND",reason="HOST_NOT_FOUND"} 1"#,
            r#"metal3_host_service_call_duration_seconds_bucket{le="0.005",call="GetHost"} 1"#,
            "metal3_host_service_watches 1",
            r#"metal3_host_service_reviews_total{review="token",result="denied"} 1"#,
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
        drop(watching);
        assert!(metrics.text().unwrap().contains("metal3_host_service_watches 0"));
        let told: BTreeSet<_> = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("# TYPE metal3_host_service_")?
                    .split(' ')
                    .next()
            })
            .map(|name| format!("metal3_host_service_{name}"))
            .collect();
        let listed: BTreeSet<_> = all::ALL.iter().map(|metric| metric.name.to_owned()).collect();
        assert_eq!(told, listed);
    }
}
