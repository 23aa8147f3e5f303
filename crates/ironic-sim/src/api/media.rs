//! Virtual media.

use axum::http::StatusCode;
use serde_json::json;

use super::{Answer, Call, empty, reply};
use crate::Sim;
use crate::refusal::Refusal;

/// Reading them came with this version.
const READABLE: u32 = 93;
const DEVICES: [&str; 4] = ["cdrom", "dvd", "floppy", "disk"];
const SCHEMES: [&str; 4] = ["http", "https", "nfs", "cifs"];

fn check_driver(driver: &str) -> Result<(), Refusal> {
    if matches!(driver, "redfish" | "idrac" | "fake-hardware") {
        return Ok(());
    }
    Err(Refusal::bad(format!(
        "Driver {driver} does not support virtual media (disabled or not implemented)."
    )))
}

/// The BMC is asked at once.
pub(super) fn get(sim: &Sim, call: &Call) -> Answer {
    if call.minor < READABLE {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found"));
    }
    sim.with(|world, _| {
        let number = world.find(&call.id)?;
        world.unlocked(number)?;
        check_driver(&world.node(number)?.driver)?;
        let server = world
            .contact(number)
            .map_err(|cause| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, cause))?;
        let image = &server.media;
        let device = json!({"image": image, "inserted": image.is_some(), "media_types": ["CD", "DVD"]});
        reply(StatusCode::OK, &json!([device]))
    })
}

/// The answer comes before the BMC is asked: what it says ends in `last_error`.
fn change(sim: &Sim, call: &Call, what: &str, image: Option<&str>) -> Answer {
    sim.with(|world, now| {
        let number = world.find(&call.id)?;
        world.unlocked(number)?;
        check_driver(&world.node(number)?.driver)?;
        let failure = match world.contact(number) {
            Ok(server) => {
                server.media = image.map(str::to_owned);
                None
            }
            Err(cause) => Some(format!("Could not {what} virtual media: {cause}")),
        };
        let wall = world.wall(now);
        let node = world.node_mut(number)?;
        node.updated = Some(wall);
        if failure.is_some() {
            node.last_error = failure;
        }
        empty(StatusCode::NO_CONTENT)
    })
}

pub(super) fn attach(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let url = body["image_url"]
        .as_str()
        .ok_or_else(|| Refusal::bad("Schema error for vmedia: 'image_url' is a required property"))?;
    let device = body["device_type"]
        .as_str()
        .ok_or_else(|| Refusal::bad("Schema error for vmedia: 'device_type' is a required property"))?;
    if !DEVICES.contains(&device) {
        return Err(Refusal::bad(format!(
            "Schema error for vmedia: '{device}' is not one of {DEVICES:?}"
        )));
    }
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !SCHEMES.contains(&scheme) {
        return Err(Refusal::bad(format!(
            "Unsupported or missing URL scheme: {scheme}"
        )));
    }
    change(sim, call, "attach", Some(url))
}

pub(super) fn detach(sim: &Sim, call: &Call) -> Answer {
    if let Some(types) = call.query("device_types")
        && let Some(unknown) = types.split(',').find(|device| !DEVICES.contains(device))
    {
        return Err(Refusal::bad(format!(
            "Invalid device type(s) {unknown} (valid are {})",
            DEVICES.join(", ")
        )));
    }
    change(sim, call, "detach", None)
}
