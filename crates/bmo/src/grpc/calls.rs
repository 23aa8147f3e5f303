//! What the mutating calls and listings do, after the caller was admitted.

use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::provision_host_response::Result as ProvisionResult;
use metal3_rpc::v1::release_host_response::Phase;
use metal3_rpc::v1::Host;
use tonic::Status;

use super::intent::{self, Release};
use super::request::{conflict, consumer, host_key, invalid, missing, not_found, overdue, own};
use super::selector::Matcher;
use super::service::Service;

/// Attempts against other writers of the same host before the caller is told to try again.
pub(super) const WRITE_ATTEMPTS: usize = 6;
const DEFAULT_PAGE: usize = 500;
const MAX_PAGE: usize = 1000;

impl Service {
    pub(super) async fn provision(
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

    pub(super) async fn release(
        &self,
        request: v1::ReleaseHostRequest,
    ) -> Result<v1::ReleaseHostResponse, Status> {
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
                        self.store.tell(&host, consumer, "Released", "released").await;
                        return Ok(answer(Phase::Released, Some(host)));
                    }
                }
            }
        }
        Err(conflict(&format!("host {key}")))
    }

    pub(super) fn list(&self, request: &v1::ListHostsRequest) -> Result<v1::ListHostsResponse, Status> {
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
