//! Leader election over a Lease, with the timing of controller-runtime unless flags say otherwise (`timing.rs`).

mod timing;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use timing::{LeaderElectArgs, Timing, TimingArgs};

/// Flags of leader election.
#[derive(Args, Clone, Debug)]
pub struct LeaseArgs {
    /// Only one replica at a time works.
    #[arg(long, visible_alias = "enable-leader-election", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set, value_parser = crate::flags::boolean)]
    pub leader_elect: bool,
}

/// A name for this process in Leases: where it runs, and a random part that differs between processes.
pub fn identity() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    format!("{}_{:016x}", host.trim(), rand::random::<u64>())
}

/// Whether this process may act, now and later.
#[derive(Clone, Debug)]
pub struct Leadership {
    /// Until when, unless it is renewed; a clock decides, so that a process that hung cannot believe what it knew before.
    until: watch::Receiver<Option<Instant>>,
}

impl Leadership {
    /// Without election: always.
    pub fn always() -> Self {
        // No process runs for a century.
        let century = Duration::from_secs(100 * 365 * 24 * 3600);
        // The channel keeps its value when the sender is dropped.
        let (_, until) = watch::channel(Some(Instant::now() + century));
        Self { until }
    }

    /// Whether this process may act.
    pub fn held(&self) -> bool {
        lasts(*self.until.borrow())
    }

    /// Waits until it may.
    pub async fn acquired(&mut self) {
        // The sender is gone only in `always`, where the value is true.
        let _ = self.until.wait_for(|until| lasts(*until)).await;
    }
}

fn lasts(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}

/// Takes part in the election of a Lease.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    until: watch::Sender<Option<Instant>>,
}

impl Election {
    /// A candidate; `identity` must differ between processes.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> (Self, Leadership) {
        let (sender, until) = watch::channel(None);
        let api = Api::namespaced(client, namespace);
        (
            Self {
                api,
                name: name.to_owned(),
                identity,
                timing: Timing::default(),
                until: sender,
            },
            Leadership { until },
        )
    }

    /// With other times than the usual ones.
    #[must_use]
    pub const fn timed(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Runs until shutdown, or until leadership is lost: a former leader must not go on with what it has in memory.
    ///
    /// # Errors
    /// When leadership was lost.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let mut renewed: Option<Instant> = None;
        let Timing { renew, retry, .. } = self.timing;
        loop {
            // Counted from before the request: others count from the time that is in it.
            let begun = Instant::now();
            let left = renewed.map_or(renew, |renewed| (renewed + renew) - begun);
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => {
                    if renewed.is_none() {
                        tracing::info!(lease = %self.name, "leading");
                    }
                    self.until.send_replace(Some(begun + renew));
                    renewed = Some(begun);
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(lease = %self.name, %error, "cannot renew the lease"),
                Err(_) => tracing::warn!(lease = %self.name, "cannot renew the lease: no answer in time"),
            }
            if renewed.is_some_and(|renewed| renewed.elapsed() >= renew) {
                self.until.send_replace(None);
                anyhow::bail!("leadership of lease {} was lost", self.name);
            }
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = shutdown.cancelled() => break,
            }
        }
        self.until.send_replace(None);
        if renewed.is_some() {
            self.release().await;
        }
        Ok(())
    }

    /// Whether the lease is held after this attempt.
    async fn attempt(&self) -> Result<bool, kube::Error> {
        let now = Timestamp::now();
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(held(&self.identity, self.timing.lease, now, now, 0)),
            };
            return settled(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let Some(wanted) = decide(&spec, &self.identity, self.timing.lease, now) else {
            return Ok(false);
        };
        lease.spec = Some(wanted);
        // Guarded by the resourceVersion that was read.
        settled(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    async fn release(&self) {
        let released = async {
            let mut lease = self.api.get(&self.name).await?;
            if let Some(spec) = lease.spec.as_mut()
                && spec.holder_identity.as_deref() == Some(self.identity.as_str())
            {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
                self.api
                    .replace(&self.name, &PostParams::default(), &lease)
                    .await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Err(error) = released.await {
            tracing::warn!(lease = %self.name, %error, "lease not released; others wait for it to expire");
        }
    }
}

/// Losing a race is an answer, not an error.
fn settled(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn held(
    identity: &str,
    lease: Duration,
    acquired: Timestamp,
    renewed: Timestamp,
    transitions: i32,
) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(lease.as_secs()).ok(),
        acquire_time: Some(MicroTime(acquired)),
        renew_time: Some(MicroTime(renewed)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}

/// The lease to write, or `None` while somebody else holds it.
fn decide(spec: &LeaseSpec, me: &str, lease: Duration, now: Timestamp) -> Option<LeaseSpec> {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let transitions = spec.lease_transitions.unwrap_or(0);
    if holder == me {
        let acquired = spec.acquire_time.as_ref().map_or(now, |time| time.0);
        return Some(held(me, lease, acquired, now, transitions));
    }
    let duration = Duration::from_secs(
        spec.lease_duration_seconds
            .and_then(|s| u64::try_from(s).ok())
            .unwrap_or(0),
    );
    let expired = spec
        .renew_time
        .as_ref()
        .is_none_or(|renewed| renewed.0.checked_add(duration).is_ok_and(|until| until < now));
    (holder.is_empty() || expired).then(|| held(me, lease, now, now, transitions.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_lease_changes_hands_only_when_it_is_free_or_expired() {
        let theirs = held("them", LEASE, at(0), at(100), 3);
        assert_eq!(decide(&theirs, "me", LEASE, at(110)), None);
        let taken = decide(&theirs, "me", LEASE, at(116)).unwrap();
        assert_eq!(
            (taken.holder_identity.as_deref(), taken.lease_transitions),
            (Some("me"), Some(4))
        );
        let free = LeaseSpec {
            holder_identity: Some(String::new()),
            ..theirs
        };
        assert!(decide(&free, "me", LEASE, at(101)).is_some());
    }

    #[test]
    fn renewing_keeps_the_time_of_acquisition() {
        let mine = held("me", LEASE, at(5), at(100), 3);
        let renewed = decide(&mine, "me", LEASE, at(102)).unwrap();
        assert_eq!(renewed.acquire_time, Some(MicroTime(at(5))));
        assert_eq!(
            (renewed.renew_time, renewed.lease_transitions),
            (Some(MicroTime(at(102))), Some(3))
        );
    }

    #[tokio::test]
    async fn without_election_a_process_always_leads() {
        let mut leadership = Leadership::always();
        leadership.acquired().await;
        assert!(leadership.held());
    }

    #[test]
    fn leadership_ends_by_itself_when_it_is_not_renewed() {
        let (until, receiver) = watch::channel(Some(Instant::now()));
        let leadership = Leadership { until: receiver };
        assert!(!leadership.held());
        until.send_replace(Some(Instant::now() + LEASE));
        assert!(leadership.held());
        until.send_replace(None);
        assert!(!leadership.held());
    }
}
