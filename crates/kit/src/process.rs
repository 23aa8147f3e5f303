//! The process itself, under the names that every Prometheus client uses, from `/proc/self`.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Linux has used 100 clock ticks per second on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU, memory, open files and the start of the process.
#[derive(Debug)]
pub(crate) struct Process {
    started: f64,
}

impl Process {
    /// The process starts now.
    pub(crate) fn begun() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started: since.map_or(0.0, |since| since.as_secs_f64()),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some((cpu, rss)) = usage() {
            let metric = encoder.encode_descriptor(
                "process_cpu_seconds",
                "User and system CPU time",
                None,
                MetricType::Counter,
            )?;
            ConstCounter::new(cpu).encode(metric)?;
            gauge(
                &mut encoder,
                "process_resident_memory_bytes",
                "Resident memory",
                rss,
            )?;
        }
        let files = [
            ("process_open_fds", "Open files", open_files()),
            ("process_max_fds", "Files that may be open", most_files()),
        ];
        for (name, help, value) in files {
            if let Some(value) = value {
                gauge(&mut encoder, name, help, value)?;
            }
        }
        let metric = encoder.encode_descriptor(
            "process_start_time_seconds",
            "Start of the process since the Unix epoch",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(self.started).encode(metric)
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> Result<(), fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
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

fn open_files() -> Option<i64> {
    let files = std::fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(files).ok()
}

fn most_files() -> Option<i64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn the_process_reports_itself() {
        let text = Metrics::default().text().unwrap();
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
            "process_start_time_seconds ",
        ] {
            let told = text.lines().find_map(|line| line.strip_prefix(name));
            let value = told.and_then(|value| value.parse::<f64>().ok());
            assert!(value.is_some_and(|value| value >= 0.0), "{name}: {text}");
        }
    }
}
