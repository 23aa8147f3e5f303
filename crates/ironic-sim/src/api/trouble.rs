//! Requests that go wrong before, or after, they are carried out.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode};
use axum::response::Response;

use crate::Sim;
use crate::faults::Kind;
use crate::refusal::early;
use crate::world::with_names;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another answer than the right one.
    Answer(StatusCode),
    /// It takes longer.
    Slow(Duration),
    /// The connection breaks, after the request was carried out or without.
    Drop { done: bool },
}

impl Sim {
    /// What the faults in force do to a request.
    pub(super) fn trouble(&self, method: &Method, route: &str, id: &str) -> Option<Trouble> {
        let kind = self.with(|world, _| {
            if world.faults.all().is_empty() {
                return None;
            }
            let request = format!("{method} {route}");
            let node = world.find(id).ok().and_then(|number| world.nodes.get(&number));
            match node {
                Some(node) => with_names(node, |names| world.faults.strike_request(Some(names), &request)),
                None => world.faults.strike_request(None, &request),
            }
        })?;
        Some(match kind {
            Kind::Http { status, .. } => {
                Trouble::Answer(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            }
            Kind::ApiSlow { delay, .. } => Trouble::Slow(delay),
            Kind::ApiDrop { done, .. } => Trouble::Drop { done },
            _ => return None,
        })
    }
}

/// An answer in Ironic's form for a status that a fault asks for.
pub(super) fn answer(status: StatusCode) -> Response {
    early(status, "simulated failure")
}

/// An answer that never comes: its body fails at once, which makes the server close the connection.
pub(super) fn broken() -> Response {
    let failure = Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    Response::new(Body::from_stream(futures::stream::iter([failure])))
}
