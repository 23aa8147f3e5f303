//! HostFirmwareComponents.

use metal3_api::metal3::firmware_components::HostFirmwareComponentsSpec;
use serde_json::Value;

use crate::problem::Problem;
use crate::{Subject, image, spec};

/// A HostFirmwareComponents.
#[derive(Clone, Debug)]
pub struct FirmwareComponents(HostFirmwareComponentsSpec);

impl Subject for FirmwareComponents {
    fn read(object: &Value) -> Result<Self, serde_json::Error> {
        spec(object).map(Self)
    }

    fn problems(&self) -> Vec<Problem> {
        let updates = self.0.updates.iter().enumerate();
        updates
            .filter_map(|(index, update)| image::location(&format!("spec.updates[{index}].url"), &update.url))
            .collect()
    }
}
