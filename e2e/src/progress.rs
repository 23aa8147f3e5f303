//! What a person sees while it goes on.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Prints steps with the time that has passed, and changes of single objects below them.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    seen: Mutex<BTreeMap<String, String>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            seen: Mutex::default(),
        }
    }
}

impl Progress {
    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// A new step.
    pub fn step(&self, text: &str) {
        self.print(&format!("\n[{:6.1} s] {text}", self.seconds()));
    }

    /// A line below the step.
    pub fn line(&self, text: &str) {
        self.print(&format!("           {text}"));
    }

    /// The state of an object; printed only when it changed.
    pub fn state(&self, object: &str, state: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.insert(object.to_owned(), state.to_owned());
        if before.as_deref() == Some(state) {
            return;
        }
        drop(seen);
        self.print(&format!("[{:6.1} s]   {object:<28} {state}", self.seconds()));
    }

    fn print(&self, text: &str) {
        // A closed terminal must not end the work.
        writeln!(std::io::stdout(), "{text}").ok();
    }
}
