//! Schemas that the derive cannot know, for all groups.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

pub(crate) use crate::infra::schema::{conditions, integer, object_reference, secret_reference, time};

/// A MAC address.
pub(crate) const MAC: &str = r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$";

/// Upstream's pattern for the host's own addresses, which is not anchored.
pub(crate) const MAC_ANYWHERE: &str = r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}";

/// A list of conditions without a bound on its length.
pub(crate) fn conditions_unbounded(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = conditions(generator);
    schema.remove("maxItems");
    schema
}

/// A list of conditions that upstream did not mark as a map.
pub(crate) fn conditions_plain(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = conditions_unbounded(generator);
    schema.remove("x-kubernetes-list-type");
    schema.remove("x-kubernetes-list-map-keys");
    schema
}

/// A map to integers or strings.
pub(crate) fn int_or_string_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
        },
    })
}

/// The field may be absent in what we read; the schema has no default for it.
pub(crate) fn no_default(schema: &mut Schema) {
    schema.remove("default");
    if schema.get("type") == Some(&json!(["object", "null"])) {
        schema.insert("type".to_owned(), json!("object"));
    }
}
