//! The queue: who is to be looked at, and when.

use std::sync::Arc;

use anyhow::Result;
use futures::{StreamExt as _, stream};
use kube::Client;
use kube::runtime::controller::{Action, Config};
use metal3_api::infra::v1beta2::Metal3Remediation;
use metal3_kit::lease::Leadership;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use super::reconcile::{Context, reconcile};
use crate::commit::{Committer, Failure};
use crate::hosts::Hosts;
use crate::metrics::{self, Capm3Metrics};
use crate::objects::{Guarded, Key, Objects};
use crate::wake::Following;
use crate::workload::Workloads;

const NAME: &str = "metal3remediation";

/// Everything the controller needs.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) leadership: Leadership,
    pub(crate) metrics: Capm3Metrics,
    pub(crate) objects: Objects,
    pub(crate) hosts: Hosts,
    pub(crate) workloads: Workloads,
    pub(crate) following: Arc<Following>,
    pub(crate) watch_filter: String,
    pub(crate) concurrency: u16,
}

impl Controller {
    /// Waits for leadership, then works until shutdown.
    pub(crate) async fn run(self, woken: UnboundedReceiver<Key>, shutdown: CancellationToken) -> Result<()> {
        let Self {
            client,
            mut leadership,
            metrics,
            objects,
            hosts,
            workloads,
            following,
            watch_filter,
            concurrency,
        } = self;
        tokio::select! {
            () = async { leadership.acquired().await; objects.ready().await } => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        metrics
            .workers
            .get_or_create(&metrics::Controller { controller: NAME })
            .set(i64::from(concurrency));
        let reader = objects.remediations.clone();
        let all: Vec<Key> = reader
            .state()
            .iter()
            .map(|object| Key::of(object.as_ref()))
            .collect();
        // The wakes never end while the process lives: their senders are kept by the watches.
        let wakes = stream::iter(all).chain(UnboundedReceiverStream::new(woken));
        let context = Arc::new(Context {
            committer: Committer::new(client, leadership, metrics, NAME),
            objects,
            hosts,
            workloads,
            following,
            watch_filter,
        });
        kube::runtime::Controller::for_stream(stream::pending(), reader)
            .with_config(Config::default().concurrency(concurrency))
            .reconcile_on(wakes.map(|key| key.reference()))
            .graceful_shutdown_on(shutdown.cancelled_owned())
            .run(reconcile, error_policy, context)
            .for_each(|_| async {})
            .await;
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "signature of kube's error policy")]
fn error_policy(object: Arc<Guarded<Metal3Remediation>>, failure: &Failure, context: Arc<Context>) -> Action {
    context
        .committer
        .after_failure(&Key::of(object.as_ref()), failure)
}
