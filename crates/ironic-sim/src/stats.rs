//! Requests by method and route.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::http::Method;
use serde::Serialize;

/// How often a route was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// HTTP method.
    pub method: String,
    /// Route template, without `/v1`.
    pub route: &'static str,
    /// Number of requests, whatever was answered.
    pub count: u64,
}

/// Counts requests.
#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Stats {
    pub(crate) fn count(&self, method: &Method, route: &'static str) {
        let mut counts = self.lock();
        *counts.entry((route, method.to_string())).or_default() += 1;
    }

    pub(crate) fn snapshot(&self) -> Vec<Requests> {
        self.lock()
            .iter()
            .map(|((route, method), count)| Requests {
                method: method.clone(),
                route,
                count: *count,
            })
            .collect()
    }

    pub(crate) fn reset(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(&'static str, String), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
