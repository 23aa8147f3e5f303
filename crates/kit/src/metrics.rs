//! The `/metrics` server, with facts about the process itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::caller::{self, Deed, bearer};
use crate::client::brief;
use crate::probes::{listen_address, serve_router};
use crate::process::Process;
pub use crate::process::usage;
use crate::tls::{Certificate, Offer, Protocol, TlsListener};

const PATH: &str = "/metrics";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The metrics of a process; cheap to share.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::begun()));
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
