//! Annotations: rules 18 to 22, and arguments of a detachment.

use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::host::{ErrorType, InspectionMode, OperationalStatus};
use metal3_api::metal3::saved;
use metal3_api::names;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Host;
use crate::problem::Problem;
use crate::reboot;

pub(super) fn problems(host: &Host) -> Vec<Problem> {
    let mut problems = reboot::annotations(&host.annotations);
    problems.extend(status(host));
    problems.extend(inspect(host));
    problems.extend(contradiction(host));
    problems.extend(hardware(host));
    problems.extend(detached(host));
    problems
}

fn field(name: &str) -> String {
    format!("metadata.annotations[{name}]")
}

/// Rule 18: everything that this operator can write is taken back.
fn status(host: &Host) -> Option<Problem> {
    const NAME: &str = names::ANNOTATION_STATUS;
    let saved = host.annotation(NAME).filter(|saved| !saved.is_empty())?;
    let text = match saved::read(saved) {
        Err(error) => format!("error decoding status annotation: {error}"),
        Ok(_) => {
            let raw: Value = serde_json::from_str(saved).unwrap_or_default();
            let unknown = unknown::<OperationalStatus>(&raw, "operationalStatus")
                .or_else(|| unknown::<ErrorType>(&raw, "errorType").filter(|(_, word)| !word.is_empty()));
            let (name, word) = unknown?;
            format!("invalid {name} '{word}' in the {NAME} annotation")
        }
    };
    let text = format!(
        "{text}; put in what the operator wrote, as it was, or remove the annotation: the host is registered anew then"
    );
    Some(Problem::new(&field(NAME), &text, saved))
}

/// A word that is not one of the type.
fn unknown<T: DeserializeOwned>(status: &Value, name: &'static str) -> Option<(&'static str, String)> {
    let word = status[name].as_str()?;
    serde_json::from_value::<T>(Value::from(word))
        .is_err()
        .then(|| (name, word.to_owned()))
}

/// Rule 20.
fn inspect(host: &Host) -> Option<Problem> {
    const NAME: &str = names::ANNOTATION_INSPECT;
    let value = host.annotation(NAME)?;
    (!matches!(value, "" | "disabled")).then(|| {
        let text = format!(
            "invalid value for the {NAME} annotation, allowed are \"disabled\" or \"\": {value:?}; the empty text asks for \
             an inspection"
        );
        Problem::new(&field(NAME), &text, value)
    })
}

/// Rule 22, and the request for an inspection that is disabled: it would never end.
fn contradiction(host: &Host) -> Option<Problem> {
    const NAME: &str = names::ANNOTATION_INSPECT;
    let (value, mode) = (host.annotation(NAME)?, host.spec.inspection_mode?);
    let text = match (value, mode) {
        ("disabled", InspectionMode::Agent | InspectionMode::Fast) => "remove the annotation",
        ("", InspectionMode::Disabled) => {
            "inspection cannot be asked for while it is disabled: remove the annotation"
        }
        _ => return None,
    };
    let text = format!(
        "annotation {NAME} and inspectionMode {:?} have contradicting values; {text}, or change inspectionMode",
        mode.as_str()
    );
    Some(Problem::new("spec.inspectionMode", &text, (value, mode)))
}

/// Rule 21.
fn hardware(host: &Host) -> Option<Problem> {
    const NAME: &str = names::ANNOTATION_HARDWARE_DETAILS;
    let details = host.annotation(NAME).filter(|details| !details.is_empty())?;
    let disabled = host.inspection_disabled();
    let text = if !disabled {
        "when hardware details are provided, inspection must be disabled: set inspectionMode to disabled"
            .to_owned()
    } else {
        let error = HardwareDetails::read_strictly(details).err()?;
        format!(
            "error decoding the {NAME} annotation: {error}; see `kubectl explain hardwaredata.spec.hardware`"
        )
    };
    Some(Problem::new(&field(NAME), &text, (details, disabled)))
}

/// Any text may be given; what looks like arguments has to be some, or a host would be deleted otherwise than meant.
fn detached(host: &Host) -> Option<Problem> {
    const NAME: &str = names::ANNOTATION_DETACHED;
    let value = host
        .annotation(NAME)
        .filter(|value| value.trim_start().starts_with('{'))?;
    let text = wrong_arguments(value)?;
    let text = format!("{text}; use for example {{\"deleteAction\": \"delay\"}}, or the empty text");
    Some(Problem::new(&field(NAME), &text, value))
}

fn wrong_arguments(value: &str) -> Option<String> {
    let arguments = match serde_json::from_str::<serde_json::Map<String, Value>>(value) {
        Ok(arguments) => arguments,
        Err(error) => return Some(format!("it looks like JSON, which cannot be read: {error}")),
    };
    arguments
        .iter()
        .find_map(|(name, value)| match (name.as_str(), value) {
            ("deleteAction" | "force", Value::Null) | ("force", Value::Bool(_)) => None,
            ("deleteAction", Value::String(action)) if matches!(action.as_str(), "delay" | "delete") => None,
            ("deleteAction", other) => Some(format!(
                "deleteAction has to be \"delay\" or \"delete\", not {other}"
            )),
            ("force", other) => Some(format!("force has to be true or false, not {other}")),
            (other, _) => Some(format!(
                "{other:?} is not known: arguments are deleteAction and force"
            )),
        })
}
