//! The working copy of one pass: what the verdict will say if the pass ended now.

use jiff::{SignedDuration, Timestamp};
use metal3_api::metal3::host::{
    BareMetalHostStatus, BootMode, ErrorType, OperationMetric, OperationalStatus, ProvisioningState,
};
use metal3_provisioner::{Capacity, CapacityArgs, FailureCause, OnFailure, Outcome, Progress, WaitReason};

use crate::conditions;
use crate::{Ask, Event, EventKind, Finish, HostView, Next, Observed, Step, Verdict, Write};

/// How often a host in a steady state is looked at when nothing changes.
pub(crate) const STEADY_INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// How often a host that nobody manages, or that is detached, is looked at.
pub(crate) const IDLE_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

pub(crate) struct Pass<'a> {
    pub(crate) view: &'a HostView<'a>,
    pub(crate) seen: &'a Observed,
    pub(crate) now: Timestamp,
    pub(crate) status: BareMetalHostStatus,
    pub(crate) events: Vec<Event>,
    pub(crate) writes: Vec<Write>,
    pub(crate) finish: Finish,
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
            failure: None,
        }
    }

    pub(crate) fn state(&self) -> &ProvisioningState {
        &self.status.provisioning.state
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
        for notice in outcome.notices {
            self.event(EventKind::Normal, notice.reason, notice.message);
        }
        match outcome.progress {
            Progress::Done => Ok(()),
            Progress::Working { reason, poll } => {
                if self.status.error_type == Some(error) {
                    self.clear_error();
                }
                Err(self.end(Next::wait(reason, poll)))
            }
            Progress::Failed { message, cause } => {
                self.failure = Some(cause);
                Err(self.fail(error, message))
            }
        }
    }

    /// Records a failure of the host, which is tried again after its back-off.
    pub(crate) fn fail(&mut self, error: ErrorType, message: String) -> Step {
        self.record_failure(error, message);
        let attempt = u32::try_from(self.status.error_count).unwrap_or(u32::MAX);
        let detail = format!("failure {attempt}: {}", self.status.error_message);
        self.end(Next::backoff(attempt, detail))
    }

    pub(crate) fn record_failure(&mut self, error: ErrorType, message: String) {
        self.status.operational_status = OperationalStatus::Error;
        self.status.error_type = Some(error);
        self.status.error_count = self.status.error_count.saturating_add(1);
        self.event(EventKind::Warning, error.event_reason(), message.clone());
        self.status.error_message = message;
    }

    /// Moves to another state, if the backend has room for what is done there; the transition is recorded before
    /// anything is done about it.
    pub(crate) fn go(&mut self, state: ProvisioningState) -> Step {
        use ProvisioningState as S;
        let busy = match state {
            S::Inspecting | S::Provisioning | S::Deprovisioning => true,
            S::None
            | S::Unmanaged
            | S::Registering
            | S::MatchProfile
            | S::Preparing
            | S::Ready
            | S::Available
            | S::Provisioned
            | S::ExternallyProvisioned
            | S::PoweringOffBeforeDelete
            | S::Deleting
            | S::Unknown(_) => false,
        };
        if busy && let Err(step) = self.capacity() {
            return step;
        }
        self.enter(state);
        self.end(Next::now())
    }

    pub(crate) fn enter(&mut self, state: ProvisioningState) {
        use ProvisioningState as S;
        self.record_times(&state);
        if matches!(state, S::Registering | S::Inspecting | S::Provisioning) {
            self.status.provisioning.boot_mode = Some(self.view.host.spec.boot_mode.unwrap_or_default());
        }
        self.status.provisioning.state = state;
    }

    /// Goes on only if the backend has room for another long operation.
    pub(crate) fn capacity(&mut self) -> Flow {
        match self.need(self.seen.capacity.as_ref(), || {
            Ask::Capacity(CapacityArgs::default())
        })? {
            Capacity::Free => Ok(()),
            Capacity::Full { busy, limit, .. } => {
                self.status.operational_status = OperationalStatus::Delayed;
                let next = Next::wait(WaitReason::NoCapacity, SignedDuration::from_mins(1));
                Err(self.end(next.with_detail(format!("{busy} hosts are busy, the limit is {limit}"))))
            }
        }
    }

    fn record_times(&mut self, to: &ProvisioningState) {
        let now = metal3_api::conditions::time(self.now);
        let from = self.status.provisioning.state.clone();
        if let Some(operation) = self.operation(&from)
            && operation.end.is_none()
        {
            operation.end = Some(now.clone());
        }
        if let Some(operation) = self.operation(to) {
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
        let generation = self.view.host.metadata.generation;
        conditions::refresh(
            &mut self.status,
            self.seen.hardware.as_ref(),
            generation,
            self.now,
        );
        conditions::waiting(&mut self.status, &next, generation, self.now);
        if self.view.deleting() {
            conditions::deleting(&mut self.status, generation, self.now);
        }
        // Written only when something else changed, so that an unchanged world costs no write.
        self.status.last_updated.clone_from(&self.before.last_updated);
        if self.status != self.before {
            self.status.last_updated = Some(metal3_api::conditions::time(self.now));
        }
        let (from, to) = (&self.before.provisioning.state, &self.status.provisioning.state);
        Verdict {
            transitions: (from != to)
                .then(|| (from.clone(), to.clone()))
                .into_iter()
                .collect(),
            failure: self.failure,
            status: self.status.clone(),
            events: std::mem::take(&mut self.events),
            writes: std::mem::take(&mut self.writes),
            finish: self.finish,
            next,
        }
    }

    /// Ends the pass and leaves everything as it is.
    pub(crate) fn leave(view: &HostView<'_>, next: Next) -> Step {
        Step::Finish(Box::new(Verdict {
            status: view.status(),
            events: Vec::new(),
            writes: Vec::new(),
            finish: Finish::Keep,
            next,
            transitions: Vec::new(),
            failure: None,
        }))
    }
}
