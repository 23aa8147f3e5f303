//! The end of an attempt, and of all of them.

use metal3_api::names;

use super::ask::{Ask, Progress, Seen};
use super::draft::{Draft, Reason, Wait};
use super::{ANNOTATION_TO_MARK, Host, Phase, Step};
use crate::host::HostKey;
use crate::machine::Trouble;

const FAILED: &str = "RemediationFailed";
const NOT_MARKED: &str = "HostNotMarked";

/// The time of an attempt is over: the next one, or none.
pub(super) fn attempt_over(mut draft: Draft<'_>, seen: &Seen, host: HostKey) -> Step {
    let (count, limit) = (draft.view.retry_count(), draft.view.strategy().retry_limit);
    if count >= limit {
        let why = match &seen.trouble {
            Some(Trouble::Unavailable(why) | Trouble::Denied(why) | Trouble::Invalid(why))
                if seen.host.is_none() =>
            {
                format!("host {host} could not be rebooted: {why}")
            }
            Some(_) | None => format!("{} reboots did not help", limit.saturating_add(1)),
        };
        return give_up(draft, seen, Some(host), &why);
    }
    let count = count.saturating_add(1);
    let message =
        format!("the Machine is still unhealthy: host {host} is rebooted again (retry {count} of {limit})");
    draft.event(true, "RemediationRetried", message);
    draft.attempt(Some(count))
}

/// Whoever owns the Machine replaces it. Its host is not held any more, and nobody claims it again.
pub(super) fn give_up(mut draft: Draft<'_>, seen: &Seen, host: Option<HostKey>, why: &str) -> Step {
    let host_given_up = host
        .clone()
        .map_or(HostGivenUp::Yes, |host| give_host_up(&draft, seen, host));
    if let HostGivenUp::Ask(ask) = host_given_up {
        return Step::Ask(ask);
    }
    let message = format!("Machine {} is given up: {why}", draft.view.machine_name());
    if !seen.handed_over {
        return Step::Ask(Box::new(Ask::HandOver(Progress {
            reason: FAILED,
            message,
        })));
    }
    match host_given_up {
        HostGivenUp::Refused(why) => refused(&mut draft, &why),
        HostGivenUp::Unmarked(why) => unmarked(&mut draft, why),
        HostGivenUp::Later(why) => {
            draft.annotate(ANNOTATION_TO_MARK, host.map(|host| host.to_string()));
            let message = format!("the host is let go and marked unhealthy later: {why}");
            draft.event(true, NOT_MARKED, message);
        }
        HostGivenUp::Ask(_) | HostGivenUp::Yes => {}
    }
    draft.event(true, "RemediationExhausted", message);
    draft.enter(Phase::DeletingMachine)
}

/// The Machine was given up while the host service did not answer: what was to be done on the host is done when it does.
pub(super) fn make_up(mut draft: Draft<'_>, seen: &Seen, host: HostKey) -> Step {
    match give_host_up(&draft, seen, host) {
        HostGivenUp::Ask(ask) => return Step::Ask(ask),
        HostGivenUp::Later(why) => return draft.trouble(seen, &Trouble::Unavailable(why)),
        HostGivenUp::Refused(why) => refused(&mut draft, &why),
        HostGivenUp::Unmarked(why) => unmarked(&mut draft, why),
        HostGivenUp::Yes => {}
    }
    draft.annotate(ANNOTATION_TO_MARK, None);
    draft.end()
}

/// Who may not mark the host must not keep the Machine for ever.
pub(super) fn refused(draft: &mut Draft<'_>, why: &str) {
    let message = format!("the host may be held off and claimed again: {why}");
    draft.event(true, NOT_MARKED, message);
}

/// The machine has given the host back meanwhile: only a person can mark it now.
pub(super) fn unmarked(draft: &mut Draft<'_>, why: String) {
    draft.event(true, NOT_MARKED, why);
}

/// Whether a host is held no more, and marked unhealthy.
pub(super) enum HostGivenUp {
    /// Do this first.
    Ask(Box<Ask>),
    Yes,
    /// The host service does not answer.
    Later(String),
    /// The host service refuses.
    Refused(String),
    /// It is not marked, and not the machine's any more.
    Unmarked(String),
}

pub(super) fn give_host_up(draft: &Draft<'_>, seen: &Seen, host: HostKey) -> HostGivenUp {
    match &seen.trouble {
        Some(Trouble::Unavailable(why)) => return HostGivenUp::Later(why.clone()),
        Some(Trouble::Denied(why) | Trouble::Invalid(why)) => return HostGivenUp::Refused(why.clone()),
        None if seen.marked => return HostGivenUp::Yes,
        None => {}
    }
    // A machine that is gone has given its host back.
    let machine = draft.view.hold(host.clone()).zip(draft.view.consumer());
    match (machine.filter(|_| !seen.given_back), &seen.host) {
        (Some((hold, _)), _) if !seen.released => HostGivenUp::Ask(Box::new(Ask::Release(hold))),
        (Some((_, consumer)), _) => HostGivenUp::Ask(Box::new(Ask::Mark { host, consumer })),
        (None, None) => HostGivenUp::Ask(Box::new(Ask::Host(host))),
        (None, Some(Some(facts))) if !facts.unhealthy => HostGivenUp::Unmarked(format!(
            "host {host} was given back before it could be marked unhealthy, and may be claimed again; if it is broken, \
             set its annotation {}",
            names::ANNOTATION_UNHEALTHY
        )),
        (None, Some(_)) => HostGivenUp::Yes,
    }
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
