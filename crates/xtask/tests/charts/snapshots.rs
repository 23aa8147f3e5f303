//! What is rendered, for people to read in a review.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{cases, helm};

/// By id, without the CRDs and without the labels that are the same everywhere; other tests look at these.
fn without_noise(objects: &[Value]) -> BTreeMap<String, Value> {
    let mut shown = BTreeMap::new();
    for object in objects {
        let mut object = object.clone();
        if object["kind"] == "CustomResourceDefinition" {
            continue;
        }
        let id = helm::id(&object);
        if let Some(labels) = object["metadata"]["labels"].as_object_mut() {
            labels.retain(|name, _| !name.starts_with("app.kubernetes.io/") && name != "helm.sh/chart");
            if labels.is_empty() {
                object["metadata"].as_object_mut().unwrap().remove("labels");
            }
        }
        assert!(shown.insert(id.clone(), object).is_none(), "{id} is there twice");
    }
    shown
}

#[test]
fn renders_are_as_reviewed() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut defaults = BTreeMap::new();
    let mut stale = Vec::new();
    for (name, objects) in cases::all() {
        let shown = without_noise(objects);
        let mut text = String::from("# Written by UPDATE_SNAPSHOTS=1 cargo test -p xtask --test charts\n");
        if *name != "defaults" {
            text.push_str("# Only what differs from defaults.yaml.\n");
        }
        for id in defaults.keys().filter(|id| !shown.contains_key(*id)) {
            writeln!(text, "# absent: {id}").unwrap();
        }
        for (id, object) in &shown {
            if defaults.get(id) != Some(object) {
                write!(text, "---\n{}", serde_saphyr::to_string(object).unwrap()).unwrap();
            }
        }
        if *name == "defaults" {
            defaults = shown;
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/charts")
            .join(format!("{name}.yaml"));
        if update {
            fs::write(&file, text).unwrap();
        } else if fs::read_to_string(&file).ok() != Some(text) {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "the charts render something else than crates/xtask/tests/charts/*.yaml for {stale:?}: look at the difference with \
         UPDATE_SNAPSHOTS=1 cargo test -p xtask --test charts, then commit it"
    );
}
