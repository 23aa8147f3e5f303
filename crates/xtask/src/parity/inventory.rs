//! Two sets of facts side by side: header facts by key, and one row of cells per version and path of a schema.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    Difference,
    facts::{Cells, cells, headers, list, map, text},
};

/// All facts of one CRD; an empty cell means "not set" and is left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory {
    headers: BTreeMap<String, String>,
    rows: BTreeMap<(String, String), Cells>,
}

impl Inventory {
    /// Reads the facts of a CRD manifest.
    pub(super) fn of(crd: &Value) -> Self {
        let mut inventory = Self {
            headers: headers(crd),
            ..Self::default()
        };
        for version in list(&crd["spec"]["versions"]) {
            let schema = &version["schema"]["openAPIV3Schema"];
            inventory.walk(&text(&version["name"]), ".", schema, true);
        }
        inventory
    }

    /// Reads a fact table.
    pub(super) fn parse(table: &str) -> Result<Self> {
        let mut inventory = Self::default();
        let mut columns: Vec<&str> = Vec::new();
        for line in table.lines() {
            if columns.is_empty() {
                match line.strip_prefix("# ") {
                    Some(header) => {
                        let (key, value) = header
                            .split_once(": ")
                            .unwrap_or_else(|| (header.trim_end_matches(':'), ""));
                        inventory.headers.insert(key.to_owned(), value.to_owned());
                    }
                    None => columns = line.split('\t').collect(),
                }
                continue;
            }
            let mut cells: Cells = columns
                .iter()
                .zip(line.split('\t'))
                .filter(|(_, cell)| !cell.is_empty())
                .map(|(column, cell)| ((*column).to_owned(), cell.to_owned()))
                .collect();
            let version = cells.remove("version").context("a row has no version")?;
            let path = cells.remove("path").context("a row has no path")?;
            inventory.rows.insert((version, path), cells);
        }
        Ok(inventory)
    }

    /// How many facts there are.
    pub(super) fn len(&self) -> usize {
        self.headers.len() + self.rows.len()
    }

    /// What is missing, different or extra in `ours`.
    pub(super) fn differences(&self, ours: &Self, crd: &str) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut add = |path: String, what: String| {
            found.push(Difference {
                crd: crd.to_owned(),
                path,
                what,
            })
        };
        for key in self
            .headers
            .keys()
            .chain(ours.headers.keys())
            .collect::<BTreeSet<_>>()
        {
            let what = match (self.headers.get(key), ours.headers.get(key)) {
                (Some(value), None) => format!("missing: {value}"),
                (None, Some(value)) => format!("extra: {value}"),
                (Some(theirs), Some(ours)) if theirs != ours => format!("{theirs} -> {ours}"),
                _ => continue,
            };
            add(format!("# {key}"), what.trim_end().to_owned());
        }
        for key in self.rows.keys().chain(ours.rows.keys()).collect::<BTreeSet<_>>() {
            let path = format!("{} {}", key.0, key.1);
            match (self.rows.get(key), ours.rows.get(key)) {
                (Some(_), None) => add(path, "missing".to_owned()),
                (None, Some(_)) => add(path, "extra".to_owned()),
                (Some(theirs), Some(ours)) => {
                    let columns: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
                    for column in columns {
                        let cell = |cells: &Cells| cells.get(column).cloned().unwrap_or_default();
                        let (theirs, ours) = (cell(theirs), cell(ours));
                        if canonical(column, &theirs) != canonical(column, &ours) {
                            add(
                                path.clone(),
                                format!("{column}: {theirs} -> {ours}").trim_end().to_owned(),
                            );
                        }
                    }
                }
                (None, None) => {}
            }
        }
        found
    }

    fn walk(&mut self, version: &str, path: &str, schema: &Value, required: bool) {
        self.rows
            .insert((version.to_owned(), path.to_owned()), cells(schema, required));
        let base = if path == "." { "" } else { path };
        let wanted: Vec<&str> = list(&schema["required"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for (name, property) in map(&schema["properties"]) {
            let inner = if base.is_empty() {
                name.clone()
            } else {
                format!("{base}.{name}")
            };
            self.walk(version, &inner, property, wanted.contains(&name.as_str()));
        }
        if schema["items"].is_object() {
            self.walk(version, &format!("{base}[]"), &schema["items"], false);
        }
        match &schema["additionalProperties"] {
            Value::Object(_) => self.walk(
                version,
                &format!("{base}{{}}"),
                &schema["additionalProperties"],
                false,
            ),
            Value::Bool(true) => {
                let any = [("type", "any"), ("required", "no")];
                let cells = any
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect();
                self.rows
                    .insert((version.to_owned(), format!("{base}{{}}")), cells);
            }
            _ => {}
        }
    }
}

/// A cell in a form where order without meaning is gone.
fn canonical(column: &str, cell: &str) -> Vec<String> {
    if column != "enum" {
        return vec![cell.to_owned()];
    }
    let mut words = match serde_json::from_str::<Vec<Value>>(cell) {
        Ok(values) => values.iter().map(Value::to_string).collect(),
        Err(_) => cell.split(',').map(str::to_owned).collect::<Vec<_>>(),
    };
    words.sort();
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn crd(property: &Value) -> Value {
        json!({
            "metadata": {"name": "things.example.org"},
            "spec": {
                "group": "example.org", "scope": "Namespaced",
                "names": {"kind": "Thing", "plural": "things"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": property}}},
                }],
            },
        })
    }

    fn changes(from: &Value, to: &Value) -> Vec<String> {
        let found = Inventory::of(&crd(from)).differences(&Inventory::of(&crd(to)), "things");
        found
            .into_iter()
            .map(|found| format!("{} {}", found.path, found.what))
            .collect()
    }

    #[test]
    fn each_kind_of_fact_is_compared() {
        let base = json!({"type": "string"});
        for (change, expected) in [
            (json!({"type": "integer"}), "v1 a type: string -> integer"),
            (
                json!({"type": "string", "enum": ["", "b"]}),
                "v1 a enum:  -> \"\",b",
            ),
            (
                json!({"type": "string", "default": "b"}),
                "v1 a default:  -> \"b\"",
            ),
            (json!({"type": "string", "minimum": 1.0}), "v1 a minimum:  -> 1"),
            (
                json!({"type": "string", "nullable": true}),
                "v1 a nullable:  -> true",
            ),
            (
                json!({"type": "string", "pattern": r"^\d$"}),
                r"v1 a pattern:  -> ^\\d$",
            ),
            (
                json!({"type": "string", "anyOf": [{"type": "b", "description": "c"}]}),
                r#"v1 a combinators:  -> {"anyOf":[{"type":"b"}]}"#,
            ),
        ] {
            assert_eq!(changes(&base, &change), [expected]);
        }
    }

    #[test]
    fn order_of_enum_words_means_nothing() {
        let words = |words: Value| json!({"type": "string", "enum": words});
        assert!(changes(&words(json!(["a", "b"])), &words(json!(["b", "a"]))).is_empty());
        assert_eq!(changes(&words(json!(["a"])), &words(json!(["b"]))).len(), 1);
    }

    #[test]
    fn fields_below_lists_and_maps_are_walked() {
        let of = |inner: Value| json!({"type": "array", "items": {"type": "object", "additionalProperties": inner}});
        let found = changes(&of(json!({"type": "string"})), &of(json!({"type": "boolean"})));
        assert_eq!(found, ["v1 a[]{} type: string -> boolean"]);
    }
}
