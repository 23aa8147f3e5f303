//! The calls of the contract: who may, then what.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::authentication::v1::UserInfo;
use metal3_kit::telemetry::trace_id;
use metal3_rpc::call::Verb;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::host_service_server::HostService;
use metal3_rpc::v1::{Host, HostRef};
use tonic::{Request, Response, Status};

use super::asked::Asked;
use super::audit::{Answered, Record};
use super::auth::{self, Authority};
use super::claim::Claims;
use super::guard::guard;
use super::index::HostIndex;
use super::request::{host_key, not_found, same_uid};
use super::store::Store;
use super::watch;
use crate::metrics::CallMetrics;

/// The HostService of one replica.
pub(super) struct Service {
    pub(super) index: Arc<HostIndex>,
    pub(super) store: Arc<Store>,
    authority: Arc<Authority>,
    metrics: CallMetrics,
    pub(super) claims: Claims,
}

impl Service {
    pub(super) fn new(
        index: Arc<HostIndex>,
        store: Store,
        authority: Authority,
        metrics: CallMetrics,
    ) -> Self {
        let store = Arc::new(store);
        Self {
            claims: Claims::new(Arc::clone(&index), Arc::clone(&store)),
            index,
            store,
            authority: Arc::new(authority),
            metrics,
        }
    }

    /// Lets the call pass: a caller that Kubernetes knows, a request that has the form of the contract, a verb that was
    /// granted, a replica that knows the hosts.
    async fn admit<T: Asked>(&self, request: &Request<T>) -> Result<UserInfo, Status> {
        let caller = self.authority.caller(request).await?;
        let asked = request.get_ref();
        asked.check()?;
        for namespace in asked.namespaces() {
            self.authority.permit(&caller, T::CALL.verb(), namespace).await?;
        }
        if !self.index.synced() {
            return Err(Reason::NotSynced.status("the hosts are not read yet; try again", []));
        }
        Ok(caller)
    }

    /// A call with one answer, from the door to the answer.
    async fn serve<T, R, F>(
        &self,
        request: Request<T>,
        work: impl FnOnce(T) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        T: Asked,
        R: Answered,
        F: Future<Output = Result<R, Status>> + Send,
    {
        let caller = self.admit(&request).await?;
        let (trace, user) = (trace_id(request.metadata().as_ref()), caller.username);
        let asked = request.into_inner();
        let record = Record::begin(&user.unwrap_or_default(), &asked, trace);
        let answer = work(asked).await;
        if let Some(record) = record {
            record.end(&answer);
        }
        answer.map(Response::new)
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
        self.serve(request, async |asked| {
            let host = self.known(asked.host.as_ref())?;
            Ok(v1::GetHostResponse {
                host: Some(Host::clone(&host)),
            })
        })
        .await
    }

    async fn list_hosts(
        &self,
        request: Request<v1::ListHostsRequest>,
    ) -> Result<Response<v1::ListHostsResponse>, Status> {
        self.serve(request, async |asked| self.list(&asked)).await
    }

    type WatchHostsStream = BoxStream<'static, Result<v1::WatchHostsResponse, Status>>;

    async fn watch_hosts(
        &self,
        request: Request<v1::WatchHostsRequest>,
    ) -> Result<Response<Self::WatchHostsStream>, Status> {
        let caller = self.admit(&request).await?;
        let place = (self.authority.place(&caller)?, self.metrics.watching());
        let token = auth::token(request.metadata())?.to_owned();
        let asked = request.into_inner();
        let namespaces: Vec<String> = asked.namespaces().into_iter().map(str::to_owned).collect();
        let stream = watch::watch(&self.index, asked)?.boxed();
        let (authority, period) = (Arc::clone(&self.authority), self.authority.period());
        // Shared with each look, which outlives the call that made it.
        let caller = Arc::new((authority, token, namespaces));
        let look = move || {
            let caller = Arc::clone(&caller);
            async move {
                let (authority, token, namespaces) = &*caller;
                authority.look_again(token, Verb::Watch, namespaces).await
            }
        };
        Ok(Response::new(guard(stream, place, period, look).boxed()))
    }

    async fn get_inventory(
        &self,
        request: Request<v1::GetInventoryRequest>,
    ) -> Result<Response<v1::GetInventoryResponse>, Status> {
        self.serve(request, |asked| self.inventory(asked)).await
    }

    async fn claim_host(
        &self,
        request: Request<v1::ClaimHostRequest>,
    ) -> Result<Response<v1::ClaimHostResponse>, Status> {
        self.serve(request, |asked| self.claim(asked)).await
    }

    async fn provision_host(
        &self,
        request: Request<v1::ProvisionHostRequest>,
    ) -> Result<Response<v1::ProvisionHostResponse>, Status> {
        self.serve(request, |asked| self.provision(asked)).await
    }

    async fn release_host(
        &self,
        request: Request<v1::ReleaseHostRequest>,
    ) -> Result<Response<v1::ReleaseHostResponse>, Status> {
        self.serve(request, |asked| self.release(asked)).await
    }

    async fn set_cleaning_mode(
        &self,
        request: Request<v1::SetCleaningModeRequest>,
    ) -> Result<Response<v1::SetCleaningModeResponse>, Status> {
        self.serve(request, |asked| self.set_cleaning_mode(asked)).await
    }

    async fn release_reservations(
        &self,
        request: Request<v1::ReleaseReservationsRequest>,
    ) -> Result<Response<v1::ReleaseReservationsResponse>, Status> {
        // Boxed, because it holds what many hosts need.
        self.serve(request, |asked| Box::pin(self.release_reservations(asked)))
            .await
    }

    async fn hold_power_off(
        &self,
        request: Request<v1::HoldPowerOffRequest>,
    ) -> Result<Response<v1::HoldPowerOffResponse>, Status> {
        self.serve(request, |asked| self.hold_power_off(asked)).await
    }

    async fn release_power_hold(
        &self,
        request: Request<v1::ReleasePowerHoldRequest>,
    ) -> Result<Response<v1::ReleasePowerHoldResponse>, Status> {
        self.serve(request, |asked| self.release_power_hold(asked)).await
    }

    async fn mark_health(
        &self,
        request: Request<v1::MarkHealthRequest>,
    ) -> Result<Response<v1::MarkHealthResponse>, Status> {
        self.serve(request, |asked| self.mark_health(asked)).await
    }

    async fn prepare_move(
        &self,
        request: Request<v1::PrepareMoveRequest>,
    ) -> Result<Response<v1::PrepareMoveResponse>, Status> {
        self.serve(request, |asked| self.prepare_move(asked)).await
    }

    async fn resume_after_move(
        &self,
        request: Request<v1::ResumeAfterMoveRequest>,
    ) -> Result<Response<v1::ResumeAfterMoveResponse>, Status> {
        self.serve(request, |asked| self.resume_after_move(asked)).await
    }

    async fn explain_host(
        &self,
        request: Request<v1::ExplainHostRequest>,
    ) -> Result<Response<v1::ExplainHostResponse>, Status> {
        self.serve(request, |asked| self.explain(asked)).await
    }
}
