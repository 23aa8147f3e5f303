//! The end of an attempt, and of all of them.

use super::ask::{Ask, Progress, Seen};
use super::draft::{Draft, Reason, Wait};
use super::{Host, Phase, Step};
use crate::machine::Trouble;

const FAILED: &str = "RemediationFailed";

/// The time of an attempt is over: the next one, or none.
pub(super) fn attempt_over(mut draft: Draft<'_>, seen: &Seen, host: &Host) -> Step {
    let (count, limit) = (draft.view.retry_count(), draft.view.strategy().retry_limit);
    if count >= limit {
        let why = format!("{} reboots did not help", limit.saturating_add(1));
        return give_up(draft, seen, Some(host), &why);
    }
    let count = count.saturating_add(1);
    let message = format!(
        "the Machine is still unhealthy: host {} is rebooted again (retry {count} of {limit})",
        host.key
    );
    draft.event(true, "RemediationRetried", message);
    draft.attempt(Some(count))
}

/// Whoever owns the Machine replaces it. Its host is not held any more, and nobody claims it again.
pub(super) fn give_up(mut draft: Draft<'_>, seen: &Seen, host: Option<&Host>, why: &str) -> Step {
    let owned = host.and_then(|host| Some((draft.view.hold(host.key.clone())?, draft.view.consumer()?)));
    if let Some((hold, consumer)) = owned {
        match &seen.trouble {
            Some(Trouble::Unavailable(_)) | None => {
                if !seen.released {
                    return draft.ask(seen, Ask::Release(hold));
                }
                if !seen.marked {
                    let host = hold.host;
                    return draft.ask(seen, Ask::Mark { host, consumer });
                }
            }
            // Who may not mark the host must not keep the Machine for ever.
            Some(Trouble::Denied(_) | Trouble::Invalid(_)) => {}
        }
    }
    let message = format!("Machine {} is given up: {why}", draft.view.machine_name());
    if !seen.handed_over {
        return Step::Ask(Box::new(Ask::HandOver(Progress {
            reason: FAILED,
            message,
        })));
    }
    if let Some(Trouble::Denied(trouble) | Trouble::Invalid(trouble)) = &seen.trouble {
        let message = format!("the host may be held off and claimed again: {trouble}");
        draft.event(true, "HostNotMarked", message);
    }
    draft.event(true, "RemediationExhausted", message);
    draft.enter(Phase::DeletingMachine)
}

/// The user wants the host off.
pub(super) fn fail(mut draft: Draft<'_>, seen: &Seen, host: &Host) -> Step {
    let refused = matches!(&seen.trouble, Some(Trouble::Denied(_) | Trouble::Invalid(_)));
    if let Some(hold) = draft.view.hold(host.key.clone())
        && !seen.released
        && !refused
    {
        return draft.ask(seen, Ask::Release(hold));
    }
    let message = format!(
        "host {} is switched off (spec.online: false), so a reboot would not help; switch it on and delete this object",
        host.key
    );
    let progress = Progress {
        reason: FAILED,
        message: message.clone(),
    };
    if let Some(ask) = draft.tell(seen, progress) {
        return ask;
    }
    draft.event(true, FAILED, message);
    draft.enter(Phase::Failed)
}

/// The Machine goes: its host is let go, and nothing more is begun.
pub(super) fn machine_goes(draft: Draft<'_>, seen: &Seen) -> Step {
    let hold = draft.view.host().and_then(|host| draft.view.hold(host));
    if let Some(hold) = hold.filter(|_| !seen.released) {
        return draft.ask(seen, Ask::Release(hold));
    }
    let wait = Wait::new(Reason::MachineDeleting, "the Machine is being deleted");
    draft.wait_silently(wait, None)
}
