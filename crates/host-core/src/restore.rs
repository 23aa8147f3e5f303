//! A status that came with the object, by `clusterctl move`, is taken over once.

use metal3_api::metal3::host::BareMetalHostStatus;
use metal3_api::names;
use metal3_provisioner::WaitReason;
use serde_json::Value;

use crate::pass::{Flow, Pass};
use crate::{EventKind, Finish, Next, Step, Write};

/// Goes on if no saved status came along.
pub(crate) fn restore(pass: &mut Pass<'_>) -> Flow {
    let Some(saved) = pass.view.annotation(names::ANNOTATION_STATUS) else {
        return Ok(());
    };
    if pass.status.last_updated.is_none() {
        match read(saved) {
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
    verdict.transition = None;
    Err(Step::Finish(Box::new(verdict)))
}

/// As upstream reads it: what is absent or null is zero, what is unknown is ignored. Older versions wrote less.
fn read(saved: &str) -> Result<BareMetalHostStatus, serde_json::Error> {
    let saved: serde_json::Map<String, Value> = serde_json::from_str(saved)?;
    let mut status = serde_json::to_value(BareMetalHostStatus::default())?;
    overlay(&mut status, Value::Object(saved));
    serde_json::from_value(status)
}

fn overlay(under: &mut Value, over: Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                overlay(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
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
