//! The one place that retries. Pure: time is an argument.
//!
//! Every call of the contract is idempotent, so an attempt whose answer was lost may be repeated. It is repeated when
//! repeating can help, before the deadline, and only as often as the budget allows: a server that fails under load
//! must not get three times the load for it.

use std::error::Error as _;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

use crate::reason::Reason;

/// Attempts of one call after the first.
const RETRIES: usize = 2;
/// A first attempt without an answer is given up after this part of the deadline, if another one can be made. That one may
/// take all that is left: a server that is merely slow gets its chance.
const FIRST_ATTEMPT: u32 = 3;

/// Why an attempt is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The connection could not be made, or broke.
    Unreachable,
    /// No answer in time.
    Silent,
    /// The server says that it cannot answer now.
    Unavailable,
    /// Somebody else was faster.
    Conflict,
    /// The server says that it has too much to do, and when to come back.
    Busy,
}

impl Cause {
    /// For metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Busy => "busy",
        }
    }

    /// Why it makes sense to repeat an attempt that ended like this; none if it does not.
    pub(super) fn of(status: &Status) -> Option<Self> {
        if timed_out(status) {
            return Some(Self::Silent);
        }
        if is_local(status) {
            return Some(Self::Unreachable);
        }
        match status.code() {
            Code::Unavailable => Some(Self::Unavailable),
            Code::Aborted if Reason::of(status) == Some(Reason::Conflict) => Some(Self::Conflict),
            Code::ResourceExhausted if told(status).is_some() => Some(Self::Busy),
            _ => None,
        }
    }
}

/// There was no answer in time.
pub(super) fn silence(method: &str) -> Status {
    let mut status = Status::deadline_exceeded(format!("{method} was not answered in time"));
    status.set_source(std::sync::Arc::new(TimeoutExpired(())));
    status
}

/// The server did not say this: statuses that came over the wire have no source.
fn is_local(status: &Status) -> bool {
    status.source().is_some()
}

/// Made here when an attempt takes too long, by us or by the transport.
fn timed_out(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// When the server wants to be asked again.
fn told(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// The attempts of one call.
pub(super) struct Attempts {
    began: Instant,
    deadline: Instant,
    made: usize,
    /// The next attempt has its part of the budget already.
    paid: bool,
    delays: ExponentialBackoff,
}

impl Attempts {
    pub(super) fn new(now: Instant, within: Duration) -> Self {
        let delays = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(RETRIES)
            .build();
        Self {
            began: now,
            deadline: now + within,
            made: 0,
            paid: false,
            delays,
        }
    }

    /// No answer is worth anything after it.
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Nobody answered up to the limit: whether another attempt is made, instead of waiting on. Without this, all that a
    /// busy server has accepted and the budget has nothing left for would fail long before the deadline.
    pub(super) fn gives_up(&mut self, now: Instant, budget: &mut Budget) -> bool {
        self.paid = now < self.deadline && self.made < RETRIES && budget.spend(now);
        self.paid
    }

    /// When the attempt that begins now may be given up.
    pub(super) fn limit(&self) -> Instant {
        if self.made == 0 {
            self.began + (self.deadline - self.began) / FIRST_ATTEMPT
        } else {
            self.deadline
        }
    }

    /// An attempt failed: the delay before the next one and why it is made, if it is.
    pub(super) fn again(
        &mut self,
        status: &Status,
        now: Instant,
        budget: &mut Budget,
    ) -> Option<(Duration, Cause)> {
        self.made += 1;
        let paid = std::mem::take(&mut self.paid);
        let cause = Cause::of(status)?;
        let delay = self.delays.next()?.max(told(status).unwrap_or_default());
        (now + delay < self.deadline && (paid || budget.spend(now))).then_some((delay, cause))
    }
}

/// Retries are at most a fifth of the calls, and a few besides, so that a client that seldom calls has some.
#[derive(Debug)]
pub(super) struct Budget {
    tokens: f64,
    at: Instant,
}

const PER_CALL: f64 = 0.2;
const PER_SECOND: f64 = 1.0;
const MOST: f64 = 20.0;

impl Budget {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            tokens: MOST,
            at: now,
        }
    }

    /// A call was made.
    pub(super) fn earn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + PER_CALL + passed * PER_SECOND).min(MOST);
        self.at = now;
    }

    fn spend(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * PER_SECOND).min(MOST);
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic_types::ErrorDetails;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    impl Budget {
        const fn empty(at: Instant) -> Self {
            Self { tokens: 0.0, at }
        }
    }

    fn local(code: Code) -> Status {
        let mut status = Status::new(code, "transport error");
        status.set_source(Arc::new(std::io::Error::other("broken pipe")));
        status
    }

    fn silent() -> Status {
        let mut status = Status::cancelled("");
        status.set_source(Arc::new(TimeoutExpired(())));
        status
    }

    fn busy(delay: Duration) -> Status {
        Status::with_error_details(
            Code::ResourceExhausted,
            "too many calls",
            ErrorDetails::with_retry_info(Some(delay)),
        )
    }

    fn causes(statuses: &[Status]) -> Vec<Option<Cause>> {
        statuses.iter().map(Cause::of).collect()
    }

    #[test]
    fn only_what_time_can_mend_is_tried_again() {
        let again = [
            local(Code::Unknown),
            local(Code::Internal),
            silent(),
            Status::unavailable("no"),
            Reason::NotSynced.status("wait", []),
            Reason::Conflict.status("faster", []),
            busy(Duration::from_secs(1)),
        ];
        assert_eq!(
            causes(&again),
            [
                Some(Cause::Unreachable),
                Some(Cause::Unreachable),
                Some(Cause::Silent),
                Some(Cause::Unavailable),
                Some(Cause::Unavailable),
                Some(Cause::Conflict),
                Some(Cause::Busy),
            ]
        );
        let never = [
            Status::aborted("without a reason"),
            Status::internal("bug"),
            Status::deadline_exceeded("the server's"),
            Reason::NoHostAvailable.status("none", []),
            Reason::SlowConsumer.status("slow", []),
            Reason::Forbidden.status("no", []),
            Reason::TokenInvalid.status("no", []),
            Reason::InvalidField.status("no", []),
            Reason::HostNotFound.status("no", []),
        ];
        assert_eq!(causes(&never), vec![None; never.len()]);
    }

    #[test]
    fn a_call_is_tried_three_times() {
        let now = Instant::now();
        let (mut attempts, mut budget) = (Attempts::new(now, WITHIN), Budget::new(now));
        let mut fail = || attempts.again(&local(Code::Unknown), now, &mut budget);
        let (first, cause) = fail().unwrap();
        assert!(
            first >= Duration::from_millis(50) && first < Duration::from_millis(101),
            "{first:?}"
        );
        assert_eq!(cause, Cause::Unreachable);
        assert!(fail().is_some());
        assert_eq!(fail(), None);
    }

    #[test]
    fn nothing_is_tried_after_the_deadline() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let late = now + WITHIN;
        assert_eq!(
            Attempts::new(now, WITHIN).again(&silent(), late, &mut budget),
            None
        );
        let long = busy(WITHIN);
        assert_eq!(Attempts::new(now, WITHIN).again(&long, now, &mut budget), None);
    }

    #[test]
    fn a_busy_server_says_when_to_come_back() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let delay = Duration::from_secs(7);
        let again = Attempts::new(now, WITHIN).again(&busy(delay), now, &mut budget);
        assert_eq!(again, Some((delay, Cause::Busy)));
    }

    #[test]
    fn the_first_attempt_leaves_time_for_a_second_which_may_take_all_of_it() {
        let now = Instant::now();
        let mut attempts = Attempts::new(now, WITHIN);
        assert_eq!(attempts.limit(), now + Duration::from_secs(10));
        attempts.again(&silent(), now, &mut Budget::new(now));
        assert_eq!(attempts.limit(), now + WITHIN);
    }

    #[test]
    fn silence_is_waited_out_when_no_retry_is_left() {
        let now = Instant::now();
        let (mut budget, mut given_up) = (Budget::new(now), 0);
        for _ in 0..100 {
            let mut attempts = Attempts::new(now, WITHIN);
            if attempts.gives_up(attempts.limit(), &mut budget) {
                given_up += 1;
                // Paid for once.
                assert!(
                    attempts
                        .again(&silent(), attempts.limit(), &mut Budget::empty(now))
                        .is_some()
                );
            }
        }
        assert!((20..40).contains(&given_up), "{given_up}");
        let mut last = Attempts::new(now, WITHIN);
        assert!(
            !last.gives_up(now + WITHIN, &mut Budget::new(now)),
            "the deadline is the end"
        );
    }

    #[test]
    fn an_outage_is_not_multiplied() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let calls = 1000;
        let retries: usize = (0..calls)
            .map(|_| {
                budget.earn(now);
                let mut attempts = Attempts::new(now, WITHIN);
                let mut again = || attempts.again(&local(Code::Unknown), now, &mut budget).is_some();
                usize::from(again()) + usize::from(again())
            })
            .sum();
        // Far from the 2000 that each call asks for.
        assert!((200..=220).contains(&retries), "{retries}");
        // One that seldom calls gets its retries back by and by.
        assert!(!budget.spend(now));
        assert!(budget.spend(now + Duration::from_secs(1)));
    }
}
