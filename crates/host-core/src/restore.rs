//! A status that came with the object, by `clusterctl move`, is taken over once.

use metal3_api::metal3::saved;
use metal3_api::names;
use metal3_provisioner::WaitReason;

use crate::pass::{Flow, Pass};
use crate::{EventKind, Finish, Next, Step, Write};

/// Goes on if no saved status came along.
pub(crate) fn restore(pass: &mut Pass<'_>) -> Flow {
    let Some(text) = pass.view.annotation(names::ANNOTATION_STATUS) else {
        return Ok(());
    };
    if pass.status.last_updated.is_none() {
        match saved::read(text) {
            Ok(status) => {
                pass.status = status;
                if let Some(hardware) = pass.view.hardware.and_then(|data| data.spec.hardware.clone()) {
                    pass.status.hardware = Some(hardware);
                }
            }
            Err(_) if pass.view.deleting() => {}
            Err(error) => return Err(hold(pass, &error)),
        }
    }
    pass.writes
        .push(Write::RemoveAnnotations(vec![names::ANNOTATION_STATUS.into()]));
    if !pass.view.has_finalizer() && !pass.view.deleting() {
        pass.finish = Finish::AddFinalizer;
    }
    let mut verdict = pass.verdict(Next::now());
    // The machine did not move: the host comes as it was.
    verdict.transitions.clear();
    Err(Step::Finish(Box::new(verdict)))
}

/// Dropping it would make the host a new one: inspected and cleaned, whatever runs on it.
fn hold(pass: &mut Pass<'_>, error: &serde_json::Error) -> Step {
    let cause = format!("the annotation cannot be read: {error}");
    if !crate::conditions::waits_for(&pass.status, WaitReason::StatusUnreadable) {
        pass.event(EventKind::Warning, "InvalidAnnotationValue", cause.clone());
    }
    let next = Next::on_change(WaitReason::StatusUnreadable).with_detail(cause);
    let mut verdict = pass.verdict(next);
    // A status that was never updated is what lets the annotation in once it is corrected.
    verdict.status.last_updated = None;
    Step::Finish(Box::new(verdict))
}
