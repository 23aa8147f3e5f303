//! Gives back what the other version could not show, without undoing what a writer changed.

use serde_json::{Map, Value};

/// Keys that say which element of a list an object is.
const IDENTITY: [&str; 6] = ["id", "name", "key", "index", "network", "type"];

/// Merges two descendants of `base`, field by field: what only `theirs` changed is taken from
/// there; everything else is `ours`.
///
/// `base` and `ours` went through a lossy conversion, `theirs` did not. With `ours` equal to `base`
/// nobody changed anything and the result is `theirs`.
pub(super) fn merge(base: &Value, ours: &Value, theirs: &Value) -> Value {
    if ours == base {
        return theirs.clone();
    }
    match (base, ours, theirs) {
        (Value::Object(base), Value::Object(ours), Value::Object(theirs))
            if !is_reference(base) && !is_reference(ours) && !is_reference(theirs) =>
        {
            Value::Object(merge_fields(base, ours, theirs))
        }
        (Value::Array(base), Value::Array(ours), Value::Array(theirs))
            if base.len() == ours.len() && base.len() == theirs.len() =>
        {
            let elements = base.iter().zip(ours).zip(theirs);
            Value::Array(
                elements
                    .map(|((base, ours), theirs)| {
                        if same_element(base, ours) && same_element(base, theirs) {
                            merge(base, ours, theirs)
                        } else {
                            ours.clone()
                        }
                    })
                    .collect(),
            )
        }
        _ => ours.clone(),
    }
}

fn merge_fields(
    base: &Map<String, Value>,
    ours: &Map<String, Value>,
    theirs: &Map<String, Value>,
) -> Map<String, Value> {
    let added = theirs.keys().filter(|name| !ours.contains_key(*name));
    ours.keys()
        .chain(added)
        .filter_map(|name| {
            let value = match (base.get(name), ours.get(name), theirs.get(name)) {
                (Some(base), Some(ours), Some(theirs)) => merge(base, ours, theirs),
                (base, ours, theirs) if base == ours => theirs?.clone(),
                (_, ours, _) => ours?.clone(),
            };
            Some((name.clone(), value))
        })
        .collect()
}

/// A reference is one fact: the UID of one object does not belong to the name of another.
fn is_reference(fields: &Map<String, Value>) -> bool {
    const PARTS: [&str; 8] = [
        "apiGroup",
        "apiVersion",
        "fieldPath",
        "kind",
        "name",
        "namespace",
        "resourceVersion",
        "uid",
    ];
    !fields.is_empty() && fields.keys().all(|name| PARTS.contains(&name.as_str()))
}

fn same_element(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => IDENTITY.iter().all(|key| a.get(*key) == b.get(*key)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn an_untouched_object_gets_everything_back() {
        let base = json!({"a": 1});
        let theirs = json!({"a": 1, "hidden": {"b": 2}});
        assert_eq!(merge(&base, &base, &theirs), theirs);
    }

    #[test]
    fn a_changed_field_stays_changed_and_its_neighbours_come_back() {
        let base = json!({"spec": {"image": "x", "list": [1, 2]}});
        let ours = json!({"spec": {"image": "y", "list": [1, 2]}});
        let theirs = json!({"spec": {"image": "x", "list": [1, 2, 3], "hidden": true}});
        let merged = json!({"spec": {"image": "y", "list": [1, 2, 3], "hidden": true}});
        assert_eq!(merge(&base, &ours, &theirs), merged);
    }

    #[test]
    fn a_removed_field_stays_removed() {
        let base = json!({"spec": {"image": {"url": "x"}, "n": 1}});
        let ours = json!({"spec": {"n": 1}});
        let theirs = json!({"spec": {"image": {"url": "x", "hidden": 1}, "n": 1}});
        assert_eq!(merge(&base, &ours, &theirs), ours);
    }

    #[test]
    fn what_belonged_to_one_list_element_does_not_move_to_another() {
        let base = json!([{"id": "a", "mtu": 1}]);
        let ours = json!([{"id": "b", "mtu": 1}]);
        let theirs = json!([{"id": "a", "mtu": 1, "hidden": 1}]);
        assert_eq!(merge(&base, &ours, &theirs), ours);
    }

    #[test]
    fn a_reference_to_another_object_does_not_keep_the_old_uid() {
        let base = json!({"template": {"name": "a"}, "n": 1});
        let ours = json!({"template": {"name": "b"}, "n": 1});
        let theirs = json!({"template": {"name": "a", "uid": "u"}, "n": 1});
        assert_eq!(merge(&base, &ours, &theirs), ours);
    }
}
