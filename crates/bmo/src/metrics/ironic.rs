//! What the client of Ironic counts, and how much there is to do for it.

use std::fmt;
use std::sync::Arc;

use metal3_ironic::IronicProvisioner;
use metal3_ironic::client::{BOUNDS, Histogram};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::catalogue::{Metric, ironic as all};

/// Metrics of one Ironic.
pub(super) struct Backend(pub(super) Arc<IronicProvisioner>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

impl Collector for Backend {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (backend, client) = (&self.0, self.0.client());
        requests(&mut encoder, backend)?;
        latencies(&mut encoder, backend)?;
        let metric = all::RETRIES;
        let retries = encoder.encode_descriptor(metric.name, metric.help, None, MetricType::Counter)?;
        ConstCounter::new(client.stats().retries()).encode(retries)?;
        let queue = backend.queue();
        for (metric, value) in [
            (all::IN_FLIGHT, count(client.in_flight())),
            (all::CIRCUIT_OPEN, client.breaker_state().open.into()),
            (all::NODES, count(backend.nodes().len())),
            (all::ORPHANS, count(backend.orphans().len())),
            (all::QUEUE_WAITING, queue.waiting.into()),
            (all::QUEUE_USED, queue.used.into()),
            (all::QUEUE_LIMIT, queue.limit.into()),
        ] {
            gauge(&mut encoder, metric, value)?;
        }
        Ok(())
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, metric: Metric, value: i64) -> Result<(), fmt::Error> {
    let encoder = encoder.encode_descriptor(metric.name, metric.help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}

fn requests(encoder: &mut DescriptorEncoder<'_>, backend: &IronicProvisioner) -> Result<(), fmt::Error> {
    let snapshot = backend.client().stats().snapshot();
    if snapshot.is_empty() {
        return Ok(());
    }
    let metric = all::REQUESTS;
    let mut family = encoder.encode_descriptor(metric.name, metric.help, None, MetricType::Counter)?;
    for ((method, route, code), (count, _)) in snapshot {
        let labels = [
            ("method", method),
            ("route", route.to_owned()),
            ("code", code.to_string()),
        ];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn latencies(encoder: &mut DescriptorEncoder<'_>, backend: &IronicProvisioner) -> Result<(), fmt::Error> {
    let latencies = backend.client().stats().latencies();
    if latencies.is_empty() {
        return Ok(());
    }
    let metric = all::SECONDS;
    let mut family = encoder.encode_descriptor(metric.name, metric.help, None, MetricType::Histogram)?;
    for (route, histogram) in latencies {
        family
            .encode_family(&[("route", route)])?
            .encode_histogram::<NoLabelSet>(
                histogram.sum.as_secs_f64(),
                histogram.count(),
                &buckets(&histogram),
                None,
            )?;
    }
    Ok(())
}

/// With their upper bounds; the encoder adds them up.
fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
    bounds.zip(histogram.buckets).collect()
}
