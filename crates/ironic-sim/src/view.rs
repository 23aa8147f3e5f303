//! Nodes and ports as JSON. Only what was asked for is written, straight into the answer.

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::interfaces::{KINDS, kind_of};
use crate::machine::{Operation, State};
use crate::node::{Job, Node};
use crate::refusal::Refusal;
use crate::steps::Step;

/// The name of the only conductor.
pub(crate) const CONDUCTOR: &str = "sim";

/// A value on its way into an answer.
pub(crate) enum Out<'a> {
    Null,
    Bool(bool),
    Text(&'a str),
    Uuid(Uuid),
    Time(Timestamp),
    Map(&'a Map<String, Value>),
    /// A map with secrets in it.
    Masked(&'a Map<String, Value>),
    Step(&'a Step),
    EmptyMap,
    EmptyList,
    /// Links to a sub-resource, or to the node itself.
    Links(Option<&'static str>),
}

type Get = fn(&Node) -> Out<'_>;

/// A field that was asked for.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    /// One of the table.
    Known(&'static str, Get),
    /// An interface.
    Interface(usize),
    /// What users may set and nothing here reads.
    Other(&'static str),
}

fn text(value: Option<&str>) -> Out<'_> {
    value.map_or(Out::Null, Out::Text)
}

fn time(value: Option<Timestamp>) -> Out<'static> {
    value.map_or(Out::Null, Out::Time)
}

fn power(on: bool) -> Out<'static> {
    Out::Text(if on { "power on" } else { "power off" })
}

/// The step under way, as far as a client named it.
fn step(node: &Node, operation: Operation) -> Out<'_> {
    match (node.job, node.steps.first()) {
        (
            Some(Job::Work {
                operation: under_way, ..
            }),
            Some(step),
        ) if under_way == operation => Out::Step(step),
        _ => Out::EmptyMap,
    }
}

/// The fields with a meaning here.
const FIELDS: &[(&str, Get)] = &[
    ("uuid", |node| Out::Uuid(node.uuid)),
    ("name", |node| text(node.name.as_deref())),
    ("provision_state", |node| Out::Text(node.state.as_str())),
    ("target_provision_state", |node| {
        text(node.target.map(State::as_str))
    }),
    ("power_state", |node| node.power.map_or(Out::Null, power)),
    ("target_power_state", |node| text(node.power_target())),
    ("last_error", |node| text(node.last_error.as_deref())),
    ("maintenance", |node| Out::Bool(node.maintenance)),
    ("maintenance_reason", |node| {
        text(node.maintenance_reason.as_deref())
    }),
    ("fault", |node| text(node.fault)),
    ("reservation", |node| text(node.busy().then_some(CONDUCTOR))),
    ("instance_uuid", |node| text(node.instance_uuid.as_deref())),
    ("provision_updated_at", |node| time(node.provision_updated)),
    ("health", |node| text(node.health)),
    ("driver", |node| Out::Text(&node.driver)),
    ("driver_info", |node| Out::Masked(&node.driver_info)),
    ("instance_info", |node| Out::Masked(&node.instance_info)),
    ("properties", |node| Out::Map(&node.properties)),
    ("extra", |node| Out::Map(&node.extra)),
    ("network_data", |node| Out::Map(&node.network_data)),
    ("automated_clean", |node| {
        node.automated_clean.map_or(Out::Null, Out::Bool)
    }),
    ("disable_power_off", |node| Out::Bool(node.disable_power_off)),
    ("target_raid_config", |node| Out::Map(&node.target_raid_config)),
    ("inspection_finished_at", |node| time(node.inspection_finished)),
    ("inspection_started_at", |_| Out::Null),
    ("boot_mode", |node| text(node.verified.then_some("uefi"))),
    ("secure_boot", |node| {
        if node.verified {
            Out::Bool(false)
        } else {
            Out::Null
        }
    }),
    ("raid_config", |node| Out::Map(&node.raid_config)),
    ("clean_step", |node| step(node, Operation::Clean)),
    ("deploy_step", |node| step(node, Operation::Deploy)),
    ("service_step", |node| step(node, Operation::Service)),
    ("driver_internal_info", |_| Out::EmptyMap),
    ("traits", |_| Out::EmptyList),
    ("console_enabled", |_| Out::Bool(false)),
    ("created_at", |node| Out::Time(node.created)),
    ("updated_at", |node| time(node.updated)),
    ("conductor", |_| Out::Text(CONDUCTOR)),
    ("allocation_uuid", |_| Out::Null),
    ("instance_name", |_| Out::Null),
    ("ports", |_| Out::Links(Some("ports"))),
    ("portgroups", |_| Out::Links(Some("portgroups"))),
    ("states", |_| Out::Links(Some("states"))),
    ("volume", |_| Out::Links(Some("volume"))),
];

/// What users may set and nothing here reads, with the value it has before.
pub(crate) static OTHER: [(&str, Value); 11] = [
    ("chassis_uuid", Value::Null),
    ("conductor_group", Value::String(String::new())),
    ("description", Value::Null),
    ("lessee", Value::Null),
    ("owner", Value::Null),
    ("parent_node", Value::Null),
    ("protected", Value::Bool(false)),
    ("resource_class", Value::Null),
    ("retired", Value::Bool(false)),
    ("retired_reason", Value::Null),
    ("shard", Value::Null),
];

/// Fields of a node in a list that names none.
const BRIEF: [&str; 6] = [
    "uuid",
    "instance_uuid",
    "maintenance",
    "power_state",
    "provision_state",
    "name",
];

/// Fields that Ironic has but refuses, or fails, to select.
const UNSELECTABLE: [&str; 2] = ["created_at", "updated_at"];
const BROKEN: [&str; 2] = ["conductor", "allocation_uuid"];

impl Field {
    fn named(name: &str) -> Option<Self> {
        FIELDS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(name, get)| Self::Known(name, *get))
            .or_else(|| kind_of(name).map(Self::Interface))
            .or_else(|| {
                OTHER
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(name, _)| Self::Other(name))
            })
    }

    /// Every field.
    pub(crate) fn all() -> Vec<Self> {
        FIELDS
            .iter()
            .map(|(name, get)| Self::Known(name, *get))
            .chain((0..KINDS.len()).map(Self::Interface))
            .chain(OTHER.iter().map(|(name, _)| Self::Other(name)))
            .collect()
    }

    /// The fields of a list that names none.
    pub(crate) fn brief() -> Vec<Self> {
        BRIEF.into_iter().filter_map(Self::named).collect()
    }

    /// The fields that a request names.
    ///
    /// # Errors
    /// With Ironic's odd answers to fields that it does not have, and to some that it has.
    pub(crate) fn select(names: &str, minor: u32) -> Result<Vec<Self>, Refusal> {
        names
            .split(',')
            .filter(|name| *name != "links")
            .map(|name| {
                let unknown = || {
                    Refusal::new(
                        axum::http::StatusCode::INTERNAL_SERVER_ERROR,
                        format!("type object 'Node' has no attribute '{name}'"),
                    )
                };
                match Self::named(name) {
                    Some(_) if UNSELECTABLE.contains(&name) => {
                        Err(Refusal::bad(format!("Field {name} is not a valid field.")))
                    }
                    Some(_) if BROKEN.contains(&name) => Err(unknown()),
                    Some(_) if too_new(name, minor) => Err(Refusal::version()),
                    Some(field) => Ok(field),
                    None => Err(unknown()),
                }
            })
            .collect()
    }
}

/// Fields that came after the oldest version that matters.
pub(crate) fn too_new(field: &str, minor: u32) -> bool {
    match field {
        "health" => minor < 109,
        "disable_power_off" => minor < 95,
        _ => false,
    }
}

/// A node with the fields asked for and its links.
pub(crate) struct View<'a> {
    pub(crate) node: &'a Node,
    pub(crate) fields: &'a [Field],
    /// `http://host:port`
    pub(crate) base: &'a str,
    pub(crate) minor: u32,
    /// The lock is held by somebody else, see the fault `node-locked`.
    pub(crate) locked: bool,
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in self.fields {
            match field {
                Field::Known(name, _) if too_new(name, self.minor) => {}
                Field::Known("reservation", _) if self.locked => {
                    map.serialize_entry("reservation", CONDUCTOR)?;
                }
                Field::Known(name, get) => map.serialize_entry(name, &self.value(get(self.node)))?,
                Field::Interface(kind) => {
                    // A formatted key per node and field would cost more than all values together.
                    map.serialize_entry(INTERFACE_FIELDS[*kind], self.node.interfaces.get(*kind))?;
                }
                Field::Other(name) => {
                    let initial = OTHER
                        .iter()
                        .find(|(known, _)| known == name)
                        .map(|(_, value)| value);
                    map.serialize_entry(name, &self.node.other.get(*name).or(initial))?;
                }
            }
        }
        map.serialize_entry("links", &self.value(Out::Links(None)))?;
        map.end()
    }
}

impl<'a> View<'a> {
    fn value(&self, out: Out<'a>) -> Written<'a> {
        Written {
            out,
            base: self.base,
            uuid: self.node.uuid,
        }
    }
}

/// The field names of [`KINDS`].
const INTERFACE_FIELDS: [&str; KINDS.len()] = [
    "bios_interface",
    "boot_interface",
    "console_interface",
    "deploy_interface",
    "firmware_interface",
    "inspect_interface",
    "management_interface",
    "network_interface",
    "power_interface",
    "raid_interface",
    "rescue_interface",
    "storage_interface",
    "vendor_interface",
];

struct Written<'a> {
    out: Out<'a>,
    base: &'a str,
    uuid: Uuid,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.out {
            Out::Null => serializer.serialize_none(),
            Out::Bool(flag) => serializer.serialize_bool(*flag),
            Out::Text(text) => serializer.serialize_str(text),
            Out::Uuid(uuid) => uuid.serialize(serializer),
            Out::Time(at) => serializer.collect_str(&stamp(*at)),
            Out::Map(map) => map.serialize(serializer),
            Out::Masked(map) => Masked(map).serialize(serializer),
            Out::Step(step) => step.show().serialize(serializer),
            Out::EmptyMap => serializer.serialize_map(Some(0))?.end(),
            Out::EmptyList => serializer.collect_seq(std::iter::empty::<()>()),
            Out::Links(sub) => links(self.base, "nodes", self.uuid, *sub).serialize(serializer),
        }
    }
}

/// The two links of a resource or one of its parts.
pub(crate) fn links(base: &str, collection: &str, uuid: Uuid, sub: Option<&str>) -> [Link; 2] {
    let tail = sub.map(|sub| format!("/{sub}")).unwrap_or_default();
    let link = |root: &str, rel| Link {
        href: format!("{root}/{collection}/{uuid}{tail}"),
        rel,
    };
    [link(&format!("{base}/v1"), "self"), link(base, "bookmark")]
}

/// A link.
#[derive(Serialize)]
pub(crate) struct Link {
    pub(crate) href: String,
    pub(crate) rel: &'static str,
}

/// Ironic's form of a point in time.
pub(crate) fn stamp(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
}

/// A map whose secrets are not shown.
pub(crate) struct Masked<'a>(pub &'a Map<String, Value>);

impl Serialize for Masked<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            let secret = key.contains("password") || key == "configdrive" || key == "image_url";
            if secret {
                map.serialize_entry(key, "******")?;
            } else {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_fields_are_those_of_the_kinds() {
        for (kind, (name, _)) in KINDS.iter().enumerate() {
            assert_eq!(INTERFACE_FIELDS[kind], format!("{name}_interface"));
        }
    }

    #[test]
    fn fields_are_refused_as_ironic_does() {
        assert_eq!(
            Field::select("uuid,updated_at", 110)
                .err()
                .map(|refusal| refusal.status.as_u16()),
            Some(400)
        );
        assert_eq!(
            Field::select("bogus", 110)
                .err()
                .map(|refusal| refusal.status.as_u16()),
            Some(500)
        );
        assert_eq!(
            Field::select("health", 95)
                .err()
                .map(|refusal| refusal.status.as_u16()),
            Some(406)
        );
        assert_eq!(Field::select("uuid,boot_interface,owner", 89).unwrap().len(), 3);
    }
}
