//! What all controllers have in common: who is looked at and when, and what surrounds each look. They differ in the pass.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{Stream, StreamExt as _, stream};
use jiff::SignedDuration;
use kube::ResourceExt as _;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::Store;
use metal3_capm3_core::machine::Requeue;
use metal3_kit::telemetry;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::commit::{Committer, Failure, Kind, PASS_DEADLINE};
use crate::metrics;
use crate::objects::{Guarded, Key, Objects, selected, share_key};

/// A controller of one kind.
pub(crate) trait Reconcile: Send + Sync + 'static {
    /// What it looks at.
    type Object: Kind;

    /// The kind, for traces.
    const KIND: &'static str;

    /// The store of its kind.
    fn reader(objects: &Objects) -> &Store<Guarded<Self::Object>>;

    /// What it writes with.
    fn committer(&self) -> &Committer<Self::Object>;

    /// Looks at an object once, as it was after our last write.
    fn pass(&self, key: &Key, object: &Self::Object) -> impl Future<Output = Result<Again, Failure>> + Send;

    /// A look at an object failed; it is looked at again.
    fn failed(&self, _: &Key) {}

    /// An object was woken that is not looked at: it is gone, cannot be read, is not selected or another replica's.
    fn set_aside(&self, _: &Key) {}
}

/// The longest delay of who waits for the host service. Its stream of hosts wakes them when it is back; when only calls fail
/// nothing does.
pub(crate) const UNANSWERED: Duration = Duration::from_secs(30);

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) requeue: Requeue,
    /// A growing delay ends here.
    pub(crate) longest: Duration,
}

impl From<Requeue> for Again {
    fn from(requeue: Requeue) -> Self {
        Self {
            requeue,
            longest: Duration::MAX,
        }
    }
}

/// The queue of a controller.
pub(crate) struct Queue<C: Reconcile> {
    pub(crate) controller: C,
    pub(crate) objects: Objects,
    pub(crate) watch_filter: String,
    /// How often everything is looked at anew, if at all.
    pub(crate) sync_period: Option<Duration>,
    pub(crate) concurrency: u16,
}

struct Shared<C> {
    controller: C,
    watch_filter: String,
}

impl<C: Reconcile> Queue<C> {
    /// What metrics and logs call the controller.
    pub(crate) fn name(&self) -> &'static str {
        self.controller.committer().name
    }

    /// Waits for leadership, then works until shutdown.
    pub(crate) async fn run(self, woken: UnboundedReceiver<Key>, shutdown: CancellationToken) -> Result<()> {
        let Self {
            controller,
            objects,
            watch_filter,
            sync_period,
            concurrency,
        } = self;
        let mut leadership = controller.committer().leadership.clone();
        tokio::select! {
            () = async { leadership.acquired().await; objects.ready().await } => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let committer = controller.committer();
        let label = metrics::Controller {
            controller: committer.name,
        };
        let workers = committer.metrics.workers.get_or_create(&label).clone();
        workers.set(i64::from(concurrency));
        let reader = C::reader(&objects).clone();
        let again = stream::select(
            periods(sync_period),
            // Also at the beginning.
            committer.leadership.gains(),
        );
        let looked_at = reader.clone();
        let again = again.flat_map(move |()| stream::iter(all(&looked_at)));
        // The wakes never end while the process lives: their senders are kept by the watches.
        let wakes = stream::select(UnboundedReceiverStream::new(woken), again);
        let shared = Arc::new(Shared {
            controller,
            watch_filter,
        });
        let (known, told) = (reader.clone(), Arc::clone(&shared));
        let wakes = wakes.map(move |key| {
            let reference = key.reference();
            if known.get(&reference).is_none() {
                told.controller.set_aside(&key);
            }
            reference
        });
        kube::runtime::Controller::for_stream(stream::pending(), reader)
            .with_config(Config::default().concurrency(concurrency))
            .reconcile_on(wakes)
            .graceful_shutdown_on(shutdown.cancelled_owned())
            .run(reconcile, error_policy, shared)
            .for_each(|_| async {})
            .await;
        Ok(())
    }
}

fn all<K: Kind>(reader: &Store<Guarded<K>>) -> Vec<Key> {
    let objects = reader.state();
    objects.iter().map(|object| Key::of(object.as_ref())).collect()
}

/// Tells each time that a period is over.
fn periods(period: Option<Duration>) -> impl Stream<Item = ()> + Send + 'static {
    stream::unfold(period, async |period| {
        match period {
            Some(period) => tokio::time::sleep(period).await,
            None => std::future::pending().await,
        }
        Some(((), period))
    })
}

async fn reconcile<C: Reconcile>(
    guarded: Arc<Guarded<C::Object>>,
    shared: Arc<Shared<C>>,
) -> Result<Action, Failure> {
    let key = Key::of(guarded.as_ref());
    let committer = shared.controller.committer();
    let cached = guarded.0.as_ref().ok();
    let selected = cached.filter(|cached| selected(cached.labels(), &shared.watch_filter));
    // Whoever gets this share of the work looks at everything in it.
    let entered = selected.and_then(|cached| Some((cached, committer.leadership.enter(&share_key(cached))?)));
    let Some((cached, _busy)) = entered else {
        shared.controller.set_aside(&key);
        return Ok(Action::await_change());
    };
    let started = Instant::now();
    let object = committer.newest(cached);
    let span = telemetry::reconcile(C::KIND, &key.namespace, &key.name);
    let looked = shared.controller.pass(&key, &object).instrument(span.clone());
    let result = match tokio::time::timeout(PASS_DEADLINE, looked).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Deadline),
    };
    if result.is_err() {
        telemetry::failed(&span);
        shared.controller.failed(&key);
    }
    let outcome = match &result {
        Ok(again) if again.requeue == Requeue::OnChange => "success",
        Ok(_) => "requeue_after",
        Err(_) => "error",
    };
    committer
        .metrics
        .passed(committer.name, outcome, started.elapsed());
    let Again { requeue, longest } = result?;
    if requeue != Requeue::Backoff {
        committer.backoff.forget(&key);
    }
    Ok(match requeue {
        Requeue::Now => Action::requeue(Duration::ZERO),
        Requeue::After(after) => Action::requeue(duration(after)),
        Requeue::Backoff => Action::requeue(committer.delay(&key).min(longest)),
        Requeue::OnChange => Action::await_change(),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "signature of kube's error policy")]
fn error_policy<C: Reconcile>(
    object: Arc<Guarded<C::Object>>,
    failure: &Failure,
    shared: Arc<Shared<C>>,
) -> Action {
    let committer = shared.controller.committer();
    committer.after_failure(&Key::of(object.as_ref()), failure)
}

/// What lies in the past is due now.
fn duration(signed: SignedDuration) -> Duration {
    Duration::try_from(signed).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests;
