//! A collector of traces, as OTLP has it over gRPC: it keeps every span that it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A span as it was sent.
#[derive(Clone, Debug)]
pub struct Span {
    /// Of the program that sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The trace that it is part of.
    pub trace: Vec<u8>,
    /// Its id.
    pub id: Vec<u8>,
    /// The id of its parent; empty for the first of a trace.
    pub parent: Vec<u8>,
    /// What else it tells, as text.
    pub attributes: BTreeMap<String, String>,
    /// All of it, with its events, to search in.
    pub text: String,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Span>>>);

/// A running collector; it ends when it is dropped.
pub struct Collector {
    /// For `--otlp-endpoint`.
    pub endpoint: String,
    kept: Kept,
    server: JoinHandle<()>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let kept = Kept::default();
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(kept.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("the collector of traces ended: {error}");
            }
        });
        Ok(Self {
            endpoint,
            kept,
            server,
        })
    }

    /// Everything that came so far.
    pub fn spans(&self) -> Vec<Span> {
        let spans = self.kept.0.lock();
        spans.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A span and those above it up to the first of the trace, as far as they came.
    pub fn line(&self, span: &Span) -> Vec<Span> {
        let spans = self.spans();
        let mut line = vec![span.clone()];
        let above = |span: &Span| {
            let parent = |other: &&Span| other.trace == span.trace && other.id == span.parent;
            spans.iter().find(parent).cloned()
        };
        while let Some(parent) = line.last().and_then(above) {
            line.push(parent);
        }
        line
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for sent in request.into_inner().resource_spans {
            let resource = texts(
                sent.resource
                    .map(|resource| resource.attributes)
                    .unwrap_or_default(),
            );
            let service = resource.get("service.name").cloned().unwrap_or_default();
            let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| Span {
                text: format!("{span:?}"),
                service: service.clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                attributes: texts(span.attributes),
            });
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value?.value? {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(truth) => truth.to_string(),
            other => format!("{other:?}"),
        };
        Some((attribute.key, value))
    };
    attributes.into_iter().filter_map(text).collect()
}
