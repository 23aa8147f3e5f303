//! What a consumer does with its host until it has given it back.

use metal3_rpc::v1;
use metal3_rpc::v1::provision_host_response::Result as ProvisionResult;
use metal3_rpc::v1::release_host_response::Phase;
use serde_json::Value;
use tonic::Status;

use super::super::intent::{self, Release, Seen};
use super::super::request::{conflict, consumer, host_key, missing};
use super::super::service::Service;
use super::{Change, WRITE_ATTEMPTS};

impl Change for v1::ProvisionHostRequest {
    fn deed(&self) -> &'static str {
        "provisioning requested"
    }

    fn decide(&self, seen: &Seen) -> Result<Option<Value>, Status> {
        let spec = self.spec.as_ref().ok_or_else(|| missing("spec"))?;
        let patch = intent::provision(seen, spec)?;
        let expected = self.expected_generation;
        // What was written by the first of two calls is a generation that the second one does not know.
        if patch.is_some() && expected != 0 && expected != seen.host.generation {
            return Err(conflict(&format!("host {}", intent::title(&seen.host))));
        }
        Ok(patch)
    }
}

impl Change for v1::SetCleaningModeRequest {
    fn deed(&self) -> &'static str {
        "cleaning mode changed"
    }

    fn decide(&self, seen: &Seen) -> Result<Option<Value>, Status> {
        Ok(intent::set_cleaning_mode(seen, self.mode()))
    }
}

impl Service {
    pub(in super::super) async fn provision(
        &self,
        request: v1::ProvisionHostRequest,
    ) -> Result<v1::ProvisionHostResponse, Status> {
        let (seen, wrote) = self.change(&request).await?;
        let result = if wrote {
            ProvisionResult::Accepted
        } else {
            ProvisionResult::Unchanged
        };
        Ok(v1::ProvisionHostResponse {
            result: result.into(),
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn set_cleaning_mode(
        &self,
        request: v1::SetCleaningModeRequest,
    ) -> Result<v1::SetCleaningModeResponse, Status> {
        let (seen, _) = self.change(&request).await?;
        Ok(v1::SetCleaningModeResponse {
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn release(
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
            let Some(seen) = self.store.read(&key, request.host.as_ref()).await? else {
                return Ok(answer(Phase::Released, None));
            };
            match intent::release(&seen, &request, consumer) {
                Release::Released => return Ok(answer(Phase::Released, Some(seen.host))),
                Release::Wait(phase) => return Ok(answer(phase, Some(seen.host))),
                Release::Start(patch) => {
                    if self.store.write(&seen.host, patch).await?.is_some() {
                        tracing::info!(host = %key, consumer = %consumer.name, "release requested");
                        // It may be free at once when nothing ran on it: look again.
                    }
                }
                Release::Finish(patch) => {
                    self.store
                        .unlabel_credentials(&seen, &request.cluster_name)
                        .await?;
                    if let Some(free) = self.store.write(&seen.host, patch).await? {
                        tracing::info!(host = %key, consumer = %consumer.name, "host released");
                        self.store.tell(&free.host, consumer, "Released", "released");
                        return Ok(answer(Phase::Released, Some(free.host)));
                    }
                }
            }
        }
        Err(conflict(&format!("host {key}")))
    }
}
