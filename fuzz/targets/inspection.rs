//! Inspection data: whatever Ironic sends, the details can be stored and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_ironic::untrusted::hardware;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(data) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let Ok(mut details) = hardware(&data) else { return };
    assert!(details.ram_mebibytes.is_none_or(|size| size > 0));
    let clock = details.cpu.as_mut().and_then(|cpu| cpu.clock_megahertz.take());
    assert!(clock.is_none_or(|clock| clock > 0.0 && clock < 1e6), "{clock:?}");
    let stored = serde_json::to_string(&details).expect("JSON");
    let read: HardwareDetails = serde_json::from_str(&stored).expect("what was stored");
    // Empty parts come back as absent ones.
    assert_eq!(serde_json::to_string(&read).expect("JSON"), stored);
});
