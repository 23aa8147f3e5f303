//! Who had which host when, as a watch tells it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::follow::Seen;

/// A machine got a host.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) host: String,
    pub(super) machine: String,
    pub(super) at: Instant,
    /// How long the host had been free, if we saw it become so.
    pub(super) free: Option<Duration>,
}

/// A host runs the image that a machine wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) host: String,
    pub(super) uid: String,
    pub(super) machine: String,
}

/// What happened to hosts; clones share it.
#[derive(Clone)]
pub(super) struct History {
    state: Arc<Mutex<State>>,
    running: UnboundedSender<Running>,
}

#[derive(Default)]
struct State {
    freed: HashMap<String, Instant>,
    taken: Vec<Taken>,
    /// Hosts that went from one machine to another without being free in between.
    passed_on: Vec<String>,
}

impl History {
    /// Also answers where it tells which hosts run an image.
    pub(super) fn new() -> (Self, UnboundedReceiver<Running>) {
        let (running, told) = mpsc::unbounded_channel();
        let state = Arc::default();
        (Self { state, running }, told)
    }

    /// Takes over a change of a host.
    pub(super) fn take(&self, host: &str, before: Option<&Seen>, after: Option<&Seen>) {
        let Some(after) = after else { return };
        let free = |seen: &Seen| seen.consumer.is_empty() && seen.state == "available";
        let runs = |seen: &Seen| seen.state == "provisioned" && !seen.consumer.is_empty();
        let had = before.map_or("", |before| before.consumer.as_str());
        if free(after) && !before.is_some_and(free) {
            self.with(|state| state.freed.insert(host.to_owned(), Instant::now()));
        }
        if after.consumer != had && !after.consumer.is_empty() {
            self.with(|state| state.give(host, had, &after.consumer));
        }
        if runs(after) && !before.is_some_and(|before| runs(before) && had == after.consumer) {
            // Nobody listens any more when the bench ends.
            let _ = self.running.send(Running {
                host: host.to_owned(),
                uid: after.uid.clone(),
                machine: after.consumer.clone(),
            });
        }
    }

    /// Every host that a machine got so far, in order.
    pub(super) fn taken(&self) -> Vec<Taken> {
        self.with(|state| state.taken.clone())
    }

    /// Hosts that two machines had at once, in words.
    pub(super) fn passed_on(&self) -> Vec<String> {
        self.with(|state| state.passed_on.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn give(&mut self, host: &str, from: &str, machine: &str) {
        let freed = self.freed.remove(host);
        if !from.is_empty() {
            self.passed_on
                .push(format!("host {host} went from {from} to {machine}"));
        }
        self.taken.push(Taken {
            host: host.to_owned(),
            machine: machine.to_owned(),
            at: Instant::now(),
            free: freed.map(|freed| freed.elapsed()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: &str, consumer: &str) -> Seen {
        Seen {
            uid: "u".into(),
            state: state.into(),
            consumer: consumer.into(),
            ..Seen::default()
        }
    }

    #[test]
    fn a_host_is_free_given_running_and_given_again() {
        let (history, mut running) = History::new();
        let story = [
            seen("preparing", ""),
            seen("available", ""),
            seen("available", "m-1"),
            seen("provisioning", "m-1"),
            seen("provisioned", "m-1"),
            seen("provisioned", "m-1"),
            seen("deprovisioning", "m-1"),
            seen("available", ""),
            seen("available", "m-2"),
        ];
        history.take("h", None, Some(&story[0]));
        for pair in story.windows(2) {
            history.take("h", Some(&pair[0]), Some(&pair[1]));
        }
        let taken = history.taken();
        let machines: Vec<&str> = taken.iter().map(|taken| taken.machine.as_str()).collect();
        assert_eq!(machines, ["m-1", "m-2"]);
        assert!(taken.iter().all(|taken| taken.free.is_some()));
        assert_eq!(history.passed_on(), [] as [String; 0]);
        let told = running.try_recv().unwrap();
        assert_eq!((told.host.as_str(), told.machine.as_str()), ("h", "m-1"));
        assert!(running.try_recv().is_err(), "it is told once");
    }

    #[test]
    fn a_host_that_two_machines_have_at_once_is_remembered() {
        let (history, _running) = History::new();
        history.take("h", None, Some(&seen("available", "m-1")));
        history.take(
            "h",
            Some(&seen("available", "m-1")),
            Some(&seen("available", "m-2")),
        );
        assert_eq!(history.passed_on(), ["host h went from m-1 to m-2"]);
    }
}
