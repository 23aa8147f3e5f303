//! Which nodes a list has, and in which order.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Call, reply};
use crate::Sim;
use crate::machine::State;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::view::CONDUCTOR;
use crate::world::World;

/// The filters of a list that are known here.
#[derive(Default)]
pub(super) struct Filter<'a> {
    state: Option<State>,
    driver: Option<&'a str>,
    instance: Option<&'a str>,
    associated: Option<bool>,
    maintenance: Option<bool>,
    fault: Option<&'a str>,
    conductor: Option<&'a str>,
    /// Whether the node is in any shard.
    sharded: Option<bool>,
    /// Fields that users set, each with the values of which it must have one.
    texts: Vec<(&'static str, Vec<&'a str>)>,
}

/// A truth value in one of Ironic's spellings.
pub(super) fn flag(name: &str, value: &str) -> Result<bool, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "on" => Ok(true),
        "false" | "f" | "0" | "no" | "n" | "off" => Ok(false),
        _ => Err(Refusal::bad(format!("Invalid value for {name}: {value}"))),
    }
}

fn text<'a>(node: &'a Node, field: &str) -> &'a str {
    node.other.get(field).and_then(Value::as_str).unwrap_or_default()
}

impl<'a> Filter<'a> {
    /// The filters of a request.
    ///
    /// # Errors
    /// 400 for one that Ironic does not know, or whose value it does not take.
    pub(super) fn of(call: &'a Call) -> Result<Self, Refusal> {
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
                "conductor" => filter.conductor = Some(value),
                "sharded" => filter.sharded = Some(flag(name, value)?),
                "shard" => filter.texts.push(("shard", value.split(',').collect())),
                "conductor_group" => filter.texts.push(("conductor_group", vec![value])),
                "lessee" => filter.texts.push(("lessee", vec![value])),
                "owner" => filter.texts.push(("owner", vec![value])),
                "parent_node" => filter.texts.push(("parent_node", vec![value])),
                "resource_class" => filter.texts.push(("resource_class", vec![value])),
                "fields" | "limit" | "marker" | "detail" | "sort_key" | "sort_dir" | "include_children" => {}
                _ => return Err(Refusal::bad(format!("Unexpected arguments: {name}"))),
            }
        }
        Ok(filter)
    }

    /// Whether a node passes all of them.
    pub(super) fn accepts(&self, node: &Node) -> bool {
        self.state.is_none_or(|state| node.state == state)
            && self.driver.is_none_or(|driver| node.driver == driver)
            && self.maintenance.is_none_or(|flag| node.maintenance == flag)
            && self.fault.is_none_or(|fault| node.fault == Some(fault))
            && self.conductor.is_none_or(|conductor| conductor == CONDUCTOR)
            && self
                .associated
                .is_none_or(|flag| node.instance_uuid.is_some() == flag)
            && self
                .instance
                .is_none_or(|uuid| node.instance_uuid.as_deref() == Some(uuid))
            && self
                .sharded
                .is_none_or(|flag| text(node, "shard").is_empty() != flag)
            && self
                .texts
                .iter()
                .all(|(field, values)| values.contains(&text(node, field)))
    }
}

type Compare = fn(&Node, &Node) -> Ordering;

/// The keys that lists can be sorted by.
const KEYS: &[(&str, Compare)] = &[
    ("uuid", |a, b| a.uuid.cmp(&b.uuid)),
    ("name", |a, b| a.name.cmp(&b.name)),
    ("driver", |a, b| a.driver.cmp(&b.driver)),
    ("provision_state", |a, b| a.state.as_str().cmp(b.state.as_str())),
    ("power_state", |a, b| a.power.cmp(&b.power)),
    ("maintenance", |a, b| a.maintenance.cmp(&b.maintenance)),
    ("created_at", |a, b| a.created.cmp(&b.created)),
    ("updated_at", |a, b| a.updated.cmp(&b.updated)),
    ("provision_updated_at", |a, b| {
        a.provision_updated.cmp(&b.provision_updated)
    }),
    ("inspection_finished_at", |a, b| {
        a.inspection_finished.cmp(&b.inspection_finished)
    }),
];

/// The order of a list; nodes that compare equal stay in the order of their creation.
pub(super) struct Order {
    compare: Option<Compare>,
    descending: bool,
}

impl Order {
    /// The order that a request asks for.
    ///
    /// # Errors
    /// 400 for an unknown key or direction.
    pub(super) fn of(call: &Call) -> Result<Self, Refusal> {
        let key = call.query("sort_key").unwrap_or("id");
        let compare = match KEYS.iter().find(|(known, _)| *known == key) {
            Some((_, compare)) => Some(*compare),
            None if key == "id" => None,
            None => {
                return Err(Refusal::bad(format!(
                    "The sort_key value \"{key}\" is an invalid field for sorting"
                )));
            }
        };
        let descending = match call.query("sort_dir") {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => {
                return Err(Refusal::bad(format!(
                    "Invalid sort direction: {other}. Acceptable values are 'asc' or 'desc'"
                )));
            }
        };
        Ok(Self { compare, descending })
    }

    /// The order in which nodes are kept.
    pub(super) const fn is_creation(&self) -> bool {
        self.compare.is_none() && !self.descending
    }

    /// Sorts nodes given by their numbers.
    pub(super) fn sort(&self, world: &World, numbers: &mut [u64]) {
        numbers.sort_by(|a, b| {
            let order = match (self.compare, world.nodes.get(a), world.nodes.get(b)) {
                (Some(compare), Some(first), Some(second)) => compare(first, second),
                _ => Ordering::Equal,
            };
            let order = order.then(a.cmp(b));
            if self.descending { order.reverse() } else { order }
        });
    }
}

/// The shards that nodes are in.
pub(super) fn shards(sim: &Sim, _: &Call) -> Answer {
    sim.with(|world, _| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for node in world.nodes.values() {
            *counts.entry(text(node, "shard")).or_default() += 1;
        }
        let shards: Vec<Value> = counts
            .into_iter()
            .map(|(name, count)| json!({"name": Some(name).filter(|name| !name.is_empty()), "count": count}))
            .collect();
        reply(StatusCode::OK, &json!({"shards": shards}))
    })
}
