//! What reads data of others, for the fuzzer: `fuzz/` is no part of the workspace.

use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::host::RootDeviceHints;
use serde_json::Value;

/// Inspection data as hardware details.
///
/// # Errors
/// When there is no inventory at all.
pub fn hardware(data: &Value) -> Result<HardwareDetails, &'static str> {
    super::inventory::details(data)
}

/// Root device hints in Ironic's language.
pub fn root_device(hints: Option<&RootDeviceHints>) -> Value {
    super::hints::root_device(hints)
}
