//! Whether the host service answers, as the stream of hosts shows it.

use std::sync::{Arc, Mutex, PoisonError};

use metal3_kit::probes::Condition;
use prometheus_client::metrics::gauge::Gauge;

/// The state of the link; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    state: Arc<Mutex<State>>,
    shown: Condition,
    gauge: Gauge,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not known yet, or the stream broke a moment ago: calls are tried.
    Open,
    Up,
    /// The stream cannot be opened; why.
    Down(String),
}

impl Link {
    pub(crate) fn new(shown: Condition, gauge: Gauge) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::Open)),
            shown,
            gauge,
        }
    }

    /// The stream delivered a complete picture. Tells whether that is news.
    pub(super) fn up(&self) -> bool {
        self.shown.set(true);
        self.gauge.set(1);
        self.set(State::Up) != State::Up
    }

    /// The stream ended.
    pub(super) fn broken(&self) {
        self.shown.set(false);
        self.gauge.set(0);
        self.set(State::Open);
    }

    /// The stream cannot be opened.
    pub(super) fn unreachable(&self, message: String) {
        self.broken();
        self.set(State::Down(message));
    }

    /// Why nothing should be asked, if so.
    pub(super) fn down(&self) -> Option<String> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Open | State::Up => None,
            State::Down(message) => Some(message.clone()),
        }
    }

    fn set(&self, state: State) -> State {
        std::mem::replace(
            &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner),
            state,
        )
    }
}
