//! The HostService: `proto/metal3/host/v1/host_service.proto` is the contract.
//!
//! * `index.rs` all hosts in memory; `project` what of a host is told
//! * `service.rs` who may call, `calls` and `claim.rs` what calls do, `request.rs` what they bring; `allocate.rs`,
//!   `selector.rs`, `intent` their decisions, pure; `store.rs` their writes, `tell.rs` their events
//! * `watch.rs` the stream, `guard.rs` its end
//! * `door.rs` before every call: its time and its end; `auth.rs` who may call, `limits.rs` how often; `asked.rs` and
//!   `names.rs` the form of what is asked; `audit.rs` the log of changes
//! * [`trial`] what of all this needs nobody else, for those who try odd requests

mod allocate;
mod args;
mod asked;
mod audit;
mod auth;
mod calls;
mod claim;
mod door;
mod guard;
mod index;
mod intent;
mod limits;
mod names;
mod pool;
mod project;
mod request;
mod selector;
mod service;
mod store;
mod tell;
pub mod trial;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kube::Client;
use metal3_kit::metrics::Metrics;
use metal3_kit::probes::Condition;
use metal3_kit::telemetry::adopt_parent;
use metal3_kit::tls::TlsListener;
use metal3_rpc::DESCRIPTOR;
use metal3_rpc::call::Call;
use metal3_rpc::v1::host_service_server::{HostServiceServer, SERVICE_NAME};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::field;

pub(crate) use args::GuardArgs;
pub(crate) use index::HostIndex;
pub(crate) use project::project;

use auth::Authority;
use door::Door;
use service::Service;
use store::Store;

use crate::metrics::{CallMetrics, HostMetrics};

/// No request is near this.
const MESSAGE_LIMIT: usize = 1024 * 1024;
/// Calls under way on one connection; a client that has more holds them back itself.
const STREAMS: u32 = 1000;

/// Where what happens is counted.
pub(crate) struct Told {
    pub(crate) all: Metrics,
    pub(crate) hosts: HostMetrics,
}

/// Serves the HostService, health and reflection until shutdown; `ready` when health says that it serves, not earlier: who
/// waited for the pod calls next.
///
/// # Errors
/// When serving fails.
pub(crate) async fn serve(
    client: Client,
    index: Arc<HostIndex>,
    metrics: Told,
    guard: GuardArgs,
    listener: TlsListener,
    ready: Condition,
    shutdown: CancellationToken,
) -> Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let calls = CallMetrics::default();
    let authority = Authority::new(client.clone(), &guard);
    calls.announce(&metrics.all, authority.reviews());
    let store = Store::new(client, Arc::clone(&index), metrics.hosts);
    let service = Arc::new(Service::new(Arc::clone(&index), store, authority, calls.clone()));
    let sweep = tokio::spawn(calls::sweep(Arc::clone(&service), shutdown.clone()));
    let service = HostServiceServer::from_arc(service).max_decoding_message_size(MESSAGE_LIMIT);
    health.set_not_serving::<HostServiceServer<Service>>().await;
    let synced = tokio::spawn(async move {
        let mut poll = tokio::time::interval(Duration::from_millis(100));
        while !index.synced() {
            poll.tick().await;
        }
        health.set_serving::<HostServiceServer<Service>>().await;
        ready.set(true);
    });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The details of failures, so that grpcurl prints their reasons instead of bytes.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let served = Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .trace_fn(|request| {
            // Health and reflection are asked by probes and tools, and a name that is not of the contract may be anything.
            let Some(call) = Call::of_path(request.uri().path()) else {
                return tracing::Span::none();
            };
            let span = tracing::info_span!(
                "rpc",
                otel.name = format!("{SERVICE_NAME}/{}", call.name()),
                otel.kind = "server",
                otel.status_code = field::Empty,
                rpc.system = "grpc",
                rpc.service = SERVICE_NAME,
                rpc.method = call.name(),
                rpc.grpc.status_code = field::Empty,
            );
            adopt_parent(&span, request.headers());
            span
        })
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(Door::new(service, calls))
        .serve_with_incoming_shutdown(listener, shutdown.cancelled_owned())
        .await;
    synced.abort();
    sweep.abort();
    Ok(served?)
}
