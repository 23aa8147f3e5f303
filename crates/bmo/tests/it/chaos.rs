//! Chaos: two hundred hosts are edited at random while everything that may die does, and things go wrong in between.
//!
//! Hosts are of three kinds, see [`Kind`]: those that nobody touches, those whose disks nobody means to touch, and those
//! to which anything is done. Afterwards each is where its spec wants it, and nothing happened to a machine that nobody
//! asked for.

mod edits;
mod intent;
mod outcome;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use metal3_api::metal3::host::BareMetalHost;
use metal3_ironic_sim::{Config, Latencies, Running, Sim};
use metal3_testkit::{ControlPlane, wait, workspace};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::edits::Fleet;
use crate::program::{Bmo, Launch};
use crate::world::bmo_account;

const NAMESPACE: &str = "chaos";
/// Long enough for each kind of disaster to come several times.
const STORM: Duration = Duration::from_secs(25);
/// Things take their time, so that something is always under way when something dies.
const LATENCIES: &str =
    "verify=50ms,power=100ms,inspect=300ms,clean=400ms,deploy=600ms,undeploy=100ms,adopt=50ms";

/// Everything there is.
struct Chaos {
    plane: ControlPlane,
    ironic: Running,
    bmo: Bmo,
    hosts: Api<BareMetalHost>,
    secrets: Api<Secret>,
    /// What happened, for messages.
    diary: Mutex<Vec<String>>,
    begun: Instant,
}

impl Chaos {
    async fn start() -> Arc<Self> {
        let plane = ControlPlane::start().await.unwrap();
        plane
            .install_crds(&workspace().join("charts/metal3-crds/templates"))
            .await
            .unwrap();
        let account = bmo_account(&plane, NAMESPACE).await;
        let ironic = Sim::start(Config {
            latencies: LATENCIES.parse::<Latencies>().unwrap(),
            ..Config::default()
        })
        .await
        .unwrap();
        let launch = Launch {
            kubeconfig: &account.kubeconfig,
            watch: NAMESPACE,
            home: NAMESPACE,
            ironic: &ironic.endpoint,
            // A killed leader's lease would have to run out each time.
            leader_election: false,
        };
        let bmo = launch.start();
        bmo.ready().await;
        let client = plane.client();
        Arc::new(Self {
            hosts: Api::namespaced(client.clone(), NAMESPACE),
            secrets: Api::namespaced(client, NAMESPACE),
            plane,
            ironic,
            bmo,
            diary: Mutex::default(),
            begun: Instant::now(),
        })
    }

    fn note(&self, what: impl Into<String>) {
        let line = format!("{:6.2} s {}", self.begun.elapsed().as_secs_f64(), what.into());
        self.diary.lock().unwrap().push(line);
    }

    fn diary(&self) -> String {
        self.diary.lock().unwrap().join("\n")
    }

    /// What kubelet does.
    fn supervise(&self) {
        if let Some(status) = self.bmo.process.ended() {
            self.note(format!("bmo ended by itself with {status}"));
            self.bmo.process.restart().unwrap();
        }
    }

    /// Lets one thing go wrong, and makes it good again.
    async fn disaster(&self, random: &mut StdRng) {
        let pause = |random: &mut StdRng, most: u64| Duration::from_millis(random.random_range(0..most));
        match random.random_range(0..16) {
            0..5 => {
                let pause = pause(random, 400);
                self.note(format!("bmo dies for {pause:?}"));
                self.bmo.process.kill();
                tokio::time::sleep(pause).await;
                self.bmo.process.restart().unwrap();
            }
            5..8 => {
                let pause = pause(random, 1500);
                self.note(format!("Ironic restarts for {pause:?}"));
                self.ironic.restart(pause);
                tokio::time::sleep(pause).await;
            }
            8..10 => {
                self.note("etcd dies");
                self.plane.kill_etcd();
                tokio::time::sleep(pause(random, 500)).await;
                self.plane.revive().unwrap();
            }
            // It needs seconds to come back, in which nobody can edit anything.
            10 => {
                self.note("the API server dies");
                self.plane.kill_apiserver();
                self.plane.revive().unwrap();
            }
            _ => {
                let faults = [
                    "api-unavailable",
                    "bmc-slow:300ms@*",
                    "bmc-error@*1.chaos*",
                    "bmc-unreachable@*3.chaos*",
                    "fail:deploy@chaos~wild-*4",
                    "fail:clean@chaos~wild-*6",
                    "fail:inspect@chaos~wild-*8",
                    "node-locked@*5.chaos*",
                ];
                let (fault, pause) = (faults[random.random_range(0..faults.len())], pause(random, 1000));
                self.note(format!("{fault} for {pause:?}"));
                self.ironic.set_fault("chaos", fault.parse().unwrap());
                tokio::time::sleep(pause).await;
                self.ironic.clear_faults();
            }
        }
    }

    async fn disasters(&self, mut random: StdRng, stop: CancellationToken) {
        loop {
            let calm = Duration::from_millis(random.random_range(100..1500));
            tokio::select! {
                () = tokio::time::sleep(calm) => {}
                () = stop.cancelled() => return,
            }
            self.disaster(&mut random).await;
            self.supervise();
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_chaos_every_host_is_where_its_spec_wants_it() {
    let seed = setting("METAL3_TEST_SEED").unwrap_or_else(rand::random);
    let count = setting("METAL3_TEST_HOSTS").and_then(|count| usize::try_from(count).ok());
    println!("METAL3_TEST_SEED={seed} repeats the decisions of this run");
    let chaos = Chaos::start().await;
    let mut fleet = Fleet::new(&chaos, count.unwrap_or(200));
    fleet.create().await;
    chaos.note("all hosts are where they begin");
    let before = fleet.untouched();

    let stop = CancellationToken::new();
    let disasters = tokio::spawn({
        let (chaos, stop) = (Arc::clone(&chaos), stop.clone());
        async move { chaos.disasters(StdRng::seed_from_u64(seed ^ 1), stop).await }
    });
    let edits = fleet.edit(StdRng::seed_from_u64(seed), STORM).await;
    stop.cancel();
    disasters.await.unwrap();
    chaos.ironic.clear_faults();
    wait::until("the API server to serve again", wait::LONG, async || {
        chaos.plane.ready().await
    })
    .await;
    chaos.supervise();
    chaos.note(format!("the storm is over after {edits} edits"));

    fleet.settle().await;
    fleet.converge().await;
    chaos.note("all hosts are where they are wanted");
    fleet.judge(&before).await;
    // What was denied tells nothing here: an API server that begins refuses what it has not read the roles for.
    let log = chaos.bmo.process.log();
    assert!(!log.contains("panicked at"), "bmo panicked:\n{log}");
    println!("{}", chaos.diary());
}
