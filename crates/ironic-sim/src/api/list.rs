//! Lists of nodes: fields and pages.

use axum::http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use super::filter::{Filter, Order, flag};
use super::{Answer, Call, reply};
use crate::Sim;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::view::{Field, View};

/// Ironic's `max_limit`.
const MAX_PAGE: usize = 1000;

#[derive(Serialize)]
struct Page<'a> {
    nodes: Vec<View<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) fn fields(call: &Call, otherwise: fn() -> Vec<Field>) -> Result<Vec<Field>, Refusal> {
    match call.query("fields") {
        Some(names) => Field::select(names, call.minor),
        None if call
            .query("detail")
            .is_some_and(|detail| flag("detail", detail) == Ok(true)) =>
        {
            Ok(Field::all())
        }
        None => Ok(otherwise()),
    }
}

pub(super) fn list(sim: &Sim, call: &Call) -> Answer {
    let filter = Filter::of(call)?;
    let fields = fields(call, Field::brief)?;
    let limit = match call.query("limit").map(str::parse::<i64>) {
        None | Some(Ok(0)) => MAX_PAGE,
        Some(Ok(limit)) => usize::try_from(limit)
            .map_err(|_| Refusal::bad("Limit must be positive"))?
            .min(MAX_PAGE),
        Some(Err(_)) => return Err(Refusal::bad("Limit must be an integer")),
    };
    let marker = match call
        .query("marker")
        .map(|marker| (marker, Uuid::parse_str(marker)))
    {
        None => None,
        Some((_, Ok(uuid))) => Some(uuid),
        Some((marker, Err(_))) => return Err(Refusal::bad(format!("Expected UUID for marker: {marker}"))),
    };
    let order = Order::of(call)?;
    sim.with(|world, _| {
        let after = marker
            .map(|uuid| {
                world
                    .by_uuid(uuid)
                    .ok_or_else(|| Refusal::no_node(&uuid.to_string()))
            })
            .transpose()?;
        let accepted = |(number, node): (&u64, &'_ Node)| filter.accepts(node).then_some(*number);
        let numbers: Vec<u64> = if order.is_creation() {
            let after = after.unwrap_or_default() + 1;
            world
                .nodes
                .range(after..)
                .filter_map(accepted)
                .take(limit)
                .collect()
        } else {
            let mut numbers: Vec<u64> = world.nodes.iter().filter_map(accepted).collect();
            order.sort(world, &mut numbers);
            let start = after.and_then(|after| numbers.iter().position(|number| *number == after));
            let skip = start.map_or(0, |position| position + 1);
            numbers.into_iter().skip(skip).take(limit).collect()
        };
        let nodes: Vec<View<'_>> = numbers
            .iter()
            .filter_map(|number| world.nodes.get(number))
            .map(|node| View {
                node,
                fields: &fields,
                base: &call.base,
                minor: call.minor,
                locked: world.locked_by_fault(node),
            })
            .collect();
        let next = nodes
            .last()
            .filter(|_| nodes.len() == limit)
            .map(|last| next_page(call, limit, last.node.uuid));
        reply(StatusCode::OK, &Page { nodes, next })
    })
}

fn next_page(call: &Call, limit: usize, marker: Uuid) -> String {
    let mut link = format!("{}/v1/nodes?limit={limit}&marker={marker}", call.base);
    for (name, value) in &call.query {
        if name != "limit" && name != "marker" {
            let value = value.replace(' ', "%20");
            link.push_str(&format!("&{name}={value}"));
        }
    }
    link
}
