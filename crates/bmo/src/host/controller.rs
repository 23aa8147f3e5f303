//! The queue: who is to be looked at, and when.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use kube::Client;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{ObjectRef, Store};
use metal3_api::metal3::host::BareMetalHost;
use metal3_host_core::{Settings, waits};
use metal3_ironic::IronicProvisioner;
use metal3_kit::backoff::Backoff;
use metal3_kit::lease::Leadership;
use metal3_provisioner::{HostKey, WaitReason};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_util::sync::CancellationToken;

use super::hardware::Hardware;
use super::late::Late;
use super::reconcile::{Context, Failure, reconcile};
use super::secrets::Secrets;
use super::trace::Traces;
use crate::Args;
use crate::events::Events;
use crate::ironic_resource;
use crate::metrics::HostMetrics;
use crate::preprovisioning::Images;
use crate::watch::{Guarded, Written};

const CONFLICT_RETRY: Duration = Duration::from_millis(50);

/// Everything the controller needs.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) namespaces: Vec<String>,
    pub(crate) backend: Arc<IronicProvisioner>,
    pub(crate) leadership: Leadership,
    pub(crate) metrics: HostMetrics,
    pub(crate) settings: Settings,
    /// Shared with the watch.
    pub(crate) written: Written,
    pub(crate) concurrency: u16,
}

/// The settings of the core from the flags.
pub(crate) fn settings(args: &Args) -> Settings {
    let architecture = if cfg!(target_arch = "aarch64") {
        "aarch64"
    } else {
        "x86_64"
    };
    Settings {
        max_provisioning_retries: args.max_provisioning_retries,
        default_architecture: architecture.into(),
        build_preprovisioning_images: args.build_preprov_image,
    }
}

impl Controller {
    /// Waits for leadership, then works until shutdown.
    pub(crate) async fn run(
        self,
        reader: Store<Guarded>,
        triggered: UnboundedReceiver<Guarded>,
        changes: Receiver<HostKey>,
        shutdown: CancellationToken,
    ) -> Result<()> {
        let mut leadership = self.leadership.clone();
        tokio::select! {
            () = leadership.acquired() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let (secrets, by_secrets) = Secrets::new(
            self.client.clone(),
            self.metrics.clone(),
            self.leadership.clone(),
            reader.clone(),
            &self.namespaces,
        );
        let (hardware, by_hardware) = Hardware::new(
            self.client.clone(),
            self.metrics.clone(),
            self.leadership.clone(),
            reader.clone(),
            &self.namespaces,
        );
        let (images, by_images) = if self.settings.build_preprovisioning_images {
            let (images, woken) = Images::new(self.client.clone(), self.metrics.clone(), &self.namespaces);
            (Some(images), woken)
        } else {
            (None, stream::empty().boxed())
        };
        // Hosts that arrived while another replica led.
        let waiting: Vec<ObjectRef<Guarded>> = match reader.wait_until_ready().await {
            Ok(()) => reader
                .state()
                .iter()
                .map(|host| ObjectRef::from_obj(host.as_ref()))
                .collect(),
            Err(_) => Vec::new(),
        };
        self.backend.expect_waiting(queued(&reader, Timestamp::now()));
        let nodes = ReceiverStream::new(changes).map(|key| reference(&key));
        let by_resource = match self.backend.told() {
            Some(target) => all_at_each(ironic_resource::news(target), reader.clone()).boxed(),
            None => stream::empty().boxed(),
        };
        let woken = stream::select_all([by_secrets, by_hardware, by_images, by_resource]);
        let triggers = stream::select(stream::iter(waiting), stream::select(nodes, woken));
        self.metrics.workers(self.concurrency);
        let context = Arc::new(Context {
            events: Events::new(self.client.clone(), self.metrics.clone()),
            client: self.client,
            backend: self.backend,
            leadership: self.leadership,
            metrics: self.metrics,
            settings: self.settings,
            secrets,
            hardware,
            images,
            store: reader.clone(),
            backoff: Backoff::default(),
            written: self.written,
            traces: Traces::default(),
            late: Late::default(),
        });
        let objects = UnboundedReceiverStream::new(triggered).map(Ok);
        kube::runtime::Controller::for_stream(objects, reader)
            .with_config(Config::default().concurrency(self.concurrency))
            .reconcile_on(without_end(triggers))
            .graceful_shutdown_on(shutdown.cancelled_owned())
            .run(reconcile, error_policy, context)
            .for_each(|_| async {})
            .await;
        Ok(())
    }
}

/// Hosts that wait for room, and since when.
fn queued(hosts: &Store<Guarded>, now: Timestamp) -> Vec<(HostKey, Timestamp)> {
    let hosts = hosts.state();
    let place = |host: &BareMetalHost| {
        let wait = waits(host, now).filter(|wait| wait.reason == WaitReason::NoCapacity)?;
        Some((super::observe::key(host), wait.since?))
    };
    hosts
        .iter()
        .filter_map(|host| place(host.0.as_ref().ok()?))
        .collect()
}

/// All hosts, whenever there is news for them: what a host waits for is written a little later than it is found out.
fn all_at_each(
    news: impl Stream<Item = ()>,
    hosts: Store<Guarded>,
) -> impl Stream<Item = ObjectRef<Guarded>> {
    news.flat_map(move |()| {
        let hosts = hosts.state();
        stream::iter(hosts.into_iter().map(|host| ObjectRef::from_obj(host.as_ref())))
    })
}

/// The controller would end with its last trigger stream.
fn without_end<T>(triggers: impl Stream<Item = T>) -> impl Stream<Item = T> {
    triggers.chain(stream::pending())
}

pub(super) fn reference(key: &HostKey) -> ObjectRef<Guarded> {
    ObjectRef::new(&key.name).within(&key.namespace)
}

/// Counts a failure, if it is one: who lost the race for a write decides anew, and nothing is wrong with that.
fn counts(metrics: &HostMetrics, failure: &Failure) -> bool {
    let failed = !failure.is_conflict();
    if failed {
        metrics.reconcile_errors.inc();
    }
    failed
}

/// Infrastructure trouble: conflicts at once, the rest with growing delay.
#[expect(clippy::needless_pass_by_value, reason = "signature of kube's error policy")]
fn error_policy(host: Arc<Guarded>, failure: &Failure, context: Arc<Context>) -> Action {
    let key = super::observe::key(host.as_ref());
    if !counts(&context.metrics, failure) {
        tracing::debug!(host = %key, error = %failure, "host changed meanwhile");
        return Action::requeue(CONFLICT_RETRY);
    }
    let jitter = f64::from(Timestamp::now().subsec_nanosecond()) / 1e9;
    let delay = context.backoff.next(key.clone(), jitter);
    tracing::warn!(host = %key, error = %failure, ?delay, "pass failed");
    Action::requeue(delay)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_conflict_is_no_error() {
        let metrics = HostMetrics::default();
        let answer = |code| {
            let status = Status::failure("it does not work", "Because").with_code(code);
            Failure::Kubernetes(kube::Error::Api(Box::new(status)))
        };
        assert!(!counts(&metrics, &answer(409)));
        assert_eq!(metrics.reconcile_errors.get(), 0);
        assert!(counts(&metrics, &answer(500)));
        assert_eq!(metrics.reconcile_errors.get(), 1);
    }
}
