//! Conversion loses nothing, for any object that the schemas allow.
//!
//! The objects are generated from the schemas of the CRDs, so a new field is covered the moment it exists.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use metal3_api::{
    infra::{self, conversion::convert},
    names::{ANNOTATION_CONVERSION_DATA, ANNOTATION_V1BETA1_DATA},
};
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::select,
    strategy::Union,
};
use serde_json::{Map, Value, json};

const OLD: &str = "infrastructure.cluster.x-k8s.io/v1beta1";
const NEW: &str = "infrastructure.cluster.x-k8s.io/v1beta2";

fn text(schema: &Value, name: &str) -> BoxedStrategy<Value> {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<Value> = words.iter().filter(|word| !word.is_null()).cloned().collect();
        return select(words).boxed();
    }
    match schema["format"].as_str() {
        Some("date-time") => select(vec!["2026-01-02T03:04:05Z", "2026-05-06T07:08:09Z"])
            .prop_map_into()
            .boxed(),
        // An absent URL or method is the same as an empty one, and is never written as empty.
        _ if name == "url" || name == "method" => select(vec!["http://a/b", "c"]).prop_map_into().boxed(),
        _ if name == "timeout" => select(vec!["10m0s", "1m45.9s", "60s", "0", "0s", "-3s", "soon", ""])
            .prop_map_into()
            .boxed(),
        _ => select(vec!["", "a", "b", "c d"]).prop_map_into().boxed(),
    }
}

fn integer(schema: &Value) -> BoxedStrategy<Value> {
    let wide = schema["format"] != "int32";
    Union::new_weighted(vec![
        (3, select(vec![-1i64, 0, 1, 2, 100]).boxed()),
        (
            1,
            if wide {
                any::<i64>().boxed()
            } else {
                any::<i32>().prop_map(i64::from).boxed()
            },
        ),
    ])
    .prop_map_into()
    .boxed()
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(values) = schema.get("additionalProperties") {
        return btree_map("[abc]", value(values, ""), 1..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
            .boxed();
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut fields = Just(Map::new()).boxed();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let name = name.clone();
        let field = if required.contains(&json!(name)) {
            value(schema, &name).prop_map(Some).boxed()
        } else {
            proptest::option::weighted(0.6, value(schema, &name)).boxed()
        };
        fields = (fields, field)
            .prop_map(move |(mut fields, value)| {
                fields.extend(value.map(|value| (name.clone(), value)));
                fields
            })
            .boxed();
    }
    fields.prop_map(Value::Object).boxed()
}

fn value(schema: &Value, name: &str) -> BoxedStrategy<Value> {
    match schema["type"].as_str() {
        Some("string") => text(schema, name),
        Some("integer") => integer(schema),
        Some("boolean") => any::<bool>().prop_map_into().boxed(),
        Some("array") => vec(value(&schema["items"], name), 1..3)
            .prop_map(Value::Array)
            .boxed(),
        Some("object") => object(schema),
        // A value of any type; `null` as a field is the same as no field, but as a map entry it counts.
        None if name.is_empty() => {
            select(vec![json!(null), json!(100), json!("x"), json!({"a": [1]})]).boxed()
        }
        None => select(vec![json!(100), json!("x"), json!({"a": [1]})]).boxed(),
        other => panic!("no strategy for type {other:?} of {name}"),
    }
}

/// For each kind, objects in `version`, with and without status and annotations.
fn kinds(api_version: &'static str) -> Vec<BoxedStrategy<Value>> {
    let version = api_version.rsplit('/').next().unwrap();
    let strategies = infra::crds().into_iter().map(|crd| {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].clone();
        let versions = crd["spec"]["versions"].as_array().unwrap();
        let served = versions.iter().find(|served| served["name"] == version).unwrap();
        let schema = &served["schema"]["openAPIV3Schema"];
        let status = match schema["properties"].get("status") {
            Some(status) => proptest::option::of(value(status, "status")).boxed(),
            None => Just(None).boxed(),
        };
        (
            value(&schema["properties"]["spec"], "spec"),
            status,
            any::<bool>(),
        )
            .prop_map(move |(spec, status, annotated)| {
                let mut object = json!({
                    "apiVersion": api_version,
                    "kind": kind,
                    "metadata": {"name": "x", "namespace": "ns", "uid": "u", "labels": {"l": "v"}},
                    "spec": spec,
                });
                if annotated {
                    object["metadata"]["annotations"] = json!({"mine": "kept"});
                }
                if let Some(status) = status {
                    object["status"] = status;
                }
                object
            })
            .boxed()
    });
    strategies.collect()
}

fn objects(api_version: &'static str) -> impl Strategy<Value = Value> {
    Union::new(kinds(api_version))
}

/// Two objects of the same kind.
fn pairs(api_version: &'static str) -> impl Strategy<Value = (Value, Value)> {
    Union::new(
        kinds(api_version)
            .into_iter()
            .map(|objects| (objects.clone(), objects).boxed()),
    )
}

fn without_originals(mut object: Value) -> Value {
    if let Some(annotations) = object["metadata"]
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(ANNOTATION_CONVERSION_DATA);
        annotations.remove(ANNOTATION_V1BETA1_DATA);
    }
    let empty = object["metadata"]
        .get("annotations")
        .is_some_and(|annotations| annotations == &json!({}));
    if empty {
        object["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    object
}

/// What an update of spec and status by a client does to an object it has read.
fn edited(read: &Value, other: &Value) -> Value {
    let mut object = read.clone();
    object["spec"] = other["spec"].clone();
    if let (Some(_), Some(status)) = (object.get("status"), other.get("status")) {
        object["status"] = status.clone();
    }
    object
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_old_object_is_read_back_as_it_was_written(old in objects(OLD)) {
        let new = convert(old.clone(), NEW).unwrap();
        prop_assert_eq!(&new["apiVersion"], NEW);
        prop_assert_eq!(convert(new, OLD).unwrap(), old);
    }

    #[test]
    fn a_stored_object_survives_a_trip_through_the_old_version(new in objects(NEW)) {
        let old = convert(new.clone(), OLD).unwrap();
        prop_assert_eq!(&old["apiVersion"], OLD);
        prop_assert_eq!(convert(old, NEW).unwrap(), new);
    }

    #[test]
    fn a_stored_object_with_an_original_survives_a_trip_through_the_old_version((old, new) in pairs(OLD)) {
        let stored = convert(old, NEW).unwrap();
        let changed = edited(&stored, &convert(new, NEW).unwrap());
        let seen = convert(changed.clone(), OLD).unwrap();
        prop_assert_eq!(convert(seen.clone(), NEW).unwrap(), changed);
        // Reading and writing back unchanged must not grow or change the annotation either.
        let again = convert(convert(seen.clone(), NEW).unwrap(), OLD).unwrap();
        prop_assert_eq!(again, seen);
    }

    #[test]
    fn an_update_through_the_old_version_is_read_back_as_written((new, other) in pairs(NEW)) {
        let read = convert(new, OLD).unwrap();
        let written = edited(&read, &convert(other, OLD).unwrap());
        let stored = convert(written.clone(), NEW).unwrap();
        prop_assert_eq!(
            without_originals(convert(stored, OLD).unwrap()),
            without_originals(written)
        );
    }

    #[test]
    fn an_update_of_a_stored_object_is_kept_as_written((old, other) in pairs(OLD)) {
        let stored = convert(old, NEW).unwrap();
        let updated = edited(&stored, &convert(other, NEW).unwrap());
        let seen = convert(updated.clone(), OLD).unwrap();
        prop_assert_eq!(without_originals(convert(seen, NEW).unwrap()), without_originals(updated));
    }
}
