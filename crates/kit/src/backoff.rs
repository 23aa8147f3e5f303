//! Delays between attempts on the same object.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// Counts attempts per object: 1 s, 2 s, 4 s … 5 min; forgotten on success.
#[derive(Debug)]
pub struct Backoff<K> {
    attempts: Mutex<HashMap<K, u32>>,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self {
            attempts: Mutex::new(HashMap::new()),
        }
    }
}

impl<K: Hash + Eq> Backoff<K> {
    /// The delay before the next attempt. `jitter` in 0..1 takes up to a quarter off, so that many objects that
    /// failed together do not come back together.
    pub fn next(&self, key: K, jitter: f64) -> Duration {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry(key).or_insert(0);
        let delay = FIRST.saturating_mul(1 << (*attempt).min(10)).min(LONGEST);
        *attempt = attempt.saturating_add(1);
        delay.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
    }

    /// It worked.
    pub fn forget(&self, key: &K) {
        self.attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_five_minutes_and_start_over_after_success() {
        let backoff = Backoff::default();
        let delays: Vec<_> = (0..11).map(|_| backoff.next("a", 0.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.next("b", 0.0).as_secs(), 1);
        backoff.forget(&"a");
        assert_eq!(backoff.next("a", 1.0), Duration::from_millis(750));
    }
}
