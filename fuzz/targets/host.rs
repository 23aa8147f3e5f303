//! Any object as a host, or two as a change: a judgement, and none on what did not change.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metal3_admission::{Attachment, EventSubscription, FirmwareComponents, Host, HostClaim, review, users};
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Ok(data) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let (object, old) = match data {
        Value::Array(both) => (both.first().cloned().unwrap_or_default(), both.get(1).cloned()),
        object => (object, None),
    };
    for error in review::<Host>(&object, old.as_ref()).errors {
        assert!(error.contains(": "), "{error}");
    }
    assert!(review::<Host>(&object, Some(&object)).errors.is_empty());
    review::<HostClaim>(&object, old.as_ref());
    review::<EventSubscription>(&object, old.as_ref());
    review::<FirmwareComponents>(&object, old.as_ref());
    review::<Attachment>(&object, old.as_ref());
    users(&object, "a", "b");
    if object.is_object() && (object["metadata"].is_object() || object["metadata"].is_null()) {
        let mut deleting = object;
        deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(review::<Host>(&deleting, old.as_ref()).errors.is_empty());
    }
});
