//! The times of an election, and the flags that both upstream projects have for them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use jiff::SignedDuration;

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Others take over this long after the last renewal.
    pub(super) lease: Duration,
    /// The holder stops working this long after its last renewal: before anybody can take over.
    pub(super) renew: Duration,
    /// Between two attempts.
    pub(super) retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            lease: seconds(15),
            renew: seconds(10),
            retry: seconds(2),
        }
    }
}

impl Timing {
    /// The times, if they go together; the flags they are from are named in the error.
    fn checked(self, [lease, renew, retry]: [&str; 3]) -> Result<Self> {
        let whole = Duration::from_secs(self.lease.as_secs());
        ensure!(
            self.lease == whole,
            "{lease} {:?} must be a whole number of seconds: a Lease counts no parts of them",
            self.lease
        );
        ensure!(
            self.lease > self.renew,
            "{lease} {:?} must be greater than {renew} {:?}: the leader stops working before another begins",
            self.lease,
            self.renew
        );
        ensure!(
            self.renew > self.retry,
            "{renew} {:?} must be greater than {retry} {:?}: the leader needs time for an attempt to renew",
            self.renew,
            self.retry
        );
        ensure!(!self.retry.is_zero(), "{retry} must be greater than 0s");
        Ok(self)
    }
}

/// Flags of the times of an election, as upstream's baremetal-operator has them. An empty variable counts as none.
#[derive(Args, Clone, Debug, Default)]
pub struct TimingArgs {
    /// Seconds after the last renewal until another replica takes over [default: 15].
    #[arg(long, value_name = "SECONDS", env = "LEASE_DURATION_SECONDS", value_parser = seconds)]
    pub lease_duration_seconds: Option<Seconds>,
    /// Seconds after the last renewal until the leader stops working [default: 10].
    #[arg(long, value_name = "SECONDS", env = "RENEW_DEADLINE_SECONDS", value_parser = seconds)]
    pub renew_deadline_seconds: Option<Seconds>,
    /// Seconds between two attempts to lead or to renew [default: 2].
    #[arg(long, value_name = "SECONDS", env = "RETRY_PERIOD_SECONDS", value_parser = seconds)]
    pub retry_period_seconds: Option<Seconds>,
}

/// A number of seconds, or nothing where a variable is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(Option<u16>);

fn seconds(text: &str) -> Result<Seconds, String> {
    if text.trim().is_empty() {
        return Ok(Seconds(None));
    }
    match text.trim().parse() {
        Ok(0) | Err(_) => Err("not a number of seconds from 1 to 65535".to_owned()),
        Ok(number) => Ok(Seconds(Some(number))),
    }
}

impl TimingArgs {
    /// The times.
    ///
    /// # Errors
    /// When the leader would not stop before somebody else takes over, or could not renew in time.
    pub fn timing(&self) -> Result<Timing> {
        let given = |seconds: Option<Seconds>, default: Duration| {
            let seconds = seconds.and_then(|seconds| seconds.0);
            seconds.map_or(default, |seconds| Duration::from_secs(seconds.into()))
        };
        let default = Timing::default();
        let timing = Timing {
            lease: given(self.lease_duration_seconds, default.lease),
            renew: given(self.renew_deadline_seconds, default.renew),
            retry: given(self.retry_period_seconds, default.retry),
        };
        timing.checked([
            "--lease-duration-seconds",
            "--renew-deadline-seconds",
            "--retry-period-seconds",
        ])
    }
}

/// The same flags, as upstream's cluster-api-provider-metal3 has them.
#[derive(Args, Clone, Debug)]
pub struct LeaderElectArgs {
    /// Time after the last renewal until another replica takes over, in whole seconds.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub leader_elect_lease_duration: SignedDuration,
    /// Time after the last renewal until the leader stops working.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub leader_elect_renew_deadline: SignedDuration,
    /// Time between two attempts to lead or to renew.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub leader_elect_retry_period: SignedDuration,
}

impl LeaderElectArgs {
    /// The times.
    ///
    /// # Errors
    /// As [`TimingArgs::timing`].
    pub fn timing(&self) -> Result<Timing> {
        let flags = [
            "--leader-elect-lease-duration",
            "--leader-elect-renew-deadline",
            "--leader-elect-retry-period",
        ];
        let times = [
            self.leader_elect_lease_duration,
            self.leader_elect_renew_deadline,
            self.leader_elect_retry_period,
        ];
        for (flag, time) in flags.iter().zip(times) {
            ensure!(time.is_positive(), "{flag} {time:#} must be greater than 0s");
        }
        let [lease, renew, retry] = times.map(Duration::try_from);
        let what = "a time of the election is out of range";
        let timing = Timing {
            lease: lease.context(what)?,
            renew: renew.context(what)?,
            retry: retry.context(what)?,
        };
        timing.checked(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_seconds(lease: &str, renew: &str, retry: &str) -> Result<Timing> {
        let given = |text| seconds(text).ok();
        let args = TimingArgs {
            lease_duration_seconds: given(lease),
            renew_deadline_seconds: given(renew),
            retry_period_seconds: given(retry),
        };
        args.timing()
    }

    fn in_words(lease: &str, renew: &str, retry: &str) -> Result<Timing> {
        let args = LeaderElectArgs {
            leader_elect_lease_duration: lease.parse()?,
            leader_elect_renew_deadline: renew.parse()?,
            leader_elect_retry_period: retry.parse()?,
        };
        args.timing()
    }

    #[test]
    fn a_leader_stops_before_another_begins() {
        assert_eq!(in_seconds("", "", "").unwrap(), Timing::default());
        assert_eq!(in_seconds("60", "", "5").unwrap().lease, Duration::from_secs(60));
        for (lease, renew, retry, told) in [
            ("10", "10", "2", "--lease-duration-seconds 10s must be greater"),
            ("15", "2", "2", "--renew-deadline-seconds 2s must be greater"),
        ] {
            let error = in_seconds(lease, renew, retry).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        for wrong in ["0", "65536", "-1", "1s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_holds_for_times_with_units() {
        assert_eq!(in_words("15s", "10s", "2s").unwrap(), Timing::default());
        let slow = in_words("1m30s", "1m", "500ms").unwrap();
        assert_eq!(slow.lease, Duration::from_secs(90));
        assert_eq!(slow.retry, Duration::from_millis(500));
        for (lease, renew, retry, told) in [
            (
                "10s",
                "10s",
                "2s",
                "--leader-elect-lease-duration 10s must be greater than --leader-elect-renew",
            ),
            (
                "15s",
                "2s",
                "2s",
                "--leader-elect-renew-deadline 2s must be greater than --leader-elect-retry",
            ),
            (
                "1500ms",
                "1s",
                "500ms",
                "--leader-elect-lease-duration 1.5s must be a whole number",
            ),
            (
                "15s",
                "10s",
                "0s",
                "--leader-elect-retry-period 0s must be greater than 0s",
            ),
            ("15s", "-10s", "2s", "--leader-elect-renew-deadline"),
        ] {
            let error = in_words(lease, renew, retry).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
