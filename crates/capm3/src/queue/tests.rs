//! How soon an object is looked at again after a long outage, in virtual time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::runtime::{reflector, watcher};
use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_kit::lease::Leadership;
use metal3_kit::metrics::Metrics;
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::commit::LONGEST_DELAY;
use crate::machine::look_for_host;
use crate::metrics::Capm3Metrics;

const OUTAGE: Duration = Duration::from_mins(10);
/// More than the longest delay between two looks.
const LATER: Duration = Duration::from_mins(3);

/// A controller that cannot do anything until the outage is over.
struct Away {
    committer: Committer<Metal3Machine>,
    began: Instant,
    looks: Arc<Mutex<Vec<Duration>>>,
    failures: Arc<AtomicUsize>,
    meanwhile: fn() -> Result<Again, Failure>,
}

impl Reconcile for Away {
    type Object = Metal3Machine;

    const KIND: &'static str = "Metal3Machine";

    fn reader(objects: &Objects) -> &Store<Guarded<Metal3Machine>> {
        &objects.metal3_machines
    }

    fn committer(&self) -> &Committer<Metal3Machine> {
        &self.committer
    }

    async fn pass(&self, _: &Key, _: &Metal3Machine) -> Result<Again, Failure> {
        let now = self.began.elapsed();
        self.looks.lock().unwrap().push(now);
        if now < OUTAGE {
            (self.meanwhile)()
        } else {
            Ok(Requeue::OnChange.into())
        }
    }

    fn failed(&self, key: &Key) {
        assert_eq!(*key, self::key());
        self.failures.fetch_add(1, Ordering::AcqRel);
    }
}

/// When the one object was looked at; somebody may wake it meanwhile.
async fn looks(
    meanwhile: fn() -> Result<Again, Failure>,
    wake: impl AsyncFnOnce(UnboundedSender<Key>),
) -> Vec<Duration> {
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let client = kube::Client::try_from(nowhere).unwrap();
    let metrics = Capm3Metrics::register(&Metrics::default());
    let looks = Arc::<Mutex<Vec<Duration>>>::default();
    let failures = Arc::<AtomicUsize>::default();
    let queue = Queue {
        controller: Away {
            committer: Committer::new(client, Leadership::always(), metrics, "metal3machine"),
            began: Instant::now(),
            looks: Arc::clone(&looks),
            failures: Arc::clone(&failures),
            meanwhile,
        },
        objects: objects(),
        watch_filter: String::new(),
        sync_period: None,
        concurrency: 1,
    };
    let (sender, woken) = mpsc::unbounded_channel();
    let running = tokio::spawn(queue.run(woken, CancellationToken::new()));
    wake(sender.clone()).await;
    tokio::time::sleep(OUTAGE + LATER).await;
    running.abort();
    let looks = Vec::clone(&looks.lock().unwrap());
    let early = looks.iter().filter(|look| **look < OUTAGE).count();
    let failed = if meanwhile().is_err() { early } else { 0 };
    assert_eq!(failures.load(Ordering::Acquire), failed, "each failure is told");
    looks
}

fn key() -> Key {
    Key::new("ns", "m")
}

/// One machine, and all was listed.
fn objects() -> Objects {
    let machine = json!({"metadata": {"namespace": "ns", "name": "m"}, "spec": {}});
    let (metal3_machines, mut writer) = reflector::store();
    for event in [
        watcher::Event::Init,
        watcher::Event::InitApply(serde_json::from_value(machine).unwrap()),
        watcher::Event::InitDone,
    ] {
        writer.apply_watcher_event(&event);
    }
    Objects {
        metal3_machines,
        metal3_clusters: reflector::store().0,
        remediations: reflector::store().0,
        templates: reflector::store().0,
        machines: reflector::store().0,
        clusters: reflector::store().0,
        listed: watch::Sender::new(usize::MAX),
    }
}

/// The longest time between two looks during the outage, and from its end to the look that finds it over.
fn gaps(looks: &[Duration]) -> (Duration, Duration) {
    let between = looks.windows(2).map(|pair| pair[1] - pair[0]);
    (between.max().unwrap(), *looks.last().unwrap() - OUTAGE)
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_host_service_looks_again_within_seconds_after_ten_minutes() {
    let unanswered = || {
        Ok(Again {
            requeue: Requeue::Backoff,
            longest: UNANSWERED,
        })
    };
    let looked = looks(unanswered, async |_| {}).await;
    let (longest, late) = gaps(&looked);
    assert!(longest <= UNANSWERED && late <= UNANSWERED, "{looked:?}");
    assert!((20..40).contains(&looked.len()), "{looked:?}");

    // Whoever hears that it is back does not wait for that.
    let looked = looks(unanswered, async |woken| {
        tokio::time::sleep(OUTAGE).await;
        woken.send(key()).unwrap();
    })
    .await;
    let (_, late) = gaps(&looked);
    assert!(late < Duration::from_secs(1), "{looked:?}");
}

#[tokio::test(start_paused = true)]
async fn who_failed_for_ten_minutes_looks_again_within_a_minute() {
    let looked = looks(|| Err(Failure::Deadline), async |_| {}).await;
    let (longest, late) = gaps(&looked);
    assert!(longest <= LONGEST_DELAY && late <= LONGEST_DELAY, "{looked:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_host_looks_after_ten_minutes_and_sooner_when_not_everything_is_told() {
    let told = || Ok(look_for_host(Requeue::After(SignedDuration::from_mins(10)), true, 0.0).into());
    let looked = looks(told, async |_| {}).await;
    assert_eq!(looked.len(), 2, "{looked:?}");
    let untold = || Ok(look_for_host(Requeue::After(SignedDuration::from_mins(10)), false, 0.0).into());
    let looked = looks(untold, async |_| {}).await;
    assert_eq!(looked.len(), 21, "{looked:?}");
}
