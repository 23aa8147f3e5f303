//! What is asked of the BMC by way of Ironic.

use axum::http::StatusCode;
use serde_json::json;

use super::{Answer, Call, reply};
use crate::Sim;
use crate::refusal::Refusal;

/// The BMC is asked at once, and what it says ends in the answer only.
pub(super) fn boot_device(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, _| {
        let number = world.find(&call.id)?;
        world.unlocked(number)?;
        world
            .contact(number)
            .map_err(|cause| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, cause))?;
        reply(
            StatusCode::OK,
            &json!({"boot_device": "disk", "persistent": true}),
        )
    })
}
