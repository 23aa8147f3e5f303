//! JSON patches that say only what differs.

use serde_json::{Map, Value, json};

/// Collects operations against a node as it is.
#[derive(Default)]
pub(super) struct Patch {
    operations: Vec<Value>,
}

impl Patch {
    /// A field of an object such as `driver_info`. Null: the field is to be absent.
    pub(super) fn inner(&mut self, object: &str, current: &Value, key: &str, wanted: &Value) {
        let known = current.get(key);
        if wanted.is_null() {
            // Removing what is not there is refused.
            if known.is_some() {
                self.operations
                    .push(json!({"op": "remove", "path": format!("/{object}/{key}")}));
            }
        } else if known != Some(wanted) {
            self.operations
                .push(json!({"op": "add", "path": format!("/{object}/{key}"), "value": wanted}));
        }
    }

    /// A field of the node itself.
    pub(super) fn field(&mut self, key: &str, current: &Value, wanted: &Value) {
        if current == wanted {
            return;
        }
        self.operations.push(if wanted.is_null() {
            json!({"op": "remove", "path": format!("/{key}")})
        } else {
            json!({"op": "add", "path": format!("/{key}"), "value": wanted})
        });
    }

    /// A whole object, whatever is in it now.
    pub(super) fn replace(&mut self, key: &str, wanted: &Map<String, Value>) {
        self.operations
            .push(json!({"op": "add", "path": format!("/{key}"), "value": wanted}));
    }

    pub(super) fn operations(&self) -> &[Value] {
        &self.operations
    }
}

/// The capabilities with another boot mode; what others put there stays.
pub(super) fn capabilities(current: &Value, boot_mode: metal3_api::metal3::host::BootMode) -> String {
    use metal3_api::metal3::host::BootMode;
    let others = current
        .as_str()
        .unwrap_or_default()
        .split(',')
        .filter(|capability| {
            !capability.is_empty()
                && !capability.starts_with("boot_mode:")
                && !capability.starts_with("secure_boot:")
        });
    let ours = match boot_mode {
        BootMode::Uefi => "boot_mode:uefi",
        BootMode::UefiSecureBoot => "boot_mode:uefi,secure_boot:true",
        BootMode::Legacy => "boot_mode:bios",
    };
    others.chain([ours]).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use metal3_api::metal3::host::BootMode;

    use super::*;

    #[test]
    fn only_differences_are_sent() {
        let mut patch = Patch::default();
        let info = json!({"a": 1, "b": 2});
        patch.inner("driver_info", &info, "a", &json!(1));
        patch.inner("driver_info", &info, "b", &Value::Null);
        patch.inner("driver_info", &info, "c", &Value::Null);
        patch.inner("driver_info", &info, "d", &json!("x"));
        assert_eq!(
            patch.operations(),
            [
                json!({"op": "remove", "path": "/driver_info/b"}),
                json!({"op": "add", "path": "/driver_info/d", "value": "x"})
            ]
        );
    }

    #[test]
    fn other_capabilities_are_kept() {
        let current = json!("iscsi_boot:true,boot_mode:bios");
        assert_eq!(
            capabilities(&current, BootMode::Uefi),
            "iscsi_boot:true,boot_mode:uefi"
        );
        assert_eq!(capabilities(&Value::Null, BootMode::Legacy), "boot_mode:bios");
    }
}
