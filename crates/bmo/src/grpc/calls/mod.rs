//! What the calls do, after the caller was admitted.
//!
//! * `read.rs` what is told of hosts; `list.rs` their pages
//! * `lend.rs` what a consumer does with its host until it has given it back; `care.rs` power holds, health, moves
//! * `reservations.rs` hosts kept for the successor of a machine, and the end of that

mod care;
mod lend;
mod list;
mod read;
mod reservations;

use serde_json::Value;
use tonic::Status;

pub(super) use list::list;
pub(super) use read::{explanation, inventory};
pub(super) use reservations::{scope, sweep};

use super::asked::Asked;
use super::intent::Seen;
use super::request::{conflict, consumer, host_key, not_found, own};
use super::service::Service;

/// Attempts against other writers of the same host before the caller is told to try again.
pub(super) const WRITE_ATTEMPTS: usize = 6;

/// A change of the host that it names, by its consumer.
pub(super) trait Change: Asked + Sync {
    /// What it does, for the log.
    fn deed(&self) -> &'static str;

    /// Who the written fields belong to, if not to this program at large.
    fn manager(&self) -> Option<String> {
        None
    }

    /// What it writes to the host as it is; `None` when all is as asked.
    ///
    /// # Errors
    /// What the contract says of the call.
    fn decide(&self, seen: &Seen) -> Result<Option<Value>, Status>;
}

/// What a change writes to the host as it is, if that is its consumer's.
pub(super) fn decide(change: &impl Change, seen: &Seen) -> Result<Option<Value>, Status> {
    own(&seen.host, consumer(change.consumer())?)?;
    change.decide(seen)
}

impl Service {
    /// Decides on the host as it is and writes that, anew as long as others are faster. The host as it is then, and whether
    /// anything was written.
    async fn change(&self, change: &impl Change) -> Result<(Seen, bool), Status> {
        let consumer = consumer(change.consumer())?;
        let key = host_key(change.host())?;
        let manager = change.manager();
        for _ in 0..WRITE_ATTEMPTS {
            let seen = self.store.read(&key, change.host()).await?;
            let seen = seen.ok_or_else(|| not_found(&key))?;
            let Some(patch) = decide(change, &seen)? else {
                return Ok((seen, false));
            };
            let written = self.store.write_as(&seen.host, patch, manager.as_deref()).await?;
            if let Some(seen) = written {
                tracing::info!(host = %key, consumer = %consumer.name, "{}", change.deed());
                return Ok((seen, true));
            }
        }
        Err(conflict(&format!("host {key}")))
    }
}
