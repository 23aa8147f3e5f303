//! Something that a rule does not allow.

use serde::Serialize;
use serde_json::{Value, json};

/// Why an object is refused, and what of it is to blame.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Names the field, what is wrong with it, and what to do.
    pub message: String,
    /// The values that the rule looked at. While they stay as they are, the problem is an old one.
    cause: Value,
}

impl Problem {
    /// For a field, because of these values.
    pub(crate) fn new(field: &str, text: &str, cause: impl Serialize) -> Self {
        Self {
            message: format!("{field}: {text}"),
            cause: json!(cause),
        }
    }
}
