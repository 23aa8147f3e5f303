//! Leader election over a Lease, with the timing of controller-runtime unless flags say otherwise (`timing.rs`). Several
//! Leases share the work among replicas (`share.rs`); `leadership.rs` is what both come to.

mod leadership;
mod share;
mod timing;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use leadership::Grant;
use share::Table;

pub use leadership::{Busy, Leadership};
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

/// Takes part in the election of a Lease.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    grant: Grant,
    /// One of several that share the work, and which.
    share: Option<(Table, usize)>,
    shown: Box<dyn Fn(bool) + Send + Sync>,
}

/// What came of a look at the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Held,
    NotHeld,
    /// It is held, and somebody who has less asks for it.
    Asked,
}

impl Election {
    /// A candidate; `identity` must differ between processes.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> (Self, Leadership) {
        let (grant, leadership) = Leadership::granted();
        let election = Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            timing: Timing::default(),
            grant,
            share: None,
            shown: Box::new(|_| {}),
        };
        (election, leadership)
    }

    /// Candidates for several Leases, which share the work evenly with other replicas.
    pub fn shared(
        client: &Client,
        namespace: &str,
        names: &[String],
        identity: &str,
    ) -> (Vec<Self>, Leadership) {
        let table = Table::new(names.len());
        let each = names.iter().enumerate().map(|(index, name)| {
            let (election, part) = Self::new(client.clone(), namespace, name, identity.to_owned());
            let share = Some((table.clone(), index));
            (Self { share, ..election }, part)
        });
        let (elections, parts): (Vec<_>, Vec<_>) = each.unzip();
        (elections, Leadership::of(parts))
    }

    /// With other times than the usual ones.
    #[must_use]
    pub const fn timed(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Tells whether the Lease is held each time that it is known.
    #[must_use]
    pub fn shown(mut self, show: impl Fn(bool) + Send + Sync + 'static) -> Self {
        self.shown = Box::new(show);
        self
    }

    /// Runs until shutdown, or until leadership is lost: a former leader must not go on with what it has in memory.
    ///
    /// # Errors
    /// When leadership was lost.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let mut renewed: Option<Instant> = None;
        let mut asked = false;
        let Timing { renew, retry, .. } = self.timing;
        loop {
            // Counted from before the request: others count from the time that is in it.
            let begun = Instant::now();
            let left = renewed.map_or(renew, |renewed| (renewed + renew) - begun);
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(Look::NotHeld)) => {}
                Ok(Ok(look)) => {
                    if renewed.is_none() {
                        tracing::info!(lease = %self.name, "leading");
                    }
                    renewed = Some(begun);
                    (self.shown)(true);
                    asked |= look == Look::Asked;
                    if asked {
                        self.grant.end();
                    } else {
                        self.grant.extend(begun + renew);
                    }
                }
                Ok(Err(error)) => tracing::warn!(lease = %self.name, %error, "cannot renew the lease"),
                Err(_) => tracing::warn!(lease = %self.name, "cannot renew the lease: no answer in time"),
            }
            if renewed.is_some_and(|renewed| renewed.elapsed() >= renew) {
                self.grant.end();
                (self.shown)(false);
                anyhow::bail!("leadership of lease {} was lost", self.name);
            }
            if asked && self.grant.is_idle() {
                tracing::info!(lease = %self.name, "given to another replica, which has less");
                self.release(self.timing.lease).await;
                (self.shown)(false);
                (renewed, asked) = (None, false);
            }
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = shutdown.cancelled() => break,
            }
        }
        self.grant.end();
        if renewed.is_some() {
            self.release(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    async fn attempt(&self) -> Result<Look, kube::Error> {
        let now = Timestamp::now();
        let params = PostParams::default();
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(held(&self.identity, self.timing.lease, now, now, 0)),
            };
            return settled(self.api.create(&params, &lease).await, Look::Held);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let asker = share::asker(&lease.metadata, self.timing.lease, now).map(str::to_owned);
        let wanted = decide(&spec, &self.identity, asker.as_deref(), self.timing.lease, now);
        let Some(wanted) = wanted else {
            let Some((table, index)) = &self.share else {
                return Ok(Look::NotHeld);
            };
            let holder = spec.holder_identity.as_deref();
            table.saw(*index, holder.filter(|holder| !holder.is_empty()));
            if asker.is_some() || table.ask(&self.identity) != Some(*index) {
                return Ok(Look::NotHeld);
            }
            share::ask(&mut lease.metadata, &self.identity, now);
            lease.spec = Some(spec);
            return settled(self.api.replace(&self.name, &params, &lease).await, Look::NotHeld);
        };
        let mut look = Look::Held;
        if let Some((table, index)) = &self.share {
            table.saw(*index, Some(&self.identity));
            match asker {
                Some(asker) if asker == self.identity => share::answered(&mut lease.metadata),
                Some(asker) if table.gives(&self.identity, &asker) => look = Look::Asked,
                Some(_) | None => {}
            }
        }
        lease.spec = Some(wanted);
        // Guarded by the resourceVersion that was read.
        settled(self.api.replace(&self.name, &params, &lease).await, look)
    }

    /// Gives the lease up. Whoever asked for it has so long to take it, before anybody may.
    async fn release(&self, reserved: Duration) {
        let released = async {
            let mut lease = self.api.get(&self.name).await?;
            if let Some(spec) = lease.spec.as_mut()
                && spec.holder_identity.as_deref() == Some(self.identity.as_str())
            {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = i32::try_from(reserved.as_secs()).ok();
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
fn settled(result: Result<Lease, kube::Error>, won: Look) -> Result<Look, kube::Error> {
    match result {
        Ok(_) => Ok(won),
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(Look::NotHeld),
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

/// The lease to write, or `None` while somebody else holds it, or may take it because he asked for it.
fn decide(
    spec: &LeaseSpec,
    me: &str,
    asker: Option<&str>,
    lease: Duration,
    now: Timestamp,
) -> Option<LeaseSpec> {
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
    let free = holder.is_empty() && asker.is_none_or(|asker| asker == me);
    (free || expired).then(|| held(me, lease, now, now, transitions.saturating_add(1)))
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
        assert_eq!(decide(&theirs, "me", None, LEASE, at(110)), None);
        let taken = decide(&theirs, "me", None, LEASE, at(116)).unwrap();
        assert_eq!(
            (taken.holder_identity.as_deref(), taken.lease_transitions),
            (Some("me"), Some(4))
        );
        let free = LeaseSpec {
            holder_identity: Some(String::new()),
            ..theirs
        };
        assert!(decide(&free, "me", None, LEASE, at(101)).is_some());
        // Whoever asked for it takes it first, if he lives.
        assert!(decide(&free, "me", Some("me"), LEASE, at(101)).is_some());
        assert_eq!(decide(&free, "me", Some("asker"), LEASE, at(110)), None);
        assert!(decide(&free, "me", Some("asker"), LEASE, at(116)).is_some());
    }

    #[test]
    fn renewing_keeps_the_time_of_acquisition() {
        let mine = held("me", LEASE, at(5), at(100), 3);
        let renewed = decide(&mine, "me", None, LEASE, at(102)).unwrap();
        assert_eq!(renewed.acquire_time, Some(MicroTime(at(5))));
        assert_eq!(
            (renewed.renew_time, renewed.lease_transitions),
            (Some(MicroTime(at(102))), Some(3))
        );
    }
}
