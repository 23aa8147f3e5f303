//! Steps of cleaning, servicing and deployment: how they are read, and what they do to the machine.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::actions::Deed;
use crate::machine::{Operation, State};
use crate::node::Node;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::view::stamp;
use crate::world::World;

/// The interfaces that have steps.
const INTERFACES: [&str; 7] = [
    "vendor",
    "power",
    "management",
    "firmware",
    "deploy",
    "bios",
    "raid",
];

/// A step that a client named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) interface: String,
    pub(crate) step: String,
    pub(crate) args: Map<String, Value>,
}

impl Step {
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.interface, self.step)
    }

    pub(crate) fn show(&self) -> Value {
        json!({"interface": self.interface, "step": self.step, "args": self.args})
    }

    /// The disks are not what they were afterwards.
    fn erases(&self) -> bool {
        match self.interface.as_str() {
            "deploy" => self.step.starts_with("erase_devices"),
            "raid" => matches!(
                self.step.as_str(),
                "create_configuration" | "delete_configuration"
            ),
            _ => false,
        }
    }
}

/// Reads the steps of a request; `kind` is `clean`, `service` or `deploy`.
///
/// # Errors
/// 400 with the first step that is wrong.
pub(crate) fn parse(kind: &str, steps: &Value) -> Result<Vec<Step>, Refusal> {
    let invalid = |reason: String| Refusal::bad(format!("Invalid {kind}_steps: {reason}"));
    let list = steps
        .as_array()
        .ok_or_else(|| invalid(format!("{steps} is not of type 'array'")))?;
    let known: &[&str] = match kind {
        "deploy" => &["interface", "step", "args", "priority"],
        _ => &["interface", "step", "args", "order"],
    };
    list.iter()
        .map(|step| {
            let map = step
                .as_object()
                .ok_or_else(|| invalid(format!("{step} is not of type 'object'")))?;
            if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(invalid(format!(
                    "Additional properties are not allowed ('{key}' was unexpected)"
                )));
            }
            let required = if kind == "deploy" { known } else { &known[..2] };
            if let Some(key) = required.iter().find(|key| !map.contains_key(**key)) {
                return Err(invalid(format!("'{key}' is a required property")));
            }
            let text = |key: &str| step[key].as_str().filter(|text| !text.is_empty());
            let interface = text("interface")
                .filter(|name| INTERFACES.contains(name))
                .ok_or_else(|| invalid(format!("{} is not one of {INTERFACES:?}", step["interface"])))?;
            let name =
                text("step").ok_or_else(|| invalid(format!("{} is not a name of a step", step["step"])))?;
            let args = match &step["args"] {
                Value::Null => Map::new(),
                Value::Object(args) => args.clone(),
                other => return Err(invalid(format!("{other} is not of type 'object'"))),
            };
            Ok(Step {
                interface: interface.to_owned(),
                step: name.to_owned(),
                args,
            })
        })
        .collect()
}

/// The step that nothing of the node could carry out.
fn impossible(node: &Node) -> Option<&Step> {
    node.steps.iter().find(|step| {
        let interface = node.interfaces.named(&step.interface);
        interface == "fake" || interface.starts_with("no-")
    })
}

impl World {
    /// Refuses steps that the node does not have, before the machine is touched.
    ///
    /// # Errors
    /// Ironic's words about the step.
    pub(crate) fn check_steps(&self, number: u64, operation: Operation) -> Result<(), String> {
        let Some(node) = self.nodes.get(&number).filter(|_| operation == Operation::Clean) else {
            return Ok(());
        };
        impossible(node).map_or(Ok(()), |step| {
            Err(format!(
                "Cannot clean node {}: node does not support this clean step: {}",
                node.uuid,
                step.show()
            ))
        })
    }

    /// The ramdisk, or the BMC, carries out the steps of a cleaning or a service.
    ///
    /// # Errors
    /// Ironic's words about the step that failed.
    pub(crate) fn carry_out(
        &mut self,
        number: u64,
        operation: Operation,
        now: Instant,
    ) -> Result<(), String> {
        let wall = self.wall(now);
        let Some(node) = self.nodes.get_mut(&number) else {
            return Ok(());
        };
        let automated = operation == Operation::Clean && node.target == Some(State::Available);
        let steps = std::mem::take(&mut node.steps);
        let uuid = node.uuid;
        let mut raid_config = node.raid_config.clone();
        let target_raid = node.target_raid_config.clone();
        let Ok(access) = crate::bmc::access(node) else {
            return Ok(());
        };
        let mut erased = automated;
        let mut failure = None;
        for step in steps.iter() {
            let server = self.server(&access.address);
            let result = match (step.interface.as_str(), step.step.as_str()) {
                ("raid", "delete_configuration") => {
                    raid_config = Map::new();
                    Ok(())
                }
                ("raid", "create_configuration") => {
                    create_raid(&target_raid, wall).map(|raid| raid_config = raid)
                }
                ("bios", "apply_configuration") => apply_bios(server, &step.args, wall),
                ("bios", "factory_reset") => {
                    server.bios.clear();
                    Ok(())
                }
                ("firmware", "update") => update_firmware(server, &step.args, wall),
                _ => Ok(()),
            };
            if let Err(cause) = result {
                failure = Some(format!("Step {} failed on node {uuid}. {cause}", step.name()));
                break;
            }
            erased |= step.erases();
            self.record(number, Deed::Step, Some(operation), Some(step.name()), now);
        }
        if erased {
            self.server(&access.address).disk = None;
            self.record(number, Deed::Erase, Some(operation), None, now);
        }
        if let Some(node) = self.nodes.get_mut(&number) {
            node.raid_config = raid_config;
        }
        failure.map_or(Ok(()), Err)
    }
}

/// What is asked for becomes what is there.
fn create_raid(target: &Map<String, Value>, at: Timestamp) -> Result<Map<String, Value>, String> {
    if target.is_empty() {
        return Err("No target RAID configuration was found.".to_owned());
    }
    let mut config = target.clone();
    config.insert("last_updated".to_owned(), json!(stamp(at).to_string()));
    Ok(config)
}

/// The list `settings` of a step.
fn settings(args: &Map<String, Value>) -> Result<&Vec<Value>, String> {
    args.get("settings")
        .and_then(Value::as_array)
        .filter(|settings| !settings.is_empty())
        .ok_or_else(|| "The argument settings is missing or empty.".to_owned())
}

fn apply_bios(server: &mut Server, args: &Map<String, Value>, at: Timestamp) -> Result<(), String> {
    let settings = settings(args)?;
    for setting in settings {
        let name = setting["name"].as_str().unwrap_or_default();
        crate::hardware::check_setting(name, &setting["value"])?;
    }
    for setting in settings {
        let name = setting["name"].as_str().unwrap_or_default();
        let value = match &setting["value"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        server.bios.insert(name.to_owned(), (value, at));
    }
    Ok(())
}

fn update_firmware(server: &mut Server, args: &Map<String, Value>, at: Timestamp) -> Result<(), String> {
    for setting in settings(args)? {
        let component = setting["component"].as_str().unwrap_or_default();
        let url = setting["url"].as_str().unwrap_or_default();
        if !crate::hardware::FIRMWARE
            .iter()
            .any(|(known, _)| *known == component)
        {
            return Err(format!(
                "Firmware component {component:?} is not supported by the BMC."
            ));
        }
        let version = version_of(url).ok_or_else(|| format!("{url:?} is not a URL of a firmware image."))?;
        server
            .firmware
            .insert(component.to_owned(), (version.to_owned(), at));
    }
    Ok(())
}

/// The version that an image of this URL brings: what follows the last dash of its name, without the extension.
fn version_of(url: &str) -> Option<&str> {
    let path = url.split_once("://")?.1;
    let file = path.rsplit('/').next()?;
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    Some(stem.rsplit('-').next().unwrap_or(stem)).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_as_ironic_reads_them() {
        let step = json!({"interface": "raid", "step": "create_configuration"});
        assert_eq!(
            parse("clean", &json!([step])).unwrap()[0].name(),
            "raid.create_configuration"
        );
        for (kind, steps) in [
            ("clean", json!({})),
            ("clean", json!(["raid"])),
            ("clean", json!([{"interface": "raid"}])),
            ("clean", json!([{"interface": "console", "step": "a"}])),
            ("clean", json!([{"interface": "raid", "step": ""}])),
            ("clean", json!([{"interface": "raid", "step": "a", "args": []}])),
            ("clean", json!([{"interface": "raid", "step": "a", "more": 1}])),
            (
                "deploy",
                json!([{"interface": "deploy", "step": "a", "args": {}}]),
            ),
        ] {
            assert_eq!(
                parse(kind, &steps).map_err(|refusal| refusal.status.as_u16()),
                Err(400),
                "{steps}"
            );
        }
    }

    #[test]
    fn firmware_versions_follow_from_the_name_of_the_image() {
        for (url, version) in [
            ("http://images/bios-2.0.1.bin", Some("2.0.1")),
            ("https://images/a/b/4711.exe", Some("4711")),
            ("http://images/", None),
            ("bios", None),
        ] {
            assert_eq!(version_of(url), version, "{url}");
        }
    }
}
