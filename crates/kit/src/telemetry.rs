//! Logs and traces: `docs/tracing.md` tells which spans there are and how they become one trace.

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use http::HeaderMap;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{TraceContextExt as _, TraceId, TracerProvider as _};
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata, Subscriber, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// How to log and where traces go.
#[derive(Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// Log filter, for example `info` or `metal3_bmo=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log_filter: String,
    /// Form of log lines.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// OTLP endpoint for traces (gRPC); none: traces stay in the process.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Logs each call that fails as an error, whatever the caller makes of it.
const QUIET: &str = "kube_client::client::builder=off";

/// Carries the trace in the headers of calls, as W3C has it.
const TRACEPARENT: &str = "traceparent";

/// Sends what is left of the traces when it is dropped.
#[derive(Debug)]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown()
        {
            eprintln!("traces could not be sent: {error}");
        }
    }
}

/// Starts logging and tracing for the process.
///
/// # Errors
/// When the filter or the endpoint cannot be used, or logging was started already.
pub fn init(service: &'static str, version: &'static str, args: &TelemetryArgs) -> Result<Guard> {
    let filter = filter(&args.log_filter)?;
    let lines = match args.log_format {
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            // The list of spans ends with the current one.
            .with_current_span(false)
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let (traces, guard) = match args.otlp_endpoint.as_deref() {
        Some(endpoint) => {
            let (traces, guard) = traces(service, version, endpoint)?;
            (Some(traces), guard)
        }
        None => {
            // The trace of a caller is told in the audit line all the same.
            global::set_text_map_propagator(TraceContextPropagator::new());
            (None, Guard { provider: None })
        }
    };
    tracing_subscriber::registry()
        .with(traces)
        .with(lines.with_filter(filter))
        .try_init()
        .context("logging was started already")?;
    Ok(guard)
}

/// What sends our spans to an OTLP endpoint (gRPC), until the guard is dropped.
///
/// # Errors
/// When the endpoint cannot be used.
pub fn traces<S>(
    service: &'static str,
    version: &'static str,
    endpoint: &str,
) -> Result<(impl Layer<S> + Send + Sync + use<S>, Guard)>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let provider = exporter(service, version, endpoint)?;
    let layer = layer(&provider, service);
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = Some(provider);
    Ok((layer, Guard { provider }))
}

fn layer<S>(provider: &SdkTracerProvider, service: &'static str) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer(service));
    layer.with_filter(filter_fn(is_ours))
}

/// What libraries tell stays here: they may tell of contents (bodies, headers), and to send a trace makes spans of its own,
/// without end.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("metal3") && *metadata.level() <= Level::INFO
}

/// The filter that was asked for, without what others log of calls that we make: a failure of those is told by us, as an
/// error only where it is one. A cluster whose API server is still coming up is none.
fn filter(text: &str) -> Result<EnvFilter> {
    let filter = EnvFilter::try_new(text).with_context(|| format!("invalid log filter {text:?}"))?;
    let asked_for = text.split(',').any(|directive| {
        let everything = ["debug", "trace"]
            .iter()
            .any(|level| directive.trim().eq_ignore_ascii_case(level));
        everything || directive.contains("kube")
    });
    if asked_for {
        return Ok(filter);
    }
    Ok(filter.add_directive(QUIET.parse()?))
}

fn exporter(service: &'static str, version: &'static str, endpoint: &str) -> Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| format!("cannot send traces to {endpoint:?}"))?;
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", version))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// Adds the current span to the headers of an outgoing call.
pub fn inject(headers: &mut HeaderMap) {
    let context = tracing::Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut Outgoing(headers)));
}

/// Makes the caller's span the parent of this one.
pub fn adopt_parent(span: &tracing::Span, headers: &HeaderMap) {
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&Incoming(headers)));
    // Fails only when tracing is off.
    let _ = span.set_parent(context);
}

/// The trace that a request belongs to: its caller's, or the one that was begun here.
pub fn trace_id(headers: &HeaderMap) -> Option<String> {
    let theirs = global::get_text_map_propagator(|propagator| propagator.extract(&Incoming(headers)));
    [theirs, tracing::Span::current().context()]
        .into_iter()
        .map(|context| context.span().span_context().trace_id())
        .find(|id| *id != TraceId::INVALID)
        .map(|id| id.to_string())
}

/// The current span as text, for what is done later and elsewhere; `None` unless somebody records the trace.
pub fn traceparent() -> Option<String> {
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let (_, flags) = text.rsplit_once('-')?;
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    sampled.then(|| text.to_owned())
}

/// Makes the span of that text the parent of this one; a text that names none makes it the first of a trace.
pub fn adopt(span: &tracing::Span, traceparent: &str) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = http::HeaderValue::try_from(traceparent) {
        headers.insert(TRACEPARENT, value);
    }
    adopt_parent(span, &headers);
}

/// The span of one look at an object.
pub fn reconcile(kind: &'static str, namespace: &str, name: &str) -> tracing::Span {
    tracing::info_span!(
        "reconcile",
        otel.name = format!("reconcile {kind}"),
        otel.status_code = field::Empty,
        k8s.object.kind = kind,
        k8s.namespace.name = namespace,
        k8s.object.name = name,
    )
}

/// Tells that the work of a span failed. Why, the log says: a trace leaves the cluster.
pub fn failed(span: &tracing::Span) {
    span.record("otel.status_code", "ERROR");
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(key),
            http::HeaderValue::try_from(value),
        ) {
            self.0.insert(name, value);
        }
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Page {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn logged(text: &str) -> String {
        let page = Page::default();
        let lines = tracing_subscriber::fmt::layer().with_writer(page.clone());
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(text).unwrap()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "kube_client::client::builder", "failed with error");
            tracing::error!("ours");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_request_names_the_trace_of_its_caller() {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let mut headers = HeaderMap::new();
        assert_eq!(trace_id(&headers), None);
        for (parent, id) in [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            ),
            ("rubbish", None),
        ] {
            headers.insert("traceparent", parent.parse().unwrap());
            assert_eq!(trace_id(&headers).as_deref(), id, "{parent}");
        }
    }

    #[test]
    fn calls_that_fail_are_told_by_who_made_them_unless_all_is_asked_for() {
        for (text, told) in [
            ("info", false),
            ("info,metal3_capm3=debug", false),
            ("debug", true),
            ("info,kube_client=debug", true),
        ] {
            let log = logged(text);
            assert!(log.contains("ours"), "{text}: {log}");
            assert_eq!(log.contains("failed with error"), told, "{text}: {log}");
        }
    }

    #[derive(Clone, Debug, Default)]
    struct Sent(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Sent {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn only_our_own_spans_and_events_leave_the_process() {
        let sent = Sent::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(sent.clone())
            .build();
        let subscriber = tracing_subscriber::registry().with(layer(&provider, "test"));
        tracing::subscriber::with_default(subscriber, || {
            let ours = tracing::info_span!(target: "metal3_bmo::host", "ours").entered();
            tracing::info!(target: "metal3_bmo::host", "told by us");
            tracing::debug!(target: "metal3_bmo::host", "details");
            tracing::error!(target: "h2::codec", "told by a library");
            let theirs = tracing::info_span!(target: "h2::client", "theirs").entered();
            tracing::info_span!(target: "metal3_ironic", "below").in_scope(|| ());
            drop(theirs);
            tracing::debug_span!(target: "metal3_bmo::host", "fine grained").in_scope(|| ());
            drop(ours);
        });
        let sent = sent.0.lock().unwrap();
        let names: Vec<_> = sent.iter().map(|span| span.name.as_ref()).collect();
        assert_eq!(names, ["below", "ours"]);
        let events: Vec<_> = sent
            .iter()
            .flat_map(|span| span.events.iter())
            .map(|event| event.name.as_ref())
            .collect();
        assert_eq!(events, ["told by us"]);
        assert_eq!(
            sent[0].parent_span_id,
            sent[1].span_context.span_id(),
            "the span of a library in between is passed over"
        );
    }

    /// The span that a call with this header has, as it is told to others.
    fn told(incoming: &str) -> Option<String> {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = SdkTracerProvider::builder().build();
        let subscriber = tracing_subscriber::registry().with(layer(&provider, "test"));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("call");
            adopt(&span, incoming);
            span.in_scope(traceparent)
        })
    }

    #[test]
    fn a_span_is_told_only_where_its_trace_is_recorded() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let recorded = told(&format!("00-{trace}-b7ad6b7169203331-01")).unwrap();
        assert!(
            recorded.starts_with(&format!("00-{trace}-")) && recorded.ends_with("-01"),
            "{recorded}"
        );
        assert!(!recorded.contains("b7ad6b7169203331"), "it is another span");
        assert_eq!(told(&format!("00-{trace}-b7ad6b7169203331-00")), None);
        assert!(!told("rubbish").unwrap().contains(trace));
        assert_eq!(traceparent(), None, "nobody records anything");
    }
}
