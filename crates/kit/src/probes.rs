//! `/healthz` and `/readyz`, as Kubernetes' own components answer them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What must hold before the process is ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

#[derive(Clone, Debug)]
struct State {
    holds: bool,
    /// What it waits for, if that is known.
    waits: Option<String>,
    /// Only shown: the process is ready without it.
    note: bool,
}

/// One condition of a [`Readiness`].
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    note: bool,
    readiness: Readiness,
}

impl Readiness {
    /// Adds a condition that does not hold yet.
    #[must_use]
    pub fn condition(&self, name: &'static str) -> Condition {
        self.add(name, false)
    }

    /// Adds something worth knowing that the process can do without.
    #[must_use]
    pub fn note(&self, name: &'static str) -> Condition {
        self.add(name, true)
    }

    fn add(&self, name: &'static str, note: bool) -> Condition {
        let condition = Condition {
            name,
            note,
            readiness: self.clone(),
        };
        condition.set(false);
        condition
    }

    /// Whether all conditions hold.
    pub fn ready(&self) -> bool {
        self.conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .all(|state| state.holds || state.note)
    }

    fn report(&self) -> (StatusCode, String) {
        let mut text = String::new();
        for (name, state) in &*self.conditions.lock().unwrap_or_else(PoisonError::into_inner) {
            let (sign, word) = match (state.holds, state.note) {
                (true, _) => ('+', "ok"),
                (false, false) => ('-', state.waits.as_deref().unwrap_or("not yet")),
                (false, true) => ('~', "not now, ready without it"),
            };
            let _ = writeln!(text, "[{sign}]{name} {word}");
        }
        let (code, word) = if self.ready() {
            (StatusCode::OK, "passed")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "failed")
        };
        text.push_str("readyz check ");
        text.push_str(word);
        (code, text)
    }
}

impl Condition {
    /// Says whether it holds.
    pub fn set(&self, holds: bool) {
        self.put(holds, None);
    }

    /// Says that it does not hold, and what it waits for.
    pub fn wait_for(&self, what: impl Into<String>) {
        self.put(false, Some(format!("waiting for {}", what.into())));
    }

    fn put(&self, holds: bool, waits: Option<String>) {
        let state = State {
            holds,
            waits,
            note: self.note,
        };
        let mut conditions = self
            .readiness
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        conditions.insert(self.name, state);
    }
}

/// Serves the probes until shutdown.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(address: &str, readiness: Readiness, shutdown: CancellationToken) -> Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readiness.report() }));
    serve_router(address, router, shutdown).await
}

/// Serves plain HTTP until shutdown; `0` or an empty address serves nothing, as in controller-runtime.
pub(crate) async fn serve_router(address: &str, router: Router, shutdown: CancellationToken) -> Result<()> {
    let Some(address) = listen_address(address) else {
        shutdown.cancelled().await;
        return Ok(());
    };
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await?;
    Ok(())
}

/// Go's form `:8080` means all addresses; `0` means off.
pub fn listen_address(address: &str) -> Option<String> {
    match address {
        "" | "0" => None,
        _ if address.starts_with(':') => Some(format!("0.0.0.0{address}")),
        _ => Some(address.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_needs_every_condition() {
        let readiness = Readiness::default();
        let (a, b) = (readiness.condition("a"), readiness.condition("b"));
        a.set(true);
        assert_eq!(
            readiness.report(),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "[+]a ok\n[-]b not yet\nreadyz check failed".into()
            )
        );
        b.wait_for("rain: open the window");
        let (code, text) = readiness.report();
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            text.contains("[-]b waiting for rain: open the window\n"),
            "{text}"
        );
        b.set(true);
        assert_eq!(readiness.report().0, StatusCode::OK);
    }

    #[test]
    fn a_note_is_shown_and_changes_nothing() {
        let readiness = Readiness::default();
        let note = readiness.note("peer");
        let (code, text) = readiness.report();
        assert_eq!(code, StatusCode::OK);
        assert!(text.starts_with("[~]peer not now"), "{text}");
        note.set(true);
        assert!(readiness.report().1.starts_with("[+]peer ok"));
    }

    #[test]
    fn go_addresses_are_understood() {
        assert_eq!(listen_address(":8080").as_deref(), Some("0.0.0.0:8080"));
        assert_eq!(listen_address("127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(listen_address("0"), None);
    }
}
