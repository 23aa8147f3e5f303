//! The facts that one schema and the head of one CRD state, in the words of the fact tables.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Facts of one path by column; an empty cell means "not set" and is left out.
pub(super) type Cells = BTreeMap<String, String>;

/// Columns whose value is copied as it is.
const COPIED: [(&str, &str); 13] = [
    ("format", "format"),
    ("pattern", "pattern"),
    ("minimum", "minimum"),
    ("maximum", "maximum"),
    ("multipleOf", "multipleOf"),
    ("minLength", "minLength"),
    ("maxLength", "maxLength"),
    ("minItems", "minItems"),
    ("maxItems", "maxItems"),
    ("minProperties", "minProperties"),
    ("maxProperties", "maxProperties"),
    ("x-kubernetes-list-type", "x-list-type"),
    ("x-kubernetes-map-type", "x-map-type"),
];

/// Columns that are either "true" or empty.
const FLAGS: [(&str, &str); 5] = [
    ("nullable", "nullable"),
    ("uniqueItems", "uniqueItems"),
    ("x-kubernetes-int-or-string", "x-int-or-string"),
    ("x-kubernetes-preserve-unknown-fields", "x-preserve-unknown"),
    ("x-kubernetes-embedded-resource", "x-embedded-resource"),
];

/// Annotations that say nothing about the API.
const SKIPPED_ANNOTATIONS: [&str; 3] = [
    "controller-gen.kubebuilder.io/version",
    "cert-manager.io/inject-ca-from",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// The facts of one schema.
pub(super) fn cells(schema: &Value, required: bool) -> Cells {
    let mut cells = Cells::new();
    let mut set = |column: &str, cell: String| {
        if !cell.is_empty() {
            cells.insert(column.to_owned(), escape(&cell));
        }
    };
    let either = schema["x-kubernetes-int-or-string"] == true;
    let kind = schema["type"]
        .as_str()
        .unwrap_or(if either { "int-or-string" } else { "" });
    set("type", kind.to_owned());
    set("required", if required { "yes" } else { "no" }.to_owned());
    for (key, column) in COPIED {
        set(column, text(&schema[key]));
    }
    for (key, column) in FLAGS {
        if schema[key] == true {
            set(column, "true".to_owned());
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        set("enum", words(values));
    }
    if let Some(default) = schema.get("default") {
        set("default", json(default));
    }
    let exclusive = ["exclusiveMinimum", "exclusiveMaximum"]
        .into_iter()
        .filter(|key| schema[*key] == true);
    set("exclusive", exclusive.collect::<Vec<_>>().join(","));
    let keys = list(&schema["x-kubernetes-list-map-keys"]).iter().map(text);
    set("x-list-map-keys", keys.collect::<Vec<_>>().join(","));
    let rules = list(&schema["x-kubernetes-validations"])
        .iter()
        .map(|rule| json(&undescribed(rule)));
    set("x-validations", rules.collect::<Vec<_>>().join(" && "));
    let combined: Map<String, Value> = ["allOf", "anyOf", "oneOf", "not"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), undescribed(schema.get(key)?))))
        .collect();
    if !combined.is_empty() {
        set("combinators", json(&Value::Object(combined)));
    }
    cells
}

/// The facts around the schemas.
pub(super) fn headers(crd: &Value) -> BTreeMap<String, String> {
    let (spec, names) = (&crd["spec"], &crd["spec"]["names"]);
    let kind = text(&names["kind"]);
    let or = |value: &Value, default: String| if value.is_null() { default } else { text(value) };
    let mut headers = BTreeMap::from([
        ("name".to_owned(), text(&crd["metadata"]["name"])),
        ("group".to_owned(), text(&spec["group"])),
        (
            "listKind".to_owned(),
            or(&names["listKind"], format!("{kind}List")),
        ),
        ("plural".to_owned(), text(&names["plural"])),
        ("singular".to_owned(), or(&names["singular"], kind.to_lowercase())),
        ("kind".to_owned(), kind),
        ("shortNames".to_owned(), sorted_words(&names["shortNames"])),
        ("categories".to_owned(), sorted_words(&names["categories"])),
        ("scope".to_owned(), text(&spec["scope"])),
        (
            "conversion".to_owned(),
            or(&spec["conversion"]["strategy"], "None".to_owned()),
        ),
        (
            "preserveUnknownFields".to_owned(),
            (spec["preserveUnknownFields"] == true).to_string(),
        ),
    ]);
    for version in list(&spec["versions"]) {
        version_headers(version, &mut headers);
    }
    for (key, value) in map(&crd["metadata"]["labels"]) {
        headers.insert(format!("label {key}"), text(value));
    }
    for (key, value) in map(&crd["metadata"]["annotations"]) {
        if !SKIPPED_ANNOTATIONS.contains(&key.as_str()) {
            headers.insert(format!("annotation {key}"), text(value));
        }
    }
    headers
        .into_iter()
        .map(|(key, value)| (key, escape(&value)))
        .collect()
}

fn version_headers(version: &Value, headers: &mut BTreeMap<String, String>) {
    let name = text(&version["name"]);
    let mut parts: Vec<String> = map(&version["subresources"])
        .map(|(key, inner)| match inner.as_object() {
            Some(inner) if !inner.is_empty() => format!("{key}{}", json(&Value::Object(inner.clone()))),
            _ => key.clone(),
        })
        .collect();
    parts.sort();
    let subresources = if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(",")
    };
    let is = |key: &str| version[key] == true;
    headers.insert(
        format!("version {name}"),
        format!(
            "served={} storage={} deprecated={} subresources={subresources}",
            is("served"),
            is("storage"),
            is("deprecated")
        ),
    );
    for (at, column) in list(&version["additionalPrinterColumns"]).iter().enumerate() {
        let priority = column["priority"].as_i64().unwrap_or(0);
        let fact = |key: &str| text(&column[key]);
        headers.insert(
            format!("column {name} {at:02}"),
            format!(
                "name={} type={} format={} priority={priority} jsonPath={}",
                fact("name"),
                fact("type"),
                fact("format"),
                fact("jsonPath")
            ),
        );
    }
    for field in list(&version["selectableFields"]) {
        headers.insert(format!("selectable {name}"), text(&field["jsonPath"]));
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
        other => other.to_string(),
    }
}

fn sorted_words(value: &Value) -> String {
    let mut words: Vec<String> = list(value).iter().map(text).collect();
    words.sort();
    words.join(",")
}

fn words(values: &[Value]) -> String {
    if values
        .iter()
        .any(|value| value.as_str().is_none_or(|word| word.contains(',')))
    {
        return json(&Value::Array(values.to_vec()));
    }
    let word = |value| match text(value) {
        word if word.is_empty() => "\"\"".to_owned(),
        word => word,
    };
    values.iter().map(word).collect::<Vec<_>>().join(",")
}

/// Compact JSON with sorted keys, whatever order the map keeps.
fn json(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().collect();
            let fields = fields
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), json(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(json).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

fn undescribed(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| *key != "description");
            Value::Object(
                kept.map(|(key, value)| (key.clone(), undescribed(value)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.iter().map(undescribed).collect()),
        other => other.clone(),
    }
}

fn escape(cell: &str) -> String {
    cell.replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}
