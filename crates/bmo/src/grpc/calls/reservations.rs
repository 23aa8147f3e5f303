//! Hosts kept for the successor of a machine, and the end of that.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metal3_provisioner::HostKey;
use metal3_rpc::v1;
use metal3_rpc::v1::Host;
use metal3_rpc::v1::release_reservations_request::Scope as Asked;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::super::intent::{self, Scope, title};
use super::super::request::{conflict, missing};
use super::super::service::Service;
use super::WRITE_ATTEMPTS;

/// How late a reservation may end: what waits for a host waits for this, too.
const SWEEP: Duration = Duration::from_secs(5);

impl Service {
    pub(in super::super) async fn release_reservations(
        &self,
        request: v1::ReleaseReservationsRequest,
    ) -> Result<v1::ReleaseReservationsResponse, Status> {
        let scope = scope(&request)?;
        let key = match &scope {
            Scope::Key(key) => Some(key.as_str()),
            Scope::Cluster(_) | Scope::Expired(_) => None,
        };
        let mut released = 0;
        for seen in self.store.reserved(&request.namespace, key).await? {
            if self.free(seen.host, &scope).await? {
                released += 1;
            }
        }
        Ok(v1::ReleaseReservationsResponse { released })
    }

    /// Ends the reservation of a host if it is one of those; whether it did.
    async fn free(&self, mut host: Host, scope: &Scope) -> Result<bool, Status> {
        for _ in 0..WRITE_ATTEMPTS {
            if !intent::in_scope(&host, scope) {
                return Ok(false);
            }
            if let Some(free) = self.store.write(&host, intent::free()).await? {
                tracing::info!(host = %title(&host), key = %host.reuse_key, "reservation ended");
                if let Some(cluster) = &host.consumer {
                    let deed = "no longer reserved";
                    self.store.tell(&free.host, cluster, "ReservationEnded", deed);
                }
                return Ok(true);
            }
            let Some(reference) = &host.r#ref else {
                return Ok(false);
            };
            let key = HostKey::new(&reference.namespace, &reference.name);
            match self.store.read(&key, host.r#ref.as_ref()).await? {
                Some(seen) => host = seen.host,
                None => return Ok(false),
            }
        }
        Err(conflict(&format!("host {}", title(&host))))
    }

    /// Ends the reservations whose time is over.
    async fn expire(&self) {
        let scope = Scope::Expired(Timestamp::now());
        let (hosts, _) = self.index.list("");
        for host in hosts.iter().filter(|host| intent::in_scope(host, &scope)) {
            if let Err(status) = self.free(Host::clone(host), &scope).await {
                let error = status.message();
                tracing::warn!(host = %title(host), error, "the reservation is over, but could not be ended");
            }
        }
    }
}

/// Which reservations are meant.
///
/// # Errors
/// `INVALID_ARGUMENT` when it is not said.
pub(in super::super) fn scope(request: &v1::ReleaseReservationsRequest) -> Result<Scope, Status> {
    match &request.scope {
        Some(Asked::ReuseKey(key)) => Ok(Scope::Key(key.clone())),
        Some(Asked::Cluster(cluster)) => Ok(Scope::Cluster(cluster.clone())),
        None => Err(missing("scope")),
    }
}

/// Ends reservations when their time is over, and frees what claims left behind, until shutdown. Every replica does: the
/// first one wins.
pub(in super::super) async fn sweep(service: Arc<Service>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        service.expire().await;
        Box::pin(service.claims.tidy()).await;
    }
}
