//! What a consumer does with a host that runs: power holds, health, moves between clusters.

use metal3_rpc::v1;
use serde_json::Value;
use tonic::Status;

use super::super::intent::{self, Seen};
use super::super::project::timestamp;
use super::super::service::Service;
use super::Change;

impl Change for v1::HoldPowerOffRequest {
    fn deed(&self) -> &'static str {
        "power hold set"
    }

    fn manager(&self) -> Option<String> {
        Some(intent::hold_manager(&self.key))
    }

    fn decide(&self, seen: &Seen) -> Result<Option<Value>, Status> {
        intent::hold(seen, &self.key, self.mode())
    }
}

impl Change for v1::ReleasePowerHoldRequest {
    fn deed(&self) -> &'static str {
        "power hold ended"
    }

    fn decide(&self, seen: &Seen) -> Result<Option<Value>, Status> {
        Ok(intent::unhold(seen, &self.key))
    }
}

impl Change for v1::MarkHealthRequest {
    fn deed(&self) -> &'static str {
        if self.unhealthy {
            "host marked unhealthy"
        } else {
            "host marked healthy"
        }
    }

    fn decide(&self, seen: &Seen) -> Result<Option<Value>, Status> {
        Ok(intent::mark(seen, self.unhealthy, &self.reason))
    }
}

impl Change for v1::PrepareMoveRequest {
    fn deed(&self) -> &'static str {
        "host made ready to be moved"
    }

    fn decide(&self, seen: &Seen) -> Result<Option<Value>, Status> {
        Ok(intent::prepare(seen, &self.token))
    }
}

impl Change for v1::ResumeAfterMoveRequest {
    fn deed(&self) -> &'static str {
        "host resumed, and guarded against a move"
    }

    fn decide(&self, seen: &Seen) -> Result<Option<Value>, Status> {
        intent::resume(seen, &self.token, &self.cluster_name)
    }
}

impl Service {
    pub(in super::super) async fn hold_power_off(
        &self,
        request: v1::HoldPowerOffRequest,
    ) -> Result<v1::HoldPowerOffResponse, Status> {
        let (seen, _) = self.change(&request).await?;
        Ok(v1::HoldPowerOffResponse {
            held_since: intent::held_since(&seen, &request.key).map(timestamp),
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn release_power_hold(
        &self,
        request: v1::ReleasePowerHoldRequest,
    ) -> Result<v1::ReleasePowerHoldResponse, Status> {
        let (seen, _) = self.change(&request).await?;
        Ok(v1::ReleasePowerHoldResponse {
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn mark_health(
        &self,
        request: v1::MarkHealthRequest,
    ) -> Result<v1::MarkHealthResponse, Status> {
        let (seen, _) = self.change(&request).await?;
        Ok(v1::MarkHealthResponse {
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn prepare_move(
        &self,
        request: v1::PrepareMoveRequest,
    ) -> Result<v1::PrepareMoveResponse, Status> {
        let (seen, _) = self.change(&request).await?;
        Ok(v1::PrepareMoveResponse {
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn resume_after_move(
        &self,
        request: v1::ResumeAfterMoveRequest,
    ) -> Result<v1::ResumeAfterMoveResponse, Status> {
        let (seen, _) = self.change(&request).await?;
        Ok(v1::ResumeAfterMoveResponse {
            host: Some(seen.host),
        })
    }
}
