//! Hardware details that the user brings along instead of an inspection, in the HardwareData or an annotation.

use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::names;

use crate::pass::Pass;
use crate::{EventKind, Write};

/// Takes over what is brought along: HardwareData counts for more than the annotation, which is removed in any case. What
/// was inspected counts for more than both, unless inspection is disabled.
pub(crate) fn take_over(pass: &mut Pass<'_>) {
    const NAME: &str = names::ANNOTATION_HARDWARE_DETAILS;
    let welcome = pass.status.hardware.is_none() || pass.view.inspection_disabled();
    let stored = pass.view.hardware.and_then(|data| data.spec.hardware.as_ref());
    if let Some(details) = stored
        && welcome
    {
        take(pass, details.clone(), "HardwareData");
    }
    let Some(text) = pass.view.annotation(NAME) else {
        return;
    };
    if !welcome {
        let message = format!("removing annotation {NAME}: the hardware is known already");
        pass.event(EventKind::Normal, "RemoveAnnotation", message);
    } else if stored.is_some() {
        let message = format!("removing annotation {NAME}: the HardwareData of the host counts for more");
        pass.event(EventKind::Normal, "RemoveAnnotation", message);
    } else {
        match HardwareDetails::read_strictly(text) {
            Ok(details) => take(pass, details, &format!("annotation {NAME}")),
            Err(error) => {
                let message = format!("removing annotation {NAME}: it cannot be read: {error}");
                pass.event(EventKind::Warning, "InvalidAnnotationValue", message);
            }
        }
    }
    pass.writes.push(Write::RemoveAnnotations(vec![NAME.into()]));
}

fn take(pass: &mut Pass<'_>, details: HardwareDetails, from: &str) {
    if pass.status.hardware.as_ref() != Some(&details) {
        pass.status.hardware = Some(details);
        let message = format!("hardware details taken from {from}");
        pass.event(EventKind::Normal, "UpdateHardwareDetails", message);
    }
}
