//! The annotations that ask for a reboot; hosts and claims have them.

use std::collections::BTreeMap;

use metal3_api::names::ANNOTATION_REBOOT;
use serde_json::Value;

use crate::problem::Problem;

/// What is wrong with any of them.
pub(crate) fn annotations(annotations: &BTreeMap<String, String>) -> Vec<Problem> {
    let prefix = format!("{ANNOTATION_REBOOT}/");
    annotations
        .iter()
        .filter(|(name, value)| {
            !value.is_empty() && (*name == ANNOTATION_REBOOT || name.starts_with(&prefix))
        })
        .filter_map(|(name, value)| {
            let text = wrong(value)?;
            let field = format!("metadata.annotations[{name}]");
            let text =
                format!("{text}; use the empty text, or for example {{\"mode\": \"hard\", \"force\": true}}");
            Some(Problem::new(&field, &text, value))
        })
        .collect()
}

fn wrong(value: &str) -> Option<String> {
    let request = match serde_json::from_str::<Value>(value) {
        Ok(request @ (Value::Object(_) | Value::Null)) => request,
        Ok(_) => return Some("failed to unmarshal the data: it is not a JSON object".into()),
        Err(error) => return Some(format!("failed to unmarshal the data: {error}")),
    };
    if !matches!(&request["force"], Value::Null | Value::Bool(_)) {
        return Some("failed to unmarshal the data: force is neither true nor false".into());
    }
    match &request["mode"] {
        Value::Null => None,
        Value::String(mode) if matches!(mode.as_str(), "hard" | "soft" | "") => None,
        _ => Some(format!(
            "invalid mode in the {ANNOTATION_REBOOT} annotation, allowed are \"hard\", \"soft\" or \"\""
        )),
    }
}
