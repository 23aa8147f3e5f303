//! Root device hints in Ironic's language.

use metal3_api::metal3::host::RootDeviceHints;
use serde_json::{Map, Value, json};

/// The map for `instance_info.root_device`; empty without hints.
pub(super) fn root_device(hints: Option<&RootDeviceHints>) -> Value {
    let Some(hints) = hints else { return json!({}) };
    let mut map = Map::new();
    let mut put = |key: &str, operator: &str, value: &Option<String>| {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            map.insert(key.to_owned(), json!(format!("{operator} {value}")));
        }
    };
    let by_path = hints
        .device_name
        .as_deref()
        .is_some_and(|name| name.starts_with("/dev/disk/by-path/"));
    put(
        if by_path { "by_path" } else { "name" },
        "s==",
        &hints.device_name,
    );
    put("hctl", "s==", &hints.hctl);
    put("model", "<in>", &hints.model);
    put("vendor", "<in>", &hints.vendor);
    put("serial", "s==", &hints.serial_number);
    put("wwn", "s==", &hints.wwn);
    put("wwn_with_extension", "s==", &hints.wwn_with_extension);
    put("wwn_vendor_extension", "s==", &hints.wwn_vendor_extension);
    if let Some(size) = hints.min_size_gigabytes.filter(|size| *size != 0) {
        map.insert("size".into(), json!(format!(">= {size}")));
    }
    if let Some(rotational) = hints.rotational {
        map.insert("rotational".into(), json!(rotational.to_string()));
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_become_operators() {
        let hints = RootDeviceHints {
            device_name: Some("/dev/disk/by-path/pci-1".into()),
            model: Some("EX".into()),
            min_size_gigabytes: Some(10),
            rotational: Some(false),
            ..RootDeviceHints::default()
        };
        let expected = json!({"by_path": "s== /dev/disk/by-path/pci-1", "model": "<in> EX", "size": ">= 10", "rotational": "false"});
        assert_eq!(root_device(Some(&hints)), expected);
        assert_eq!(root_device(None), json!({}));
    }
}
