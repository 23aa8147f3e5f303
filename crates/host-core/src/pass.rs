//! The working copy of one pass: what the verdict will say if the pass ended now.

use jiff::{SignedDuration, Timestamp};
use metal3_api::metal3::host::{
    BareMetalHostStatus, BootMode, ErrorType, OperationMetric, OperationalStatus, ProvisioningState,
};
use metal3_provisioner::{Capacity, CapacityArgs, FailureCause, OnFailure, Outcome, Progress, WaitReason};

use crate::{Ask, Event, EventKind, Finish, HostView, Next, Observed, Step, Verdict, Write};
use crate::{conditions, requests, waiting};

/// How often a host in a steady state is looked at when nothing changes. Upstream looks every minute, because nothing tells
/// it of a power button; here the mirror of the backend wakes a host whose node changed, and this is only for what it may
/// have missed. It keeps thousands of hosts at rest cheap.
pub(crate) const STEADY_INTERVAL: SignedDuration = SignedDuration::from_mins(5);
/// A Secret that appears is noticed by its label only; this looks for those without one.
pub(crate) const SECRET_POLL: SignedDuration = SignedDuration::from_secs(10);
/// How often an object is looked for that nobody tells us of, once it was waited for as long.
pub(crate) const OBJECT_INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// How often a host that nobody manages, or that is detached, is looked at.
pub(crate) const IDLE_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// More than any life walks at once.
const MOST_TRANSITIONS: usize = 8;

pub(crate) struct Pass<'a> {
    pub(crate) view: &'a HostView<'a>,
    pub(crate) seen: &'a Observed,
    pub(crate) now: Timestamp,
    pub(crate) status: BareMetalHostStatus,
    pub(crate) events: Vec<Event>,
    pub(crate) writes: Vec<Write>,
    pub(crate) finish: Finish,
    transitions: Vec<(ProvisioningState, ProvisioningState)>,
    failure: Option<FailureCause>,
    before: BareMetalHostStatus,
}

/// `Err` carries an early end of the pass, so that `?` reads as "and otherwise go on".
pub(crate) type Flow<T = ()> = Result<T, Step>;

impl<'a> Pass<'a> {
    pub(crate) fn new(view: &'a HostView<'a>, seen: &'a Observed, now: Timestamp) -> Self {
        let status = view.status();
        Self {
            view,
            seen,
            now,
            before: status.clone(),
            status,
            events: Vec::new(),
            writes: Vec::new(),
            finish: Finish::Keep,
            transitions: Vec::new(),
            failure: None,
        }
    }

    pub(crate) fn state(&self) -> &ProvisioningState {
        &self.status.provisioning.state
    }

    /// Whether the state was entered in this pass, so that nothing records it yet.
    pub(crate) fn moved(&self) -> bool {
        !self.transitions.is_empty()
    }

    /// Uses an answer, or asks for it.
    pub(crate) fn need<T: Clone>(&self, answer: Option<&T>, ask: impl FnOnce() -> Ask) -> Flow<T> {
        answer.cloned().ok_or_else(|| Step::Ask(ask()))
    }

    pub(crate) fn event(&mut self, kind: EventKind, reason: &'static str, message: impl Into<String>) {
        self.events.push(Event {
            kind,
            reason,
            message: message.into(),
        });
    }

    pub(crate) fn on_failure(&self, of: ErrorType) -> OnFailure {
        if self.status.error_type == Some(of) {
            OnFailure::Restart
        } else {
            OnFailure::Report
        }
    }

    pub(crate) fn clear_error(&mut self) {
        self.status.operational_status = OperationalStatus::Ok;
        self.status.error_type = None;
        self.status.error_message.clear();
    }

    /// What failed works again, so that the next failure is a first one. Failures of other kinds are left alone.
    pub(crate) fn recovered(&mut self, from: ErrorType) {
        if self.status.error_type == Some(from) {
            self.settle();
        }
    }

    /// Nothing is left to do: earlier failures are over, whatever they were, and must not keep the host from being used.
    pub(crate) fn settle(&mut self) {
        if self.status.error_type.is_some() {
            self.clear_error();
        }
        self.status.error_count = 0;
    }

    /// Neither delayed nor detached any more.
    pub(crate) const fn resume(&mut self) {
        self.status.operational_status = match self.status.error_type {
            Some(_) => OperationalStatus::Error,
            None => OperationalStatus::Ok,
        };
    }

    /// Goes on only if the backend is done; otherwise the pass ends with its wait or failure.
    pub(crate) fn through(&mut self, outcome: Outcome, error: ErrorType) -> Flow {
        self.through_with(outcome, error, "")
    }

    /// The same, with more to tell of the wait.
    pub(crate) fn through_with(&mut self, outcome: Outcome, error: ErrorType, detail: &str) -> Flow {
        for notice in outcome.notices {
            self.event(EventKind::Normal, notice.reason, notice.message);
        }
        match outcome.progress {
            Progress::Done => Ok(()),
            Progress::Working { reason, poll } => {
                if self.status.error_type == Some(error) {
                    self.clear_error();
                }
                Err(self.end(Next::wait(reason, poll).with_detail(detail)))
            }
            Progress::Failed { message, cause } => Err(self.fail(error, message, cause)),
        }
    }

    /// Records a failure of the host, which is tried again after its back-off.
    pub(crate) fn fail(&mut self, error: ErrorType, message: String, cause: FailureCause) -> Step {
        let cause = if cause == FailureCause::Unknown {
            FailureCause::of(error, &message)
        } else {
            cause
        };
        self.record_failure(error, message, cause);
        let attempt = u32::try_from(self.status.error_count).unwrap_or(u32::MAX);
        let code = if cause == FailureCause::Unknown {
            String::new()
        } else {
            format!(" [{}]", cause.code())
        };
        let detail = format!("failure {attempt}{code}: {}", self.status.error_message);
        self.end(Next::backoff(attempt, detail, cause))
    }

    pub(crate) fn record_failure(&mut self, error: ErrorType, message: String, cause: FailureCause) {
        self.failure = Some(cause);
        self.status.operational_status = OperationalStatus::Error;
        self.status.error_type = Some(error);
        self.status.error_count = self.status.error_count.saturating_add(1);
        self.event(EventKind::Warning, error.event_reason(), message.clone());
        self.status.error_message = message;
    }

    /// Moves to another state, if the backend has room for what is done there, and ends the pass: the transition is recorded
    /// before anything is done about it.
    pub(crate) fn go(&mut self, state: ProvisioningState) -> Step {
        use ProvisioningState as S;
        let busy = matches!(state, S::Inspecting | S::Provisioning | S::Deprovisioning);
        // Deleted hosts make room for others, and must not wait for them.
        if busy
            && !self.view.deleting()
            && let Err(step) = self.capacity()
        {
            return step;
        }
        self.enter(state);
        self.record()
    }

    /// Ends the pass, so that the state is recorded. What will be waited for there is told already, or the next pass would
    /// write the status only to say so.
    pub(crate) fn record(&mut self) -> Step {
        let next = expected(self.state()).map_or_else(Next::now, Next::expect);
        self.end(next)
    }

    /// Moves to another state and goes on with the pass: only where doing the same again after a crash is harmless.
    pub(crate) fn enter(&mut self, state: ProvisioningState) {
        use ProvisioningState as S;
        self.record_times(&state);
        if matches!(state, S::Registering | S::Inspecting | S::Provisioning) {
            self.status.provisioning.boot_mode = Some(self.view.host.spec.boot_mode.unwrap_or_default());
        }
        if self.status.operational_status == OperationalStatus::Servicing && state != S::Provisioned {
            self.status.operational_status = OperationalStatus::Ok;
        }
        let from = std::mem::replace(&mut self.status.provisioning.state, state.clone());
        self.transitions.push((from, state));
    }

    /// Whether the pass went through so many states that it must be a circle.
    pub(crate) fn dizzy(&self) -> bool {
        self.transitions.len() >= MOST_TRANSITIONS
    }

    /// Goes on only if the backend has room for another long operation.
    pub(crate) fn capacity(&mut self) -> Flow {
        let since = conditions::since(&self.status, WaitReason::NoCapacity);
        let ask = || Ask::Capacity(CapacityArgs { since });
        match self.need(self.seen.capacity.as_ref(), ask)? {
            Capacity::Free => Ok(()),
            Capacity::Full {
                busy,
                limit,
                position,
            } => {
                self.status.operational_status = OperationalStatus::Delayed;
                // Those whose turn may come with the next host that finishes look more often.
                let poll = if position <= limit { 10 } else { 60 };
                let next = Next::wait(WaitReason::NoCapacity, SignedDuration::from_secs(poll));
                let detail =
                    format!("place {position} in the queue; {busy} hosts are busy, the limit is {limit}");
                Err(self.end(next.with_detail(detail)))
            }
        }
    }

    fn record_times(&mut self, to: &ProvisioningState) {
        let now = metal3_api::conditions::time(self.now);
        let from = self.status.provisioning.state.clone();
        if let Some(operation) = self.operation(&from)
            && operation.end.is_none()
        {
            operation.end = Some(now);
        }
        self.begin(to);
    }

    /// A new start of an operation.
    pub(crate) fn begin(&mut self, state: &ProvisioningState) {
        let now = metal3_api::conditions::time(self.now);
        if let Some(operation) = self.operation(state) {
            *operation = OperationMetric {
                start: Some(now),
                end: None,
            };
        }
    }

    fn operation(&mut self, state: &ProvisioningState) -> Option<&mut OperationMetric> {
        use ProvisioningState as S;
        let history = &mut self.status.operation_history;
        match state {
            S::Registering => Some(&mut history.register),
            S::Inspecting => Some(&mut history.inspect),
            S::Provisioning => Some(&mut history.provision),
            S::Deprovisioning => Some(&mut history.deprovision),
            S::None
            | S::Unmanaged
            | S::MatchProfile
            | S::Preparing
            | S::Ready
            | S::Available
            | S::Provisioned
            | S::ExternallyProvisioned
            | S::PoweringOffBeforeDelete
            | S::Deleting
            | S::Unknown(_) => None,
        }
    }

    pub(crate) fn boot_mode(&self) -> BootMode {
        self.status
            .provisioning
            .boot_mode
            .or(self.view.host.spec.boot_mode)
            .unwrap_or_default()
    }

    /// Ends the pass.
    pub(crate) fn end(&mut self, next: Next) -> Step {
        Step::Finish(Box::new(self.verdict(next)))
    }

    pub(crate) fn verdict(&mut self, next: Next) -> Verdict {
        self.complain();
        let generation = self.generation();
        let hardware = self.seen.hardware.as_ref();
        conditions::refresh(&mut self.status, hardware, generation, self.now);
        let moved = self.moved();
        let next = waiting::tell(&mut self.status, next, moved, generation, self.now);
        if self.view.deleting() {
            conditions::deleting(&mut self.status, generation, self.now);
        }
        for condition in &mut self.status.conditions {
            condition.observed_generation = generation;
        }
        // Written only when something else changed, so that an unchanged world costs no write.
        self.status.last_updated.clone_from(&self.before.last_updated);
        if self.status != self.before {
            self.status.last_updated = Some(metal3_api::conditions::time(self.now));
        }
        Verdict {
            transitions: self.transitions.clone(),
            failure: self.failure,
            status: self.status.clone(),
            events: std::mem::take(&mut self.events),
            writes: std::mem::take(&mut self.writes),
            finish: self.finish,
            next,
        }
    }

    /// The generation that the status tells of. Filling in the architecture makes the next one, which must not cost another
    /// status.
    fn generation(&mut self) -> Option<i64> {
        let generation = self.view.host.metadata.generation;
        let known = self
            .status
            .hardware
            .as_ref()
            .and_then(|hardware| hardware.cpu.as_ref()?.arch.clone());
        let blank = self
            .view
            .host
            .spec
            .architecture
            .as_ref()
            .is_none_or(String::is_empty);
        match known.filter(|architecture| blank && !architecture.is_empty() && !self.view.deleting()) {
            None => generation,
            Some(architecture) => {
                self.writes.push(Write::Architecture(architecture));
                generation.map(|generation| generation + 1)
            }
        }
    }

    /// Says once, and then in a condition, which annotations are not understood.
    fn complain(&mut self) {
        let problems = requests::problems(self.view);
        let generation = self.view.host.metadata.generation;
        if conditions::complain(&mut self.status, &problems, generation, self.now) {
            self.event(EventKind::Warning, "InvalidAnnotationValue", problems);
        }
    }

    /// Ends the pass and leaves everything as it is, but for the finalizer.
    pub(crate) fn leave(view: &HostView<'_>, finish: Finish, next: Next) -> Step {
        Step::Finish(Box::new(Verdict {
            status: view.status(),
            events: Vec::new(),
            writes: Vec::new(),
            finish,
            next,
            transitions: Vec::new(),
            failure: None,
        }))
    }
}

/// What a host will wait for in a state that begins.
const fn expected(state: &ProvisioningState) -> Option<WaitReason> {
    use ProvisioningState as S;
    match state {
        S::Registering => Some(WaitReason::VerifyingBmcAccess),
        S::Inspecting => Some(WaitReason::Inspecting),
        S::Preparing => Some(WaitReason::Preparing),
        S::Provisioning => Some(WaitReason::Deploying),
        S::ExternallyProvisioned => Some(WaitReason::Adopting),
        S::Deprovisioning => Some(WaitReason::Undeploying),
        S::PoweringOffBeforeDelete => Some(WaitReason::PowerChanging),
        S::Deleting => Some(WaitReason::RemovingNode),
        S::None
        | S::Unmanaged
        | S::MatchProfile
        | S::Ready
        | S::Available
        | S::Provisioned
        | S::Unknown(_) => None,
    }
}
