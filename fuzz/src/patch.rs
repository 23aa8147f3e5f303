//! What a call may write: fields that consumers have to do with, in a form that the API server takes.

use serde_json::{Map, Value};

/// Fields of the spec that calls write.
const SPEC: [&str; 8] = [
    "consumerRef",
    "image",
    "customDeploy",
    "userData",
    "metaData",
    "networkData",
    "automatedCleaningMode",
    "online",
];

pub(crate) fn check(patch: &Value) {
    for (part, content) in entries(patch) {
        match part.as_str() {
            "metadata" => metadata(content),
            "spec" => {
                let strange = entries(content)
                    .keys()
                    .find(|field| !SPEC.contains(&field.as_str()));
                assert_eq!(strange, None, "{patch}");
            }
            _ => panic!("{part} is not the consumer's: {patch}"),
        }
    }
}

fn metadata(metadata: &Value) {
    for (part, content) in entries(metadata) {
        for (key, value) in entries(content) {
            // Null takes it off.
            let value = value.as_str();
            match part.as_str() {
                "labels" => assert!(
                    value.is_none_or(|value| value.is_empty() || is_name(value)),
                    "{content}"
                ),
                "annotations" => {}
                _ => panic!("{part} is not the consumer's: {metadata}"),
            }
            let name = key.split_once('/').map_or(key.as_str(), |(_, name)| name);
            assert!(is_name(name), "{content}");
        }
    }
}

fn entries(object: &Value) -> &Map<String, Value> {
    object
        .as_object()
        .unwrap_or_else(|| panic!("{object} is no object"))
}

/// A namespace.
pub(crate) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    is_name(text) && text.bytes().all(inner)
}

/// The value of a label, or the part of its key after the slash.
fn is_name(text: &str) -> bool {
    let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= 63 && end(text.bytes().next()) && end(text.bytes().next_back()) && text.bytes().all(inner)
}
