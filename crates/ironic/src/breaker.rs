//! Whether Ironic is asked at all: after several failures in a row one request in a while finds out whether it is back,
//! and everybody else is told at once instead of waiting for a timeout.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Failures in a row that open it.
const LIMIT: u32 = 5;
/// Until the first attempt after it opened; doubles with each one that fails.
const FIRST: Duration = Duration::from_secs(1);
/// Between two attempts at most.
const LAST: Duration = Duration::from_secs(15);

/// Counts failures in a row. Pure: time is passed in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    since: Option<Timestamp>,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    next: Instant,
    wait: Duration,
    cause: String,
}

/// What it looks like from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BreakerState {
    /// Requests are refused without asking Ironic.
    pub open: bool,
    /// The first of the failures in a row.
    pub since: Option<Timestamp>,
    /// How many they are.
    pub failures: u32,
}

/// A request is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The first of the failures in a row.
    pub(crate) since: Option<Timestamp>,
    /// Until the next attempt.
    pub(crate) again: Duration,
    /// The last failure.
    pub(crate) cause: String,
}

impl Breaker {
    /// Asks to send a request that takes `bound` at most. While it is open, one request in a while is let through.
    ///
    /// # Errors
    /// When it must not be sent.
    pub(crate) fn admit(&mut self, now: Instant, bound: Duration) -> Result<(), Refused> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if now < open.next {
            return Err(Refused {
                since: self.since,
                again: open.next - now,
                cause: open.cause.clone(),
            });
        }
        // Whoever asks may never tell how it ended: the next attempt does not depend on that.
        open.next = now + open.wait.max(bound);
        Ok(())
    }

    /// Ironic answered; says whether it had been given up.
    pub(crate) fn succeeded(&mut self) -> bool {
        std::mem::take(self).open.is_some()
    }

    /// Part of an attempt went well: the rest of it may be sent now.
    pub(crate) fn go_on(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.next = now;
        }
    }

    /// Ironic did not answer; says whether this opened it.
    pub(crate) fn failed(&mut self, now: Instant, at: Timestamp, cause: &str) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(at);
        let (wait, opened) = match &self.open {
            // Others that were under way when it opened prove nothing new.
            Some(open) if now < open.next && open.next - now <= open.wait => return false,
            Some(open) => ((open.wait * 2).min(LAST), false),
            None if self.failures < LIMIT => return false,
            None => (FIRST, true),
        };
        self.open = Some(Open {
            next: now + wait,
            wait,
            cause: cause.to_owned(),
        });
        opened
    }

    /// For metrics.
    pub(crate) const fn state(&self) -> BreakerState {
        BreakerState {
            open: self.open.is_some(),
            since: self.since,
            failures: self.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(30);

    fn fail(breaker: &mut Breaker, now: Instant, times: u32) -> bool {
        (0..times).fold(false, |opened, _| {
            breaker.failed(now, Timestamp::UNIX_EPOCH, "cause") || opened
        })
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        assert!(!fail(&mut breaker, now, LIMIT - 1));
        assert!(!breaker.succeeded(), "it was not open");
        assert!(!fail(&mut breaker, now, LIMIT - 1));
        assert_eq!(breaker.admit(now, BOUND), Ok(()));
        assert!(fail(&mut breaker, now, 1), "it says when it opens");
        let refused = breaker.admit(now, BOUND).unwrap_err();
        assert_eq!((refused.again, refused.cause.as_str()), (FIRST, "cause"));
        assert_eq!(refused.since, Some(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn one_request_at_a_time_finds_out_whether_it_is_over() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, now, LIMIT);
        for wait in [1, 2, 4, 8, 15, 15] {
            now += Duration::from_secs(wait);
            assert_eq!(breaker.admit(now, BOUND), Ok(()), "after {wait} s");
            assert!(breaker.admit(now, BOUND).is_err(), "one is enough");
            assert!(!fail(&mut breaker, now, 1), "it was open before");
        }
        now += LAST;
        breaker.admit(now, BOUND).unwrap();
        breaker.go_on(now);
        breaker.admit(now, BOUND).unwrap();
        assert!(breaker.succeeded());
        assert_eq!(breaker.admit(now, BOUND), Ok(()));
        assert_eq!(breaker.state(), BreakerState::default());
    }

    #[test]
    fn stragglers_do_not_prolong_it_and_a_lost_attempt_does_not_keep_it_open() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, now, LIMIT + 30);
        assert_eq!(breaker.admit(now, BOUND).unwrap_err().again, FIRST);
        assert_eq!(breaker.admit(now + FIRST, BOUND), Ok(()));
        // Its caller went away.
        assert!(breaker.admit(now + BOUND, BOUND).is_err());
        assert_eq!(breaker.admit(now + FIRST + BOUND, BOUND), Ok(()));
    }
}
