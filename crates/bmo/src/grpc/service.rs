//! The calls of the contract: who may, then what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::host_service_server::HostService;
use metal3_rpc::v1::{Host, HostRef};
use tonic::{Request, Response, Status};

use super::auth::{Authority, Verb};
use super::index::HostIndex;
use super::request::{host_key, missing, namespace, not_found, same_uid};
use super::store::Store;
use super::watch;

/// The HostService of one replica.
pub(super) struct Service {
    pub(super) index: Arc<HostIndex>,
    pub(super) store: Store,
    authority: Authority,
    /// One claim at a time per consumer: a repeated call that overtakes the first one must not choose a second host.
    pub(super) claims: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Service {
    pub(super) fn new(index: Arc<HostIndex>, store: Store, authority: Authority) -> Self {
        Self {
            index,
            store,
            authority,
            claims: Mutex::default(),
        }
    }

    async fn admit<T>(
        &self,
        request: Request<T>,
        verb: Verb,
        namespace: impl Fn(&T) -> String,
    ) -> Result<T, Status> {
        let namespace = namespace(request.get_ref());
        self.authority.check(request.metadata(), verb, &namespace).await?;
        if !self.index.synced() {
            return Err(Reason::NotSynced.status("the hosts are not read yet; try again", []));
        }
        Ok(request.into_inner())
    }
    /// Calls whose behaviour comes with a later release: the permission is checked all the same.
    async fn later<T, R>(
        &self,
        request: Request<T>,
        verb: Verb,
        namespace: impl Fn(&T) -> String,
        call: &str,
    ) -> Result<Response<R>, Status> {
        self.admit(request, verb, namespace).await?;
        Err(Reason::NotImplemented.status(format!("{call} is not available in this release"), []))
    }

    fn known(&self, host: Option<&HostRef>) -> Result<Arc<Host>, Status> {
        let key = host_key(host)?;
        let known = self.index.get(&key).filter(|known| same_uid(host, known));
        known.ok_or_else(|| not_found(&key))
    }
}

#[tonic::async_trait]
impl HostService for Service {
    async fn get_host(
        &self,
        request: Request<v1::GetHostRequest>,
    ) -> Result<Response<v1::GetHostResponse>, Status> {
        let request = self
            .admit(request, Verb::Get, |r| namespace(r.host.as_ref()))
            .await?;
        let host = self.known(request.host.as_ref())?;
        Ok(Response::new(v1::GetHostResponse {
            host: Some(Host::clone(&host)),
        }))
    }

    async fn list_hosts(
        &self,
        request: Request<v1::ListHostsRequest>,
    ) -> Result<Response<v1::ListHostsResponse>, Status> {
        let request = self.admit(request, Verb::List, |r| r.namespace.clone()).await?;
        self.list(&request).map(Response::new)
    }

    type WatchHostsStream = BoxStream<'static, Result<v1::WatchHostsResponse, Status>>;

    async fn watch_hosts(
        &self,
        request: Request<v1::WatchHostsRequest>,
    ) -> Result<Response<Self::WatchHostsStream>, Status> {
        let namespaces = match request.get_ref().namespaces.as_slice() {
            [] => vec![String::new()],
            several => several.to_vec(),
        };
        for namespace in &namespaces {
            self.authority
                .check(request.metadata(), Verb::Watch, namespace)
                .await?;
        }
        let request = self
            .admit(request, Verb::Watch, |_| {
                namespaces.first().cloned().unwrap_or_default()
            })
            .await?;
        Ok(Response::new(boxed(watch::watch(&self.index, request)?)))
    }

    async fn get_inventory(
        &self,
        request: Request<v1::GetInventoryRequest>,
    ) -> Result<Response<v1::GetInventoryResponse>, Status> {
        let request = self
            .admit(request, Verb::Get, |r| namespace(r.host.as_ref()))
            .await?;
        let key = host_key(request.host.as_ref())?;
        self.known(request.host.as_ref())?;
        let inventory = self
            .store
            .inventory(&key, &request)
            .await?
            .ok_or_else(|| not_found(&key))?;
        Ok(Response::new(inventory))
    }

    async fn claim_host(
        &self,
        request: Request<v1::ClaimHostRequest>,
    ) -> Result<Response<v1::ClaimHostResponse>, Status> {
        let request = self.admit(request, Verb::Claim, |r| r.namespace.clone()).await?;
        if request.namespace.is_empty() {
            return Err(missing("namespace"));
        }
        self.claim(request).await.map(Response::new)
    }

    async fn provision_host(
        &self,
        request: Request<v1::ProvisionHostRequest>,
    ) -> Result<Response<v1::ProvisionHostResponse>, Status> {
        let request = self
            .admit(request, Verb::Provision, |r| namespace(r.host.as_ref()))
            .await?;
        self.provision(request).await.map(Response::new)
    }

    async fn release_host(
        &self,
        request: Request<v1::ReleaseHostRequest>,
    ) -> Result<Response<v1::ReleaseHostResponse>, Status> {
        let request = self
            .admit(request, Verb::Release, |r| namespace(r.host.as_ref()))
            .await?;
        self.release(request).await.map(Response::new)
    }

    async fn set_cleaning_mode(
        &self,
        request: Request<v1::SetCleaningModeRequest>,
    ) -> Result<Response<v1::SetCleaningModeResponse>, Status> {
        self.later(
            request,
            Verb::Provision,
            |r| namespace(r.host.as_ref()),
            "SetCleaningMode",
        )
        .await
    }

    async fn release_reservations(
        &self,
        request: Request<v1::ReleaseReservationsRequest>,
    ) -> Result<Response<v1::ReleaseReservationsResponse>, Status> {
        self.later(
            request,
            Verb::Release,
            |r| r.namespace.clone(),
            "ReleaseReservations",
        )
        .await
    }

    async fn hold_power_off(
        &self,
        request: Request<v1::HoldPowerOffRequest>,
    ) -> Result<Response<v1::HoldPowerOffResponse>, Status> {
        self.later(
            request,
            Verb::Power,
            |r| namespace(r.host.as_ref()),
            "HoldPowerOff",
        )
        .await
    }

    async fn release_power_hold(
        &self,
        request: Request<v1::ReleasePowerHoldRequest>,
    ) -> Result<Response<v1::ReleasePowerHoldResponse>, Status> {
        self.later(
            request,
            Verb::Power,
            |r| namespace(r.host.as_ref()),
            "ReleasePowerHold",
        )
        .await
    }

    async fn mark_health(
        &self,
        request: Request<v1::MarkHealthRequest>,
    ) -> Result<Response<v1::MarkHealthResponse>, Status> {
        self.later(
            request,
            Verb::Health,
            |r| namespace(r.host.as_ref()),
            "MarkHealth",
        )
        .await
    }

    async fn prepare_move(
        &self,
        request: Request<v1::PrepareMoveRequest>,
    ) -> Result<Response<v1::PrepareMoveResponse>, Status> {
        self.later(request, Verb::Move, |r| namespace(r.host.as_ref()), "PrepareMove")
            .await
    }

    async fn resume_after_move(
        &self,
        request: Request<v1::ResumeAfterMoveRequest>,
    ) -> Result<Response<v1::ResumeAfterMoveResponse>, Status> {
        self.later(
            request,
            Verb::Move,
            |r| namespace(r.host.as_ref()),
            "ResumeAfterMove",
        )
        .await
    }

    async fn explain_host(
        &self,
        request: Request<v1::ExplainHostRequest>,
    ) -> Result<Response<v1::ExplainHostResponse>, Status> {
        self.later(
            request,
            Verb::Explain,
            |r| namespace(r.host.as_ref()),
            "ExplainHost",
        )
        .await
    }
}

fn boxed(
    stream: impl Stream<Item = Result<v1::WatchHostsResponse, Status>> + Send + 'static,
) -> BoxStream<'static, Result<v1::WatchHostsResponse, Status>> {
    stream.boxed()
}
