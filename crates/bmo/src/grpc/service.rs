//! The calls of the contract.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use metal3_provisioner::HostKey;
use metal3_rpc::reason::{self, Reason};
use metal3_rpc::v1;
use metal3_rpc::v1::claim_host_response::Reason as ClaimReason;
use metal3_rpc::v1::host_service_server::HostService;
use metal3_rpc::v1::provision_host_response::Result as ProvisionResult;
use metal3_rpc::v1::release_host_response::Phase;
use metal3_rpc::v1::{Consumer, Host, HostRef};
use tonic::{Request, Response, Status};

use super::allocate::{self, Choice, Wish};
use super::auth::{Authority, Verb};
use super::index::HostIndex;
use super::intent::{self, Release};
use super::selector::Matcher;
use super::store::Store;
use super::watch;

/// Attempts against other writers of the same host before the caller is told to try again.
const WRITE_ATTEMPTS: usize = 6;
const DEFAULT_PAGE: usize = 500;
const MAX_PAGE: usize = 1000;

/// The HostService of one replica.
pub(super) struct Service {
    index: Arc<HostIndex>,
    store: Store,
    authority: Authority,
    /// One claim at a time per consumer: a repeated call that overtakes the first one must not choose a second host.
    claims: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
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

    fn claim_lock(&self, consumer: &Consumer) -> Arc<tokio::sync::Mutex<()>> {
        let key = format!(
            "{}/{}/{}/{}",
            consumer.group(),
            consumer.kind,
            consumer.namespace,
            consumer.name
        );
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = claims.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        claims.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        claims.insert(key, Arc::downgrade(&lock));
        lock
    }

    async fn claim(&self, request: v1::ClaimHostRequest) -> Result<v1::ClaimHostResponse, Status> {
        let consumer = consumer(request.consumer.as_ref())?;
        let wish = wish(&request, consumer)?;
        let lock = self.claim_lock(consumer);
        let _one_at_a_time = lock.lock().await;
        for _ in 0..WRITE_ATTEMPTS {
            let (hosts, _) = self.index.list(&request.namespace);
            let (candidates, reason) = match allocate::choose(&wish, hosts.iter()) {
                Choice::Existing(host) => (vec![host], ClaimReason::Existing),
                Choice::Candidates(hosts, reason) => (hosts, reason),
                Choice::None(rejections) => {
                    let message = allocate::explain(&request.namespace, &rejections);
                    return Err(reason::no_host_available(message, &rejections));
                }
            };
            // The best candidate only: after a conflict the index knows more, so the choice is made again.
            let Some(host) = candidates.first() else { continue };
            let patch = intent::claim(host, &request, consumer)?;
            if let Some(host) = self.store.write(host, patch).await? {
                self.store.label_credentials(&host, &request.cluster_name).await?;
                tracing::info!(host = %intent::title(&host), consumer = %consumer.name, ?reason, "host claimed");
                let failure_domain = host.failure_domain.clone();
                return Ok(v1::ClaimHostResponse {
                    host: Some(host),
                    reason: reason.into(),
                    failure_domain,
                });
            }
        }
        Err(conflict(&format!("hosts of namespace {}", request.namespace)))
    }

    async fn provision(
        &self,
        request: v1::ProvisionHostRequest,
    ) -> Result<v1::ProvisionHostResponse, Status> {
        let consumer = consumer(request.consumer.as_ref())?;
        let spec = request.spec.clone().ok_or_else(|| missing("spec"))?;
        let key = host_key(request.host.as_ref())?;
        for _ in 0..WRITE_ATTEMPTS {
            let host = self
                .store
                .read(&key, request.host.as_ref())
                .await?
                .ok_or_else(|| not_found(&key))?;
            own(&host, consumer)?;
            if host.deleting {
                return Err(Reason::HostDeleting.status(format!("host {key} is being deleted"), []));
            }
            if request.expected_generation != 0 && request.expected_generation != host.generation {
                return Err(conflict(&format!("host {key}")));
            }
            let Some(patch) = intent::provision(&host, &spec)? else {
                let result = ProvisionResult::Unchanged.into();
                return Ok(v1::ProvisionHostResponse {
                    result,
                    host: Some(host),
                });
            };
            if let Some(host) = self.store.write(&host, patch).await? {
                tracing::info!(host = %key, consumer = %consumer.name, "provisioning requested");
                let result = ProvisionResult::Accepted.into();
                return Ok(v1::ProvisionHostResponse {
                    result,
                    host: Some(host),
                });
            }
        }
        Err(conflict(&format!("host {key}")))
    }

    async fn release(&self, request: v1::ReleaseHostRequest) -> Result<v1::ReleaseHostResponse, Status> {
        let consumer = consumer(request.consumer.as_ref())?;
        let key = host_key(request.host.as_ref())?;
        let answer = |phase: Phase, host| v1::ReleaseHostResponse {
            phase: phase.into(),
            host,
        };
        for _ in 0..WRITE_ATTEMPTS {
            let Some(host) = self.store.read(&key, request.host.as_ref()).await? else {
                return Ok(answer(Phase::Released, None));
            };
            match intent::release(&host, &request, consumer) {
                Release::Released => return Ok(answer(Phase::Released, Some(host))),
                Release::Wait(phase) => return Ok(answer(phase, Some(host))),
                Release::Start(patch) => {
                    if let Some(host) = self.store.write(&host, patch).await? {
                        tracing::info!(host = %key, consumer = %consumer.name, "release requested");
                        // It may be free at once when nothing ran on it: look again.
                        drop(host);
                    }
                }
                Release::Finish(patch) => {
                    self.store
                        .unlabel_credentials(&host, &request.cluster_name)
                        .await?;
                    if let Some(host) = self.store.write(&host, patch).await? {
                        tracing::info!(host = %key, consumer = %consumer.name, "host released");
                        return Ok(answer(Phase::Released, Some(host)));
                    }
                }
            }
        }
        Err(conflict(&format!("host {key}")))
    }

    fn list(&self, request: &v1::ListHostsRequest) -> Result<v1::ListHostsResponse, Status> {
        let matcher =
            Matcher::parse(request.selector.as_ref()).map_err(|error| invalid("selector", &error))?;
        let page = match usize::try_from(request.page_size) {
            Err(_) => return Err(invalid("page_size", "page_size must not be negative")),
            Ok(0) => DEFAULT_PAGE,
            Ok(size) => size.min(MAX_PAGE),
        };
        let (hosts, revision) = self.index.list(&request.namespace);
        let mut selected = hosts.iter().filter(|host| {
            (request.page_token.is_empty() || intent::title(host) > request.page_token)
                && matcher.matches(host)
                && (request.states.is_empty() || request.states.contains(&host.provisioning_state))
                && request.consumer.as_ref().is_none_or(|wanted| {
                    host.consumer
                        .as_ref()
                        .is_some_and(|consumer| consumer.same_object(wanted))
                })
                && (!request.stuck || !host.error_message.is_empty() || overdue(host))
        });
        let hosts: Vec<Host> = selected
            .by_ref()
            .take(page)
            .map(|host| Host::clone(host))
            .collect();
        let more = selected.next().is_some();
        let next_page_token = if more {
            hosts.last().map(intent::title).unwrap_or_default()
        } else {
            String::new()
        };
        Ok(v1::ListHostsResponse {
            hosts,
            next_page_token,
            revision: revision.to_string(),
        })
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

impl Service {
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

/// Whether a reference without UID, or with the UID of this very host, was given.
pub(super) fn same_uid(reference: Option<&HostRef>, host: &Host) -> bool {
    let wanted = reference.map_or("", |reference| reference.uid.as_str());
    wanted.is_empty() || host.r#ref.as_ref().is_some_and(|host| host.uid == wanted)
}

fn boxed(
    stream: impl Stream<Item = Result<v1::WatchHostsResponse, Status>> + Send + 'static,
) -> BoxStream<'static, Result<v1::WatchHostsResponse, Status>> {
    stream.boxed()
}

fn overdue(host: &Host) -> bool {
    host.wait
        .as_ref()
        .and_then(|wait| wait.deadline)
        .is_some_and(|deadline| {
            let now = jiff::Timestamp::now();
            (deadline.seconds, deadline.nanos) < (now.as_second(), now.subsec_nanosecond())
        })
}

fn namespace(host: Option<&HostRef>) -> String {
    host.map(|host| host.namespace.clone()).unwrap_or_default()
}

fn host_key(host: Option<&HostRef>) -> Result<HostKey, Status> {
    match host {
        Some(host) if !host.namespace.is_empty() && !host.name.is_empty() => {
            Ok(HostKey::new(&host.namespace, &host.name))
        }
        _ => Err(missing("host.namespace and host.name")),
    }
}

fn consumer(consumer: Option<&Consumer>) -> Result<&Consumer, Status> {
    consumer
        .filter(|c| {
            ![&c.api_version, &c.kind, &c.namespace, &c.name]
                .into_iter()
                .any(String::is_empty)
        })
        .ok_or_else(|| missing("consumer with api_version, kind, namespace and name"))
}

fn wish(request: &v1::ClaimHostRequest, consumer: &Consumer) -> Result<Wish, Status> {
    if consumer.namespace != request.namespace {
        return Err(invalid(
            "consumer.namespace",
            &format!(
                "a consumer in namespace {} cannot claim hosts of namespace {}",
                consumer.namespace, request.namespace
            ),
        ));
    }
    let domain = request.failure_domain.clone().unwrap_or_default();
    Ok(Wish {
        consumer: consumer.clone(),
        selector: Matcher::parse(request.selector.as_ref()).map_err(|error| invalid("selector", &error))?,
        failure_domain_required: domain.policy() == v1::failure_domain::Policy::Require,
        failure_domain: domain.name,
        reuse_key: request.reuse_key.clone(),
    })
}

fn own(host: &Host, consumer: &Consumer) -> Result<(), Status> {
    match &host.consumer {
        Some(current) if current.same_object(consumer) => Ok(()),
        current => {
            let title = intent::title(host);
            let owner = current.as_ref().map_or("nobody", |current| current.name.as_str());
            Err(Reason::ForeignConsumer.status(
                format!(
                    "host {title} belongs to {owner}, not to {}: claim a host first",
                    consumer.name
                ),
                [("host", title.as_str()), ("consumer", owner)],
            ))
        }
    }
}

fn missing(field: &str) -> Status {
    invalid(field, &format!("{field} is required"))
}

fn invalid(field: &str, message: &str) -> Status {
    Reason::InvalidField.status(message, [("field", field)])
}

fn not_found(key: &HostKey) -> Status {
    Reason::HostNotFound.status(
        format!("host {key} does not exist"),
        [("host", key.to_string().as_str())],
    )
}

fn conflict(what: &str) -> Status {
    Reason::Conflict.status(format!("{what} changed at the same time; try again"), [])
}
