//! One pass over one host.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use metal3_api::metal3::host::BareMetalHost;
use metal3_host_core::{
    Answer, Ask, BmcSecret, Built, HostView, Observed, Requeue, Settings, Step, backoff_minutes, is_paused,
    step, unavailable,
};
use metal3_ironic::IronicProvisioner;
use metal3_kit::backoff::Backoff;
use metal3_kit::client::brief;
use metal3_kit::lease::Leadership;
use metal3_kit::telemetry;
use metal3_provisioner::{
    HostKey, HostRef, Kind, PowerTarget, Progress, ProvisionArgs, Provisioner as _, PullSecret, RegisterArgs,
    WaitReason,
};
use thiserror::Error;
use tracing::Instrument as _;

use super::commit::{commit, publish_unreadable};
use super::controller::reference;
use super::hardware::Hardware;
use super::late::Late;
use super::observe;
use super::secrets::{Secrets, Unusable};
use super::trace::{self, Traces};
use crate::events::Events;
use crate::metrics::HostMetrics;
use crate::preprovisioning::Images;
use crate::watch::{Guarded, Written};

/// What every pass shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) backend: Arc<IronicProvisioner>,
    pub(super) leadership: Leadership,
    pub(super) metrics: HostMetrics,
    pub(super) events: Events,
    pub(super) settings: Settings,
    pub(super) secrets: Secrets,
    pub(super) hardware: Hardware,
    /// Where a ramdisk is built for each host.
    pub(super) images: Option<Images>,
    /// What the controller passes over.
    pub(super) store: Store<Guarded>,
    pub(super) backoff: Backoff<HostKey>,
    pub(super) written: Written,
    pub(super) traces: Traces,
    pub(super) late: Late,
}

/// Why a pass failed; never the host's fault.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("kubernetes: {}", brief(.0))]
    Kubernetes(#[from] kube::Error),
    #[error("{0}")]
    Backend(#[from] metal3_provisioner::Error),
    #[error("this replica no longer leads")]
    NotLeading,
}

impl Failure {
    /// Something changed meanwhile: try again at once.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            Self::Kubernetes(kube::Error::Api(status)) => status.code == 409,
            Self::Kubernetes(_) | Self::Backend(_) | Self::NotLeading => false,
        }
    }
}

/// Looks at a host once.
pub(super) async fn reconcile(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Failure> {
    let begun = context.metrics.begun();
    let end = look(guarded, &context).await;
    begun.ended(match &end {
        Ok(action) if *action == Action::await_change() => "success",
        Ok(action) if *action == Action::requeue(Duration::ZERO) => "requeue",
        Ok(_) => "requeue_after",
        Err(failure) if failure.is_conflict() => "requeue",
        Err(_) => "error",
    });
    end
}

async fn look(guarded: Arc<Guarded>, context: &Context) -> Result<Action, Failure> {
    let key = observe::key(guarded.as_ref());
    let cached = match &guarded.0 {
        Ok(host) => host,
        Err(error) => {
            tracing::error!(host = %key, %error, "host cannot be read; correct it by kubectl edit");
            publish_unreadable(context, guarded.as_ref(), &error.error).await;
            return Ok(Action::await_change());
        }
    };
    let host = context.written.newest(&key, cached);
    context.metrics.pass(&key);
    if context.store.get(&reference(&key)).is_none() {
        // It went while we began.
        context.metrics.forget(&key);
        context.traces.forget(&key);
        context.late.forget(&key);
    }
    let span = context.traces.pass(&key, &host);
    let looked = pass(context, &host).instrument(span.clone()).await;
    let (requeue, rests) = looked.inspect_err(|_| telemetry::failed(&span))?;
    context.traces.passed(&key, &host, rests);
    context.backoff.forget(&key);
    Ok(action(requeue))
}

/// When to look again, and whether nothing is left to do.
async fn pass(context: &Context, host: &BareMetalHost) -> Result<(Requeue, bool), Failure> {
    // What belongs to a paused host is left alone, too: `clusterctl move` takes our finalizers off it meanwhile.
    let (secret, bmc, hardware) = if is_paused(host) {
        (BmcSecret::NotNeeded, None, None)
    } else {
        context.secrets.follow_names(host).await?;
        let (secret, bmc) = observe::bmc(context, host).await.inspect_err(|failure| {
            if !failure.is_conflict() {
                context.metrics.credentials_unhandled.inc();
            }
        })?;
        (secret, bmc, context.hardware.load(host).await?)
    };
    let view = HostView {
        host,
        hardware: hardware.as_ref(),
        secret,
        settings: &context.settings,
    };
    let mut reference = observe::reference(host, bmc, observe::node(host));
    let mut seen = Observed::default();
    let verdict = loop {
        match step(&view, &seen, Timestamp::now()) {
            Step::Finish(verdict) => break *verdict,
            Step::Ask(ask) => match ask_backend(context, host, &mut reference, ask).await {
                Ok(answer) => seen.record(answer),
                Err(Failure::Backend(error))
                    if error.kind() == Kind::NotRegistered && !seen.node_unknown() =>
                {
                    seen.record(Answer::NodeUnknown);
                }
                Err(Failure::Backend(error)) if is_outage(error.kind()) => {
                    context.metrics.not_ready.inc();
                    tracing::warn!(host = %reference.key, %error, "the backend cannot be asked");
                    break unavailable(&view, &error.to_string(), Timestamp::now());
                }
                Err(failure) => return Err(failure),
            },
        }
    };
    let (requeue, rests) = (verdict.next.requeue(), trace::rests(&verdict));
    let taken = hardware.filter(|data| data.spec.hardware == verdict.status.hardware);
    if let Some(left) = commit(context, host, verdict).await? {
        let left = SignedDuration::try_from(left).unwrap_or_default();
        return Ok((requeue.within(left), rests));
    }
    if let Some(hardware) = &taken {
        context.hardware.taken(hardware);
    }
    Ok((requeue, rests))
}

/// Trouble that users must see on the host, because it does not go away by itself in a moment.
const fn is_outage(kind: Kind) -> bool {
    match kind {
        Kind::NotReady | Kind::Config | Kind::Bug | Kind::Transient => true,
        Kind::Conflict | Kind::NotRegistered => false,
    }
}

async fn ask_backend(
    context: &Context,
    host: &BareMetalHost,
    reference: &mut HostRef,
    ask: Ask,
) -> Result<Answer, Failure> {
    let span = trace::step(&ask);
    let answer = perform(context, host, reference, ask)
        .instrument(span.clone())
        .await;
    answer.inspect_err(|_| telemetry::failed(&span))
}

async fn perform(
    context: &Context,
    host: &BareMetalHost,
    reference: &mut HostRef,
    ask: Ask,
) -> Result<Answer, Failure> {
    if !context.leadership.held() {
        return Err(Failure::NotLeading);
    }
    let backend = &context.backend;
    Ok(match ask {
        Ask::Capacity(args) => Answer::Capacity(backend.capacity(reference, &args).await?),
        Ask::Register(args) => register(context, host, reference, args).await?,
        Ask::Inspect(args) => Answer::Inspect(backend.inspect(reference, &args).await?),
        Ask::Adopt(args) => Answer::Adopt(backend.adopt(reference, &args).await?),
        Ask::Service(args) => Answer::Service(backend.service(reference, &args).await?),
        Ask::PreprovisioningImage { architecture } => Answer::PreprovisioningImage(match &context.images {
            Some(images) => images.of(host, architecture, &context.secrets).await?,
            None => Built::NotYet {
                detail: "bmo runs without --build-preprov-image".to_owned(),
            },
        }),
        Ask::Prepare(args) => Answer::Prepare(backend.prepare(reference, &args).await?),
        Ask::Provision(args) => provision(context, host, reference, args).await?,
        Ask::Deprovision(args) => Answer::Deprovision(backend.deprovision(reference, &args).await?),
        Ask::Delete => Answer::Delete(backend.delete(reference).await?),
        Ask::Detach(args) => Answer::Detach(backend.detach(reference, &args).await?),
        Ask::Hardware => Answer::Hardware(backend.hardware(reference).await?),
        Ask::SetPower(args) => {
            let outcome = backend.set_power(reference, &args).await?;
            if outcome.started {
                let on = args.target == PowerTarget::On;
                context.metrics.power_changed(&reference.key, on);
            }
            Answer::SetPower(outcome)
        }
    })
}

/// With the network data of the ramdisk, which a built one has inside.
async fn register(
    context: &Context,
    host: &BareMetalHost,
    reference: &mut HostRef,
    mut args: Box<RegisterArgs>,
) -> Result<Answer, Failure> {
    if !context.settings.build_preprovisioning_images {
        match context.secrets.network_data(host).await? {
            Ok(data) => args.preprovisioning_network_data = data,
            Err(problem) => return Ok(Answer::NetworkDataUnusable(problem)),
        }
    }
    let answer = context.backend.register(reference, &args).await?;
    reference.node.clone_from(&answer.node);
    Ok(Answer::Register(answer))
}

/// With the config drive and the login to the registry.
async fn provision(
    context: &Context,
    host: &BareMetalHost,
    reference: &HostRef,
    mut args: Box<ProvisionArgs>,
) -> Result<Answer, Failure> {
    let image = args.deploy.image.as_ref();
    let mut unusable = None;
    args.pull_secret = match context.secrets.pull_secret(host, image).await? {
        Ok(login) => login.map_or(PullSecret::None, PullSecret::Login),
        Err(problem) => {
            unusable = Some(problem);
            PullSecret::Unusable
        }
    };
    match context.secrets.config_drive(host).await? {
        Ok(drive) => args.config_drive = drive,
        Err(problem) => {
            context.metrics.config_data_error(&problem);
            return Ok(Answer::ConfigDataMissing(problem));
        }
    }
    let outcome = context.backend.provision(reference, &args).await?;
    // The backend knows whether it still needs the login: one that runs, or is over, does not.
    let needed = matches!(
        outcome.progress,
        Progress::Working {
            reason: WaitReason::PullSecretUnusable,
            ..
        }
    );
    Ok(match unusable.filter(|_| needed) {
        Some(Unusable { problem, message }) => Answer::PullSecretUnusable { problem, message },
        None => Answer::Provision(outcome),
    })
}

fn action(requeue: Requeue) -> Action {
    let duration = |signed: SignedDuration| Duration::try_from(signed).unwrap_or(Duration::ZERO);
    match requeue {
        Requeue::Now => Action::requeue(Duration::ZERO),
        Requeue::After(after) => Action::requeue(duration(after)),
        Requeue::Backoff { attempt } => {
            let longest = duration(SignedDuration::from_mins(backoff_minutes(attempt)));
            // Between half of it and all of it; a moment more than half, so that the core agrees that it has passed.
            Action::requeue(longest.mul_f64(rand::random_range(0.501..=1.0)))
        }
        Requeue::OnChange => Action::await_change(),
    }
}
