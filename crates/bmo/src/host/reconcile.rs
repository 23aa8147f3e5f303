//! One pass over one host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt as _};
use metal3_api::metal3::hardware_data::HardwareData;
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_host_core::{
    Answer, Ask, Built, HostView, Observed, Requeue, Settings, Step, backoff_minutes, step, unavailable,
};
use metal3_ironic::IronicProvisioner;
use metal3_kit::backoff::Backoff;
use metal3_kit::client::brief;
use metal3_kit::lease::Leadership;
use metal3_provisioner::{HostKey, HostRef, Kind, Provisioner as _};
use thiserror::Error;

use super::commit::{commit, publish_unreadable};
use super::controller::reference;
use super::observe;
use super::secrets::Secrets;
use crate::metrics::HostMetrics;
use crate::watch::Guarded;

/// What every pass shares.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) backend: Arc<IronicProvisioner>,
    pub(super) leadership: Leadership,
    pub(super) metrics: HostMetrics,
    pub(super) settings: Settings,
    pub(super) secrets: Secrets,
    /// What the controller passes over.
    pub(super) store: Store<Guarded>,
    pub(super) backoff: Backoff<HostKey>,
    /// Hosts as they were after our last write, until the watch has caught up.
    pub(super) written: Mutex<HashMap<HostKey, Arc<BareMetalHost>>>,
}

/// Why a pass failed; never the host's fault.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("kubernetes: {}", brief(.0))]
    Kubernetes(#[from] kube::Error),
    #[error("{0}")]
    Backend(#[from] metal3_provisioner::Error),
    #[error("this replica no longer leads")]
    NotLeading,
}

impl Failure {
    /// Something changed meanwhile: try again at once.
    pub(super) fn is_conflict(&self) -> bool {
        match self {
            Self::Kubernetes(kube::Error::Api(status)) => status.code == 409,
            Self::Kubernetes(_) | Self::Backend(_) | Self::NotLeading => false,
        }
    }
}

/// Looks at a host once.
pub(super) async fn reconcile(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Failure> {
    let key = observe::key(guarded.as_ref());
    let cached = match &guarded.0 {
        Ok(host) => host,
        Err(error) => {
            tracing::error!(host = %key, %error, "host cannot be read; correct it by kubectl edit");
            publish_unreadable(&context, guarded.as_ref(), &error.error).await;
            return Ok(Action::await_change());
        }
    };
    let host = newest(&context, &key, cached);
    context.metrics.pass(&key);
    if context.store.get(&reference(&key)).is_none() {
        // It went while we began.
        context.metrics.forget(&key);
    }
    let requeue = pass(&context, &host).await?;
    context.backoff.forget(&key);
    Ok(action(requeue))
}

/// The watch may lag behind our own writes; deciding on the older one would repeat what was done.
fn newest(context: &Context, key: &HostKey, cached: &BareMetalHost) -> Arc<BareMetalHost> {
    let version = |host: &BareMetalHost| {
        host.resource_version()
            .and_then(|v| v.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let mut written = context.written.lock().unwrap_or_else(PoisonError::into_inner);
    match written.get(key) {
        Some(own) if own.uid() == cached.uid() && version(own) > version(cached) => Arc::clone(own),
        Some(_) => {
            written.remove(key);
            Arc::new(cached.clone())
        }
        None => Arc::new(cached.clone()),
    }
}

async fn pass(context: &Context, host: &BareMetalHost) -> Result<Requeue, Failure> {
    let (secret, bmc) = observe::bmc(context, host).await?;
    let hardware = restored_hardware(context, host).await?;
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
            Step::Ask(ask) => match perform(context, host, &mut reference, ask).await {
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
    let requeue = verdict.next.requeue();
    commit(context, host, verdict).await?;
    Ok(requeue)
}

/// Trouble that users must see on the host, because it does not go away by itself in a moment.
const fn is_outage(kind: Kind) -> bool {
    match kind {
        Kind::NotReady | Kind::Config | Kind::Bug | Kind::Transient => true,
        Kind::Conflict | Kind::NotRegistered => false,
    }
}

/// A host that comes with a saved status takes its hardware from its HardwareData.
async fn restored_hardware(context: &Context, host: &BareMetalHost) -> Result<Option<HardwareData>, Failure> {
    if !host.annotations().contains_key(names::ANNOTATION_STATUS) {
        return Ok(None);
    }
    let api: Api<HardwareData> =
        Api::namespaced(context.client.clone(), &host.namespace().unwrap_or_default());
    Ok(api.get_opt(&host.name_any()).await?)
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
        Ask::Register(args) => {
            let answer = backend.register(reference, &args).await?;
            reference.node.clone_from(&answer.node);
            Answer::Register(answer)
        }
        Ask::Inspect(args) => Answer::Inspect(backend.inspect(reference, &args).await?),
        Ask::Adopt(args) => Answer::Adopt(backend.adopt(reference, &args).await?),
        Ask::Service(args) => Answer::Service(backend.service(reference, &args).await?),
        Ask::PreprovisioningImage { .. } => Answer::PreprovisioningImage(Built::NotYet {
            detail: "this release builds none".to_owned(),
        }),
        Ask::Prepare(args) => Answer::Prepare(backend.prepare(reference, &args).await?),
        Ask::Provision(mut args) => match context.secrets.config_drive(host).await? {
            Ok(drive) => {
                args.config_drive = drive;
                Answer::Provision(backend.provision(reference, &args).await?)
            }
            Err(problem) => Answer::ConfigDataMissing(problem),
        },
        Ask::Deprovision(args) => Answer::Deprovision(backend.deprovision(reference, &args).await?),
        Ask::Delete => Answer::Delete(backend.delete(reference).await?),
        Ask::Detach(args) => Answer::Detach(backend.detach(reference, &args).await?),
        Ask::Hardware => Answer::Hardware(backend.hardware(reference).await?),
        Ask::SetPower(args) => Answer::SetPower(backend.set_power(reference, &args).await?),
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
