//! Metrics of the client.

use std::time::Duration;

use metal3_rpc::client::Observer;
use tonic::Code;

use crate::metrics::{Call, Capm3Metrics, Method, Retry, Standing, Stream};

/// Counts what the client does.
#[derive(Debug)]
pub(crate) struct Counting(pub(crate) Capm3Metrics);

impl Observer for Counting {
    fn called(&self, method: &'static str, code: Code, took: Duration) {
        let code = format!("{code:?}");
        self.0.calls.get_or_create(&Call { method, code }).inc();
        let seconds = self.0.call_seconds.get_or_create(&Method { method });
        seconds.observe(took.as_secs_f64());
    }

    fn retried(&self, method: &'static str, cause: &'static str) {
        self.0.retries.get_or_create(&Retry { method, cause }).inc();
    }

    fn replicas(&self, known: usize, usable: usize) {
        for (state, count) in [("usable", usable), ("failing", known.saturating_sub(usable))] {
            let gauge = self.0.replicas.get_or_create(&Standing { state });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    fn stream_lost(&self, code: Code) {
        let code = format!("{code:?}");
        self.0.streams_lost.get_or_create(&Stream { code }).inc();
    }
}

#[cfg(test)]
mod tests {
    use metal3_kit::metrics::Metrics;

    use super::*;

    #[test]
    fn calls_retries_replicas_and_streams_are_counted() {
        let metrics = Metrics::default();
        let counting = Counting(Capm3Metrics::register(&metrics));
        counting.called("GetHost", Code::Ok, Duration::from_millis(2));
        counting.called("GetHost", Code::Unavailable, Duration::from_secs(20));
        counting.retried("GetHost", "silent");
        counting.replicas(3, 2);
        counting.stream_lost(Code::Unavailable);
        let text = metrics.text().unwrap();
        for line in [
            r#"metal3_host_service_calls_total{method="GetHost",code="Unavailable"} 1"#,
            r#"metal3_host_service_call_duration_seconds_count{method="GetHost"} 2"#,
            r#"metal3_host_service_call_retries_total{method="GetHost",cause="silent"} 1"#,
            r#"metal3_host_service_replicas{state="usable"} 2"#,
            r#"metal3_host_service_replicas{state="failing"} 1"#,
            r#"metal3_host_service_stream_restarts_total{code="Unavailable"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }
}
