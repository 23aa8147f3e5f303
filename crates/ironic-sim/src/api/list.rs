//! Lists of nodes: filters, fields, pages.

use axum::http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use super::{Answer, Call, reply};
use crate::Sim;
use crate::machine::State;
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

/// The filters of a list that are known here.
#[derive(Default)]
struct Filter<'a> {
    state: Option<State>,
    driver: Option<&'a str>,
    instance: Option<&'a str>,
    associated: Option<bool>,
    maintenance: Option<bool>,
    fault: Option<&'a str>,
}

fn flag(name: &str, value: &str) -> Result<bool, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(Refusal::bad(format!("Invalid value for {name}: {value}"))),
    }
}

impl<'a> Filter<'a> {
    fn of(call: &'a Call) -> Result<Self, Refusal> {
        let mut filter = Self::default();
        for (name, value) in &call.query {
            let value = value.as_str();
            match name.as_str() {
                "provision_state" => {
                    let state = State::parse(value)
                        .ok_or_else(|| Refusal::bad(format!("Provision state \"{value}\" is not valid")))?;
                    filter.state = Some(state);
                }
                "driver" => filter.driver = Some(value),
                "instance_uuid" => filter.instance = Some(value),
                "associated" => filter.associated = Some(flag(name, value)?),
                "maintenance" => filter.maintenance = Some(flag(name, value)?),
                "fault" => filter.fault = Some(value),
                "fields" | "limit" | "marker" | "detail" => {}
                "sort_key" if value == "id" => {}
                "sort_dir" if value == "asc" => {}
                _ => {
                    return Err(Refusal::bad(format!(
                        "{name}={value} is not simulated; known are provision_state, driver, instance_uuid, \
                         associated, maintenance, fault, fields, limit, marker, detail"
                    )));
                }
            }
        }
        Ok(filter)
    }

    fn accepts(&self, node: &Node) -> bool {
        self.state.is_none_or(|state| node.state == state)
            && self.driver.is_none_or(|driver| node.driver == driver)
            && self.maintenance.is_none_or(|flag| node.maintenance == flag)
            && self.fault.is_none_or(|fault| node.fault == Some(fault))
            && self
                .associated
                .is_none_or(|flag| node.instance_uuid.is_some() == flag)
            && self
                .instance
                .is_none_or(|uuid| node.instance_uuid.as_deref() == Some(uuid))
    }
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
    sim.with(|world, _| {
        let after = match marker {
            None => 0,
            Some(uuid) => world
                .by_uuid(uuid)
                .ok_or_else(|| Refusal::no_node(&uuid.to_string()))?,
        };
        let nodes: Vec<View<'_>> = world
            .nodes
            .range(after + 1..)
            .map(|(_, node)| node)
            .filter(|node| filter.accepts(node))
            .take(limit)
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
