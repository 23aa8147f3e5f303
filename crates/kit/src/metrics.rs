//! The `/metrics` server, with facts about the process itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Linux has used 100 clock ticks per second on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The metrics of a process; cheap to share.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        Self {
            registry: Arc::new(Mutex::new(registry)),
        }
    }
}

impl Metrics {
    /// Registers metrics.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The text that `/metrics` answers.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(
            &mut text,
            &self.registry.lock().unwrap_or_else(PoisonError::into_inner),
        )?;
        Ok(text)
    }

    /// Serves `/metrics` until shutdown.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn serve(self, address: &str, shutdown: CancellationToken) -> Result<()> {
        let handler = move || {
            let text = self.text().unwrap_or_default();
            async move { ([(CONTENT_TYPE, OPENMETRICS)], text) }
        };
        crate::probes::serve_router(address, Router::new().route("/metrics", get(handler)), shutdown).await
    }
}

/// CPU and memory from `/proc/self`, under the names that every Prometheus client uses.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some((cpu, rss)) = usage() else { return Ok(()) };
        let cpu = ConstCounter::new(cpu);
        let metric = encoder.encode_descriptor(
            "process_cpu_seconds",
            "User and system CPU time",
            None,
            prometheus_client::metrics::MetricType::Counter,
        )?;
        cpu.encode(metric)?;
        let rss = ConstGauge::new(rss);
        let metric = encoder.encode_descriptor(
            "process_resident_memory_bytes",
            "Resident memory",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        rss.encode(metric)
    }
}

/// CPU seconds and resident bytes of this process.
pub fn usage() -> Option<(f64, i64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field may contain spaces; what follows its closing parenthesis does not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes = kibibytes.trim().trim_end_matches(" kB").parse::<i64>().ok()?;
    Some((ticks / TICKS_PER_SECOND, kibibytes * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_reports_itself() {
        let text = Metrics::default().text().unwrap();
        assert!(text.contains("process_cpu_seconds_total"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
