//! Root device hints: whatever they are, Ironic gets a map of operators and values.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metal3_api::metal3::host::RootDeviceHints;
use metal3_ironic::untrusted::root_device;

fuzz_target!(|data: &[u8]| {
    let Ok(hints) = serde_json::from_slice::<RootDeviceHints>(data) else {
        return;
    };
    let device = root_device(Some(&hints));
    for (key, value) in device.as_object().expect("a map") {
        let text = value.as_str().expect("a text");
        let fine = match key.as_str() {
            "rotational" => matches!(text, "true" | "false"),
            "size" => text.starts_with(">= "),
            "model" | "vendor" => text.starts_with("<in> "),
            _ => text.starts_with("s== "),
        };
        assert!(fine, "{key}: {text}");
    }
    let again = serde_json::to_vec(&hints).expect("JSON");
    assert_eq!(
        serde_json::from_slice::<RootDeviceHints>(&again).expect("what was written"),
        hints
    );
});
