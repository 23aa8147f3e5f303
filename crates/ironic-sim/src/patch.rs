//! JSON patches in Ironic's dialect: `add`, `replace` and `remove`, on a whole field or one key in it.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::interfaces::kind_of;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::view::{OTHER, too_new};

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation<'a> {
    field: &'a str,
    /// The rest of the path, in a field that is a map.
    key: Option<String>,
    /// `None`: remove.
    value: Option<&'a Value>,
    replace: bool,
    original: &'a Value,
}

/// The fields that may be changed, besides interfaces and what nothing here reads.
const PATCHABLE: [&str; 11] = [
    "automated_clean",
    "disable_power_off",
    "driver",
    "driver_info",
    "extra",
    "instance_info",
    "instance_uuid",
    "maintenance",
    "name",
    "network_data",
    "properties",
];

fn is_patchable(field: &str) -> bool {
    PATCHABLE.contains(&field) || kind_of(field).is_some() || OTHER.iter().any(|(known, _)| *known == field)
}

/// Reads a patch.
///
/// # Errors
/// When it is none.
pub(crate) fn parse(body: &Value) -> Result<Vec<Operation<'_>>, Refusal> {
    let list = body
        .as_array()
        .ok_or_else(|| Refusal::bad(format!("Schema error for patch: {body} is not of type 'array'")))?;
    list.iter().map(Operation::parse).collect()
}

impl<'a> Operation<'a> {
    fn parse(operation: &'a Value) -> Result<Self, Refusal> {
        let op = operation["op"].as_str().unwrap_or_default();
        if !matches!(op, "add" | "replace" | "remove") {
            return Err(Refusal::bad(format!(
                "Schema error for patch: '{op}' is not one of ['add', 'replace', 'remove']"
            )));
        }
        let path = operation["path"].as_str().unwrap_or_default();
        let Some(path) = path.strip_prefix('/') else {
            return Err(Refusal::bad(format!(
                "Schema error for patch: invalid path {path:?}"
            )));
        };
        let (field, key) = match path.split_once('/') {
            Some((field, key)) => (field, Some(key.replace("~1", "/").replace("~0", "~"))),
            None => (path, None),
        };
        let value = (op != "remove").then(|| &operation["value"]);
        Ok(Self {
            field,
            key,
            value,
            replace: op == "replace",
            original: operation,
        })
    }

    /// It is about an interface.
    pub(crate) fn interface(&self) -> Option<&'a str> {
        kind_of(self.field).map(|_| self.field)
    }

    /// The interface would be another one.
    pub(crate) fn changes(&self, node: &Node) -> bool {
        let wanted = self.value.and_then(Value::as_str);
        kind_of(self.field).is_none_or(|kind| wanted != Some(node.interfaces.get(kind)))
    }

    /// What Ironic refuses in any state, before it looks at the node.
    ///
    /// # Errors
    /// When nobody may change the field, or network data do not fit their schema.
    pub(crate) fn check_schema(&self) -> Result<(), Refusal> {
        if !is_patchable(self.field) {
            return Err(Refusal::bad(format!(
                "Cannot patch /{}. Only the following can be updated: {}, interfaces, and descriptive fields",
                self.field,
                PATCHABLE.join(", ")
            )));
        }
        match (self.field, &self.key, self.value) {
            ("network_data", None, Some(Value::Object(data))) => crate::network::check(data),
            _ => Ok(()),
        }
    }

    /// The name that the node shall have.
    pub(crate) fn name(&self) -> Option<&'a str> {
        (self.field == "name").then(|| self.value?.as_str()).flatten()
    }

    /// The instance that the node shall have.
    pub(crate) fn instance(&self) -> Option<&'a str> {
        (self.field == "instance_uuid")
            .then(|| self.value?.as_str())
            .flatten()
    }

    /// It needs a newer version of the API.
    pub(crate) fn too_new(&self, minor: u32) -> bool {
        too_new(self.field, minor)
    }

    /// Applies it.
    ///
    /// # Errors
    /// When the field, the key or the value does not fit.
    pub(crate) fn apply(&self, node: &mut Node) -> Result<(), Refusal> {
        if let Some(kind) = kind_of(self.field) {
            let value = self.value.and_then(Value::as_str);
            return node.interfaces.set(kind, value, &node.driver);
        }
        match self.field {
            "name" => node.name = self.text()?,
            "instance_uuid" => node.instance_uuid = self.uuid()?,
            "driver" => {
                let driver = self.text()?.unwrap_or_default();
                node.interfaces = crate::interfaces::Interfaces::of(&driver)?;
                node.driver = driver;
            }
            "automated_clean" => node.automated_clean = self.flag()?,
            "disable_power_off" => node.disable_power_off = self.flag()?.unwrap_or(false),
            "maintenance" => node.maintenance = self.flag()?.unwrap_or(false),
            "driver_info" => self.map(&mut node.driver_info)?,
            "instance_info" => self.map(&mut node.instance_info)?,
            "properties" => self.map(&mut node.properties)?,
            "extra" => self.map(&mut node.extra)?,
            "network_data" => {
                self.check_schema()?;
                self.map(&mut node.network_data)?;
            }
            other if OTHER.iter().any(|(known, _)| *known == other) => {
                node.other
                    .insert(other.to_owned(), self.value.cloned().unwrap_or_default());
            }
            _ => self.check_schema()?,
        }
        Ok(())
    }

    fn wrong(&self, reason: &str) -> Refusal {
        Refusal::bad(format!(
            "Couldn't apply patch '{}'. Reason: {reason}",
            self.original
        ))
    }

    fn text(&self) -> Result<Option<String>, Refusal> {
        match self.value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Refusal::bad(format!("Expected a string for {}", self.field))),
        }
    }

    fn uuid(&self) -> Result<Option<String>, Refusal> {
        let text = self.text()?;
        match text.as_deref().map(Uuid::parse_str) {
            Some(Err(_)) => Err(Refusal::bad(format!(
                "Expected UUID for {}: {}",
                self.field,
                text.unwrap_or_default()
            ))),
            Some(Ok(_)) | None => Ok(text),
        }
    }

    fn flag(&self) -> Result<Option<bool>, Refusal> {
        match self.value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Refusal::bad(format!("Expected a boolean for {}", self.field))),
        }
    }

    fn map(&self, map: &mut Map<String, Value>) -> Result<(), Refusal> {
        let Some(key) = &self.key else {
            *map = match self.value {
                None | Some(Value::Null) => Map::new(),
                Some(Value::Object(new)) => new.clone(),
                Some(_) => return Err(Refusal::bad(format!("Expected an object for {}", self.field))),
            };
            return Ok(());
        };
        let known = map.contains_key(key);
        match self.value {
            None if !known => Err(self.wrong(&format!("can't remove a non-existent object '{key}'"))),
            Some(_) if self.replace && !known => {
                Err(self.wrong(&format!("can't replace a non-existent object '{key}'")))
            }
            None => {
                map.remove(key);
                Ok(())
            }
            Some(value) => {
                map.insert(key.clone(), value.clone());
                Ok(())
            }
        }
    }
}
