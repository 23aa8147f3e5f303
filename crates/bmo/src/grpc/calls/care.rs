//! What a consumer does with a host that runs: power holds, health, moves between clusters.

use metal3_rpc::v1;
use tonic::Status;

use super::super::intent::{self, Seen};
use super::super::project::timestamp;
use super::super::request::missing;
use super::super::service::Service;
use super::Change;

impl Service {
    pub(in super::super) async fn hold_power_off(
        &self,
        request: v1::HoldPowerOffRequest,
    ) -> Result<v1::HoldPowerOffResponse, Status> {
        let (key, mode) = (&request.key, request.mode());
        let change = Change {
            host: request.host.as_ref(),
            consumer: request.consumer.as_ref(),
            deed: "power hold set",
            manager: Some(&intent::hold_manager(key)),
        };
        let (seen, _) = self.change(change, |seen| intent::hold(seen, key, mode)).await?;
        Ok(v1::HoldPowerOffResponse {
            held_since: intent::held_since(&seen, key).map(timestamp),
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn release_power_hold(
        &self,
        request: v1::ReleasePowerHoldRequest,
    ) -> Result<v1::ReleasePowerHoldResponse, Status> {
        let key = &request.key;
        let change = Change {
            host: request.host.as_ref(),
            consumer: request.consumer.as_ref(),
            deed: "power hold ended",
            manager: None,
        };
        let decide = |seen: &Seen| Ok(intent::unhold(seen, key));
        let (seen, _) = self.change(change, decide).await?;
        Ok(v1::ReleasePowerHoldResponse {
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn mark_health(
        &self,
        request: v1::MarkHealthRequest,
    ) -> Result<v1::MarkHealthResponse, Status> {
        let change = Change {
            host: request.host.as_ref(),
            consumer: request.consumer.as_ref(),
            deed: if request.unhealthy {
                "host marked unhealthy"
            } else {
                "host marked healthy"
            },
            manager: None,
        };
        let decide = |seen: &Seen| Ok(intent::mark(seen, request.unhealthy, &request.reason));
        let (seen, _) = self.change(change, decide).await?;
        Ok(v1::MarkHealthResponse {
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn prepare_move(
        &self,
        request: v1::PrepareMoveRequest,
    ) -> Result<v1::PrepareMoveResponse, Status> {
        let token = given(&request.token)?;
        let change = Change {
            host: request.host.as_ref(),
            consumer: request.consumer.as_ref(),
            deed: "host made ready to be moved",
            manager: None,
        };
        let decide = |seen: &Seen| Ok(intent::prepare(seen, token));
        let (seen, _) = self.change(change, decide).await?;
        Ok(v1::PrepareMoveResponse {
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn resume_after_move(
        &self,
        request: v1::ResumeAfterMoveRequest,
    ) -> Result<v1::ResumeAfterMoveResponse, Status> {
        let token = given(&request.token)?;
        let change = Change {
            host: request.host.as_ref(),
            consumer: request.consumer.as_ref(),
            deed: "host resumed, and guarded against a move",
            manager: None,
        };
        let decide = |seen: &Seen| intent::resume(seen, token, &request.cluster_name);
        let (seen, _) = self.change(change, decide).await?;
        Ok(v1::ResumeAfterMoveResponse {
            host: Some(seen.host),
        })
    }
}

/// A pause that names nobody could be anybody's.
fn given(token: &str) -> Result<&str, Status> {
    if token.is_empty() {
        return Err(missing("token"));
    }
    Ok(token)
}
