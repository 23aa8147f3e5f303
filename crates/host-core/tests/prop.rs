//! Level 2: what must hold whatever users, the backend and the process do, and in which order.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod model;
mod world;

use jiff::SignedDuration;
use metal3_api::metal3::host::{
    BareMetalHost, BareMetalHostStatus, OperationalStatus, ProvisioningState as S,
};
use metal3_api::{conditions, names};
use metal3_host_core::{Ask, EventKind, Finish, Requeue, Verdict, transitions};
use metal3_provisioner::{Force, PowerTarget, WaitReason};
use model::{Act, Crash, Model, Replies, Reply};
use proptest::prelude::*;

fn state(host: &BareMetalHost) -> S {
    host.status.clone().unwrap_or_default().provisioning.state
}

fn annotation<'a>(host: &'a BareMetalHost, name: &str) -> Option<&'a String> {
    host.metadata.annotations.as_ref()?.get(name)
}

fn deleting(host: &BareMetalHost) -> bool {
    host.metadata.deletion_timestamp.is_some()
}

fn has_finalizer(host: &BareMetalHost) -> bool {
    host.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == names::FINALIZER_HOST)
}

/// Detached, or to be, and not put off.
fn let_go(host: &BareMetalHost) -> bool {
    annotation(host, names::ANNOTATION_DETACHED).is_some_and(|text| !text.contains("lay"))
}

/// Nothing is going on that could be interrupted.
fn calm(state: &S) -> bool {
    matches!(
        state,
        S::Available | S::Ready | S::Provisioned | S::ExternallyProvisioned
    )
}

/// Whether a question may be asked about this host at all.
fn may_ask(host: &BareMetalHost, ask: &Ask) -> Result<(), String> {
    let now = state(host);
    let status = host.status.clone().unwrap_or_default();
    // States between which nothing has to be recorded are walked in one pass.
    let from = |states: &[S]| states.contains(&now);
    let resting = &[
        S::None,
        S::Unmanaged,
        S::Registering,
        S::Inspecting,
        S::Preparing,
        S::Available,
        S::Ready,
        S::Deprovisioning,
    ];
    let leaving = deleting(host) && !matches!(now, S::Deleting);
    let fine = match ask {
        // A deletion makes room.
        Ask::Capacity(_) => !deleting(host),
        Ask::PreprovisioningImage { .. } => !from(&[S::None, S::Unmanaged, S::Deleting]),
        Ask::Service(_) => from(&[S::Provisioned, S::ExternallyProvisioned]),
        Ask::Register(_) => now != S::Deleting && has_finalizer(host),
        Ask::Inspect(_) => now == S::Inspecting,
        Ask::Adopt(_) => from(&[
            S::Provisioning,
            S::Provisioned,
            S::ExternallyProvisioned,
            S::Deprovisioning,
        ]),
        // What is started is recorded before, and asked for.
        Ask::Prepare(args) if args.unprepared => {
            now == S::Preparing && (host.spec.raid.is_some() || status.provisioning.raid.is_some())
        }
        Ask::Prepare(_) => now == S::Preparing || from(resting),
        Ask::Provision(_) => now == S::Provisioning,
        Ask::Deprovision(_) => {
            now == S::Deprovisioning || leaving && from(&[S::Provisioning, S::Provisioned])
        }
        Ask::Delete => deleting(host) && (from(&[S::Deleting, S::None, S::Registering]) || let_go(host)),
        Ask::Detach(args) => {
            annotation(host, names::ANNOTATION_DETACHED)
                .is_some_and(|text| calm(&now) || text.contains("force"))
                && (calm(&now) == (args.force == Force::No))
                && now != S::Deleting
        }
        Ask::Hardware => !deleting(host) && (calm(&now) || from(resting) || now == S::Provisioning),
        Ask::SetPower(_) if deleting(host) => now != S::Deleting && host.spec.disable_power_off != Some(true),
        Ask::SetPower(args) => {
            let provisioned = from(&[S::Provisioning, S::Provisioned, S::ExternallyProvisioned]);
            let rebooting = host.metadata.annotations.iter().flatten().any(|(name, value)| {
                let asked = name == names::ANNOTATION_REBOOT || name.starts_with("reboot.metal3.io/");
                asked && (provisioned || value.contains("force"))
            });
            let never = host.spec.disable_power_off == Some(true);
            (provisioned || from(resting))
                && (args.target == PowerTarget::On || !host.spec.online && !never || rebooting)
        }
    };
    let paused = annotation(host, names::ANNOTATION_PAUSED).is_some();
    let detached = status.operational_status == OperationalStatus::Detached;
    if paused || detached || !fine {
        return Err(format!(
            "{ask:?} in {now:?}, paused: {paused}, detached: {detached}"
        ));
    }
    Ok(())
}

/// Whether a host may leave what runs on it: only because somebody asked for that, or because it never ran.
fn may_go(host: &BareMetalHost, from: &S, to: &S) -> bool {
    let status = host.status.clone().unwrap_or_default();
    let url = |image: &Option<metal3_api::metal3::host::Image>| image.clone().unwrap_or_default().url;
    // Nothing is asked for: upstream takes the end of `externallyProvisioned` for that wish, too.
    let nothing = url(&host.spec.image).is_empty() && host.spec.custom_deploy.is_none();
    let changed = nothing
        || url(&host.spec.image) != url(&status.provisioning.image)
        || host.spec.custom_deploy != status.provisioning.custom_deploy;
    let stays = annotation(host, names::ANNOTATION_DETACHED)
        .is_some_and(|text| !deleting(host) || text.contains("lay"));
    match (from, to) {
        (from, _) if calm(from) && stays => false,
        (S::Provisioned, S::Deprovisioning) => deleting(host) || changed,
        (S::Provisioning, S::Deprovisioning) => deleting(host) || changed || status.error_type.is_some(),
        (S::ExternallyProvisioned, S::Provisioned) => host.spec.externally_provisioned != Some(true),
        (_, S::Deleting | S::PoweringOffBeforeDelete) => deleting(host),
        _ => true,
    }
}

fn check(host: &BareMetalHost, asks: &[Ask], verdict: &Verdict) -> Result<(), TestCaseError> {
    for ask in asks {
        may_ask(host, ask).map_err(TestCaseError::fail)?;
    }
    let mut kinds: Vec<_> = asks.iter().map(std::mem::discriminant).collect();
    kinds.dedup();
    prop_assert_eq!(kinds.len(), asks.len(), "asked twice");
    let status = host.status.clone().unwrap_or_default();
    for (from, to) in &verdict.transitions {
        prop_assert!(transitions::allowed(from, to), "{from} -> {to} is no edge");
        prop_assert!(may_go(host, from, to), "{from} -> {to} was not asked for");
    }
    if annotation(host, names::ANNOTATION_PAUSED).is_some() {
        prop_assert_eq!(&status, &verdict.status, "a paused host was changed");
        prop_assert!(verdict.writes.is_empty() && verdict.finish == Finish::Keep);
    }
    let (old, new) = (status.error_count, verdict.status.error_count);
    let warned = verdict
        .events
        .iter()
        .any(|event| event.kind == EventKind::Warning);
    prop_assert!(
        new == old || new == 0 || (new == old + 1 && warned) || (new == 1 && warned),
        "errors {old} -> {new}"
    );
    // A recorded failure and its message belong together.
    let error = verdict.status.error_type.is_some();
    prop_assert_eq!(error, !verdict.status.error_message.is_empty());
    prop_assert!(
        !error || new > 0 || deleting(host),
        "an error that does not count"
    );
    waits(host, verdict)?;
    if verdict.finish == Finish::RemoveFinalizer {
        let state = state(host);
        let last = verdict.transitions.last().map_or(&state, |(_, to)| to);
        prop_assert!(deleting(host) && *last == S::Deleting);
    }
    Ok(())
}

/// A pass that ends without going on says what it waits for, unless all is well.
fn waits(host: &BareMetalHost, verdict: &Verdict) -> Result<(), TestCaseError> {
    let waiting =
        conditions::find(&verdict.status.conditions, "Waiting").filter(|found| found.status == "True");
    let Some(reason) = verdict.next.reason() else {
        let paused = annotation(host, names::ANNOTATION_PAUSED).is_some();
        let steady = matches!(
            verdict.status.provisioning.state,
            S::Available | S::Ready | S::Provisioned | S::ExternallyProvisioned
        ) && !deleting(host);
        let fine = match verdict.next.requeue() {
            Requeue::Now => true,
            Requeue::After(interval) => steady && interval == SignedDuration::from_mins(5),
            Requeue::OnChange => paused || verdict.finish == Finish::RemoveFinalizer,
            Requeue::Backoff { .. } => false,
        };
        prop_assert!(fine, "{:?} without a reason", verdict.next);
        prop_assert!(paused || waiting.is_none(), "waits for nothing");
        return Ok(());
    };
    let Some(waiting) = waiting else {
        return Err(TestCaseError::fail(format!("{reason:?} is not told")));
    };
    let Some(told) = WaitReason::from_code(&waiting.reason) else {
        return Err(TestCaseError::fail(format!("{:?} is no reason", waiting.reason)));
    };
    // A step of what is at work already may go untold.
    let status = host.status.clone().unwrap_or_default();
    let stands = conditions::find(&status.conditions, "Waiting")
        .is_some_and(|old| old.reason == waiting.reason && old.message == waiting.message);
    prop_assert!(
        told == reason || stands && told.budget().is_some(),
        "{told:?} for {reason:?}"
    );
    prop_assert!(waiting.message.contains("to help: "));
    prop_assert_eq!(waiting.message.contains("at most until"), told.budget().is_some());
    let retried = !matches!(verdict.next.requeue(), Requeue::OnChange);
    prop_assert!(
        retried || reason.budget().is_none(),
        "{:?} is never looked at again",
        reason
    );
    Ok(())
}

/// The parts of a status that differ.
fn news(old: &BareMetalHostStatus, new: &BareMetalHostStatus) -> Vec<String> {
    let parts = |status: &BareMetalHostStatus| {
        let conditions: Vec<_> = status.conditions.iter().map(|one| format!("{one:?}")).collect();
        let mut rest = status.clone();
        rest.conditions.clear();
        [conditions, vec![serde_json::to_string(&rest).unwrap_or_default()]].concat()
    };
    let (old, new) = (parts(old), parts(new));
    let differ = |these: &[String], others: &[String]| {
        these
            .iter()
            .filter(|one| !others.contains(one))
            .cloned()
            .collect::<Vec<_>>()
    };
    [differ(&old, &new), differ(&new, &old)].concat()
}

/// Plays an action; a pass is checked.
fn play(model: &mut Model, act: &Act) -> Result<(), TestCaseError> {
    let Act::Pass { replies, crash } = act else {
        model.change(act);
        return Ok(());
    };
    if model.world.host.is_none() {
        return Ok(());
    }
    let host = match crash {
        Crash::Stale => model.older.clone().unwrap_or_else(|| model.world.host().clone()),
        _ => model.world.host().clone(),
    };
    let before = model.clone();
    let (asks, verdict) = match crash {
        // Its asks are held to the rules, but have no effect: leases keep a second process from the backend.
        Crash::Stale => model.clone().pass(&host, replies),
        Crash::After(_) | Crash::No => model.pass(&host, replies),
    };
    let (_, again) = before.clone().pass(&host, replies);
    prop_assert_eq!(&verdict, &again, "not a function of its input");
    check(&host, &asks, &verdict)?;
    let steps = match crash {
        Crash::Stale => return Ok(()),
        Crash::After(steps) => *steps,
        Crash::No => usize::MAX,
    };
    if verdict.transitions.contains(&(S::Provisioning, S::Provisioned)) {
        let recorded = verdict.status.provisioning.image.clone().unwrap_or_default().url;
        // The status has no field for the custom deploy method that is being tried.
        let known = model
            .image
            .as_ref()
            .is_none_or(|image| image.is_empty() || *image == recorded);
        prop_assert!(known, "{:?} runs, {recorded} is recorded", model.image);
    }
    model.commit(&verdict, steps);
    if model.world.host.is_none() {
        let told = verdict
            .events
            .iter()
            .any(|event| event.reason == "DeletedWithoutRemovingNode");
        prop_assert!(!model.node || told, "a node was left behind silently");
        return Ok(());
    }
    // Nothing changed since: nothing is written, nothing is told again.
    // What the backend just did about the power is looked at in the next pass.
    let powered = matches!(asks.last(), Some(Ask::SetPower(_))) && verdict.next.reason().is_none();
    let moved =
        powered || !verdict.writes.is_empty() || (before.power, before.node) != (model.power, model.node);
    if *crash == Crash::No && !moved && verdict.next.requeue() != Requeue::Now {
        let host = model.world.host().clone();
        let (asks, next) = model.clone().pass(&host, replies);
        check(&host, &asks, &next)?;
        let news = news(&model.world.status(), &next.status);
        prop_assert!(news.is_empty(), "an unchanged world was written again: {news:?}");
        prop_assert!(
            next.writes.is_empty() && next.events.is_empty(),
            "{:?} {:?}",
            next.writes,
            next.events
        );
        prop_assert_eq!(next.finish, Finish::Keep);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_life_of_any_kind_keeps_the_rules(
        (start, acts) in (model::start(), prop::collection::vec(model::act(), 1..60)),
    ) {
        let mut model = Model::new(&start);
        for act in &acts {
            play(&mut model, act)?;
        }
    }

    #[test]
    fn a_deletion_always_ends(
        (start, acts) in (model::start(), prop::collection::vec(model::act(), 0..30)),
        replies in prop::collection::vec(model::replies(), 1..4),
    ) {
        let mut model = Model::new(&start);
        for act in &acts {
            play(&mut model, act)?;
        }
        if model.world.host.is_none() {
            return Ok(());
        }
        // What the user alone can lift is lifted.
        for name in [names::ANNOTATION_PAUSED, names::ANNOTATION_DETACHED] {
            model.world.annotate(name, None);
        }
        model.world.delete();
        // Four stages; each fails four times, or waits for a day at most, looked at every half hour.
        let mut passes = 0;
        while model.world.host.is_some() {
            let replies = &replies[passes % replies.len()];
            play(&mut model, &Act::Pass { replies: replies.clone(), crash: Crash::No })?;
            model.world.pass_time(SignedDuration::from_mins(30));
            passes += 1;
            prop_assert!(passes < 250, "still there: {:?}", model.world.status());
        }
    }

    #[test]
    fn a_healthy_backend_makes_a_host_of_anything_usable(
        acts in prop::collection::vec(model::act(), 0..30),
    ) {
        let mut model = Model::new(&serde_json::Value::Null);
        for act in acts.iter().filter(|act| !matches!(act, Act::Delete)) {
            play(&mut model, act)?;
        }
        model.calm_down();
        for _ in 0..40 {
            play(&mut model, &Act::Pass { replies: Replies::all(Reply::Done), crash: Crash::No })?;
            model.world.pass_time(SignedDuration::from_hours(9));
        }
        let status = model.world.status();
        prop_assert_eq!(status.provisioning.state, S::Provisioned);
        prop_assert_eq!((status.operational_status, status.error_count), (OperationalStatus::Ok, 0));
        let waiting = conditions::find(&status.conditions, "Waiting");
        prop_assert!(waiting.is_none_or(|found| found.reason != WaitReason::RetryBackoff.code()));
    }
}
