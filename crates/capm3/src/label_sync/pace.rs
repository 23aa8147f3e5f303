//! How fast a Node is corrected that somebody changes back each time. Time comes from outside.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metal3_capm3_core::label_sync::Changes;

use crate::objects::Key;

const FIRST: Duration = Duration::from_secs(1);
/// Upstream corrects no faster.
const LONGEST: Duration = Duration::from_mins(1);
/// When nobody changed it back for so many delays, nobody will.
const QUIET: u32 = 10;

/// The last change of each Node, by its machine.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Mutex<HashMap<Key, Last>>,
}

#[derive(Debug)]
struct Last {
    changes: Changes,
    at: Instant,
    delay: Duration,
}

impl Last {
    fn counts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < self.delay * QUIET
    }
}

impl Pace {
    /// How long a change has to wait, if it has: the same one was made a moment ago.
    pub(super) fn wait(&self, machine: &Key, changes: &Changes, now: Instant) -> Option<Duration> {
        self.with(|all| {
            let last = all.get(machine).filter(|last| last.changes == *changes)?;
            let wait = last.delay.checked_sub(now.saturating_duration_since(last.at))?;
            (!wait.is_zero()).then_some(wait)
        })
    }

    /// A change was made.
    pub(super) fn made(&self, machine: &Key, changes: Changes, now: Instant) {
        self.with(|all| {
            all.retain(|_, last| last.counts(now));
            let again = all.get(machine).filter(|last| last.changes == changes);
            let delay = again.map_or(FIRST, |last| (last.delay * 2).min(LONGEST));
            let at = now;
            all.insert(machine.clone(), Last { changes, at, delay });
        });
    }

    // Whole after every step, so a panic of another thread does not spoil it.
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Key, Last>) -> T) -> T {
        act(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(value: &str) -> Changes {
        [("a.io/x".to_owned(), Some(value.to_owned()))].into()
    }

    #[test]
    fn the_same_change_again_and_again_becomes_slow_and_another_one_does_not() {
        let (pace, key, mut now) = (Pace::default(), Key::new("ns", "m"), Instant::now());
        assert_eq!(pace.wait(&key, &changes("1"), now), None);
        let mut waits = Vec::new();
        for _ in 0..8 {
            pace.made(&key, changes("1"), now);
            let wait = pace.wait(&key, &changes("1"), now).unwrap();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(pace.wait(&key, &changes("1"), now), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.made(&key, changes("1"), now);
        assert_eq!(pace.wait(&key, &changes("2"), now), None, "the host changed");
        assert_eq!(pace.wait(&Key::new("ns", "n"), &changes("1"), now), None);
    }

    #[test]
    fn after_some_peace_nobody_waits_and_nothing_is_remembered() {
        let (pace, key, begin) = (Pace::default(), Key::new("ns", "m"), Instant::now());
        pace.made(&key, changes("1"), begin);
        pace.made(&key, changes("1"), begin + FIRST);
        let later = begin + FIRST + FIRST * 2 * QUIET;
        pace.made(&Key::new("ns", "n"), changes("1"), later);
        assert_eq!(pace.with(|all| all.len()), 1);
        pace.made(&key, changes("1"), later);
        assert_eq!(pace.wait(&key, &changes("1"), later), Some(FIRST));
    }
}
