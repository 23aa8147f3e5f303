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

use metal3_rpc::v1::{Consumer, HostRef};
use serde_json::Value;
use tonic::Status;

pub(super) use reservations::sweep;

use super::intent::Seen;
use super::request::{conflict, consumer, host_key, not_found, own};
use super::service::Service;

/// Attempts against other writers of the same host before the caller is told to try again.
pub(super) const WRITE_ATTEMPTS: usize = 6;

/// A change of one host by its consumer.
struct Change<'a> {
    host: Option<&'a HostRef>,
    consumer: Option<&'a Consumer>,
    /// What it does, for the log.
    deed: &'static str,
    /// Who the written fields belong to, if not to this program at large.
    manager: Option<&'a str>,
}

impl Service {
    /// Decides on the host as it is and writes that, anew as long as others are faster. The host as it is then, and whether
    /// anything was written.
    async fn change(
        &self,
        change: Change<'_>,
        decide: impl Fn(&Seen) -> Result<Option<Value>, Status> + Send,
    ) -> Result<(Seen, bool), Status> {
        let consumer = consumer(change.consumer)?;
        let key = host_key(change.host)?;
        for _ in 0..WRITE_ATTEMPTS {
            let seen = self.store.read(&key, change.host).await?;
            let seen = seen.ok_or_else(|| not_found(&key))?;
            own(&seen.host, consumer)?;
            let Some(patch) = decide(&seen)? else {
                return Ok((seen, false));
            };
            let written = self.store.write_as(&seen.host, patch, change.manager).await?;
            if let Some(seen) = written {
                tracing::info!(host = %key, consumer = %consumer.name, "{}", change.deed);
                return Ok((seen, true));
            }
        }
        Err(conflict(&format!("host {key}")))
    }
}
