//! The condition `Waiting`: reason, since when (its transition time), until when, and what to do about it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use metal3_api::conditions::{self, New, Status};
use metal3_api::metal3::host::BareMetalHostStatus;
use metal3_provisioner::WaitReason;

use crate::conditions::WAITING;
use crate::{Next, Requeue};

/// What is told stands for this long at least: backends go through some steps within moments, and a write for each would
/// tell nobody anything.
const CALM: SignedDuration = SignedDuration::from_secs(10);
/// How often the place in a queue is told anew: it changes with each host that leaves the queue.
const QUEUE: SignedDuration = SignedDuration::from_secs(60);

/// Tells what is waited for. Its transition time is when this wait began, so it moves with the reason too. Gives back when
/// to look again: sooner, if what is told is to be replaced.
pub(crate) fn tell(
    status: &mut BareMetalHostStatus,
    next: Next,
    moved: bool,
    generation: Option<i64>,
    now: Timestamp,
) -> Next {
    let old = conditions::find(&status.conditions, WAITING).cloned();
    let Some(reason) = next.reason else {
        // A host that never waited needs no condition to say so.
        if old.is_some() {
            set(
                status,
                Status::False,
                "NotWaiting",
                String::new(),
                generation,
                now,
            );
        }
        return next;
    };
    // Each failure begins a wait of its own, also one that reads like the last.
    let failed = matches!(next.requeue, Requeue::Backoff { .. });
    let told = old.filter(|old| !failed && old.status == "True");
    if !moved && let Some(told) = &told {
        match stands(told, reason, status, now) {
            Stands::No => {}
            Stands::Yes => return next,
            Stands::For(left) => return next.no_later_than(left),
        }
    }
    let since = told
        .filter(|told| !moved && told.reason == reason.code())
        .map_or_else(|| conditions::time(now), |told| told.last_transition_time);
    let mut message = format!("waiting for {} since {}", reason.awaits(), since.0);
    if let Some(deadline) = deadline(reason, since.0) {
        message.push_str(&format!(", at most until {deadline}"));
    }
    if !next.detail.is_empty() {
        message.push_str(&format!("; {}", next.detail));
    }
    message.push_str(&format!(
        "; to help: {}",
        next.remedy.unwrap_or_else(|| reason.remedy())
    ));
    conditions::remove(&mut status.conditions, WAITING);
    set(status, Status::True, reason.code(), message, generation, since.0);
    next
}

fn set(
    status: &mut BareMetalHostStatus,
    holds: Status,
    reason: &str,
    message: String,
    generation: Option<i64>,
    now: Timestamp,
) {
    let new = New {
        type_: WAITING,
        status: holds,
        reason,
        message,
    };
    conditions::set(&mut status.conditions, new, generation, now);
}

fn deadline(reason: WaitReason, since: Timestamp) -> Option<Timestamp> {
    reason.budget().and_then(|budget| since.checked_add(budget).ok())
}

enum Stands {
    No,
    Yes,
    For(SignedDuration),
}

/// Whether what was told of the same state may stay, although it is not all that is known.
fn stands(told: &Condition, reason: WaitReason, status: &BareMetalHostStatus, now: Timestamp) -> Stands {
    let since = told.last_transition_time.0;
    let Some(old) = WaitReason::from_code(&told.reason) else {
        return Stands::No;
    };
    if old == reason {
        let fresh = || {
            let written = status.last_updated.as_ref();
            written.is_some_and(|written| now.duration_since(written.0) < QUEUE)
        };
        // What failed was told in full; while its back-off lasts, less is known.
        let stands = reason == WaitReason::RetryBackoff || reason == WaitReason::NoCapacity && fresh();
        return if stands { Stands::Yes } else { Stands::No };
    }
    if !progress(old) || !progress(reason) {
        return Stands::No;
    }
    let overdue = deadline(old, since).is_some_and(|deadline| deadline <= now);
    if brief(reason) && !brief(old) && !overdue {
        return Stands::Yes;
    }
    let left = CALM.saturating_sub(now.duration_since(since));
    if left.is_positive() {
        Stands::For(left)
    } else {
        Stands::No
    }
}

/// Steps of an operation that goes well; all others are told at once.
const fn progress(reason: WaitReason) -> bool {
    use WaitReason as W;
    brief(reason)
        || matches!(
            reason,
            W::VerifyingBmcAccess
                | W::Inspecting
                | W::Preparing
                | W::Cleaning
                | W::Deploying
                | W::Adopting
                | W::Undeploying
                | W::PowerChanging
                | W::RemovingNode
                | W::Servicing
        )
}

/// What passes by while the operation goes on, and says less than the operation does.
const fn brief(reason: WaitReason) -> bool {
    matches!(reason, WaitReason::BackendTransition | WaitReason::NodeLocked)
}
