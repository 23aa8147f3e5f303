//! Hardware details that the user brings along instead of an inspection.

use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::names;

use crate::pass::{Flow, Pass};
use crate::{EventKind, Next, Write};

/// Takes over the annotation, which is removed in any case: what was inspected counts for more.
pub(crate) fn take_over(pass: &mut Pass<'_>) -> Flow {
    const NAME: &str = names::ANNOTATION_HARDWARE_DETAILS;
    let Some(text) = pass.view.annotation(NAME) else {
        return Ok(());
    };
    if pass.status.hardware.is_some() && !pass.view.inspection_disabled() {
        let message = format!("removing annotation {NAME}: the hardware is known already");
        pass.event(EventKind::Normal, "RemoveAnnotation", message);
    } else {
        match serde_json::from_str::<HardwareDetails>(text) {
            Ok(details) => {
                pass.status.hardware = Some(details);
                let message = format!("hardware details taken from annotation {NAME}");
                pass.event(EventKind::Normal, "UpdateHardwareDetails", message);
            }
            Err(error) => {
                let message = format!("removing annotation {NAME}: it cannot be read: {error}");
                pass.event(EventKind::Warning, "InvalidAnnotationValue", message);
            }
        }
    }
    pass.writes.push(Write::RemoveAnnotations(vec![NAME.into()]));
    Err(pass.end(Next::now()))
}
