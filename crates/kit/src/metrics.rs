//! The `/metrics` server, with facts about the process itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::caller::{self, Deed, bearer};
use crate::client::brief;
use crate::probes::{listen_address, serve_router};
use crate::tls::{Certificate, Offer, Protocol, TlsListener};

const PATH: &str = "/metrics";
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
        let handler = move || async move { self.answer() };
        serve_router(address, Router::new().route(PATH, get(handler)), shutdown).await
    }

    /// Serves `/metrics` by TLS until shutdown, to those whose token may get it.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub async fn serve_protected(
        self,
        address: &str,
        certificate: Arc<Certificate>,
        authority: caller::Authority,
        offer: &Offer,
        shutdown: CancellationToken,
    ) -> Result<()> {
        if listen_address(address).is_none() {
            shutdown.cancelled().await;
            return Ok(());
        }
        let listener = TlsListener::bind_with(address, certificate, Protocol::Http1, offer).await?;
        let authority = Arc::new(authority);
        let handler = move |headers: HeaderMap| {
            let authority = Arc::clone(&authority);
            async move {
                match admit(&authority, &headers).await {
                    Ok(()) => self.answer(),
                    Err(refusal) => refusal,
                }
            }
        };
        axum::serve(listener, Router::new().route(PATH, get(handler)))
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await?;
        Ok(())
    }

    fn answer(&self) -> Response {
        let text = self.text().unwrap_or_default();
        ([(CONTENT_TYPE, OPENMETRICS)], text).into_response()
    }
}

/// Nothing when the caller may get metrics, and the answer when not.
async fn admit(authority: &caller::Authority, headers: &HeaderMap) -> Result<(), Response> {
    let unavailable = |error: kube::Error| {
        tracing::warn!(
            error = brief(&error),
            "cannot ask Kubernetes about a caller of metrics"
        );
        let text = "the Kubernetes API could not be asked about the caller; try again\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    };
    let unknown =
        |text: &'static str| (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text).into_response();
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = bearer(header) else {
        return Err(unknown(
            "no token: send a ServiceAccount token as `authorization: Bearer <token>`\n",
        ));
    };
    let Some(user) = authority.user(token).await.map_err(unavailable)? else {
        return Err(unknown(
            "Kubernetes does not accept the token: it expired, or is for another audience\n",
        ));
    };
    let name = user.username.clone().unwrap_or_default();
    let deed = Deed::Path {
        path: PATH,
        verb: "get",
    };
    if authority.may(user, deed).await.map_err(unavailable)? {
        return Ok(());
    }
    let text =
        format!("{name} may not get {PATH}: grant verb get on nonResourceURLs {PATH} by a ClusterRole\n");
    Err((StatusCode::FORBIDDEN, text).into_response())
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
