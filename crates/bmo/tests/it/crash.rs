//! `kill -9` between any two calls: nothing is lost, nothing is done twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use kube::Api;
use metal3_api::metal3::hardware_data::HardwareData;
use metal3_rpc::v1::ClaimHostRequest;
use metal3_rpc::v1::claim_host_response::Reason as Chosen;
use metal3_testkit::gate::{Fate, Gate, Keeper, Passing};
use metal3_testkit::process::Process;
use metal3_testkit::{ControlPlane, wait};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tonic::Code;

use crate::ironic::Ironic;
use crate::program::Launch;
use crate::world::{World, bmo_account};

/// Deaths in one life of two hosts, which takes some eighty writes.
const DEATHS: usize = 24;

/// Kills bmo, and starts it again at once.
struct Reaper {
    victim: OnceLock<Weak<Process>>,
    deaths: Mutex<Vec<String>>,
    decide: Box<dyn Fn(&Passing) -> Fate + Send + Sync>,
}

impl Reaper {
    fn new(decide: impl Fn(&Passing) -> Fate + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            victim: OnceLock::new(),
            deaths: Mutex::default(),
            decide: Box::new(decide),
        })
    }

    /// Dies at random writes, before or after them.
    fn random(seed: u64) -> Arc<Self> {
        println!("METAL3_TEST_SEED={seed} repeats the decisions of this run");
        let dice = Mutex::new((StdRng::seed_from_u64(seed), DEATHS));
        Self::new(move |passing| {
            let mut dice = dice.lock().unwrap();
            if !passing.writes() || dice.1 == 0 {
                return Fate::Pass;
            }
            let fate = match dice.0.random_range(0..4) {
                0 => Fate::DieBefore,
                1 => Fate::DieAfter,
                _ => Fate::Pass,
            };
            dice.1 -= usize::from(fate != Fate::Pass);
            fate
        })
    }

    fn deaths(&self) -> Vec<String> {
        self.deaths.lock().unwrap().clone()
    }
}

impl Keeper for Reaper {
    fn judge(&self, passing: &Passing) -> Fate {
        let fate = (self.decide)(passing);
        if fate != Fate::Pass {
            self.deaths
                .lock()
                .unwrap()
                .push(format!("{fate:?} {} {}", passing.method, passing.target));
        }
        fate
    }

    fn strike(&self, _: &Passing) {
        if let Some(process) = self.victim.get().and_then(Weak::upgrade) {
            process.restart().unwrap();
        }
    }
}

/// A world whose bmo reaches Kubernetes and Ironic through gates.
async fn world(name: &str, reaper: &Arc<Reaper>) -> (World, [Gate; 2]) {
    let plane = ControlPlane::shared().await;
    let ironic = Ironic::start().await;
    let account = bmo_account(plane, name).await;
    let ca = std::fs::read_to_string(plane.ca_file()).unwrap();
    let keeper = || Arc::clone(reaper) as Arc<dyn Keeper>;
    let kubernetes = Gate::open(plane.address().unwrap(), Some(&ca), keeper())
        .await
        .unwrap();
    let to_ironic = Gate::open(ironic.address(), None, keeper()).await.unwrap();
    let launch = Launch {
        kubeconfig: &account.kubeconfig_by(kubernetes.url()).unwrap(),
        watch: name,
        home: name,
        ironic: &format!("{}/v1", to_ironic.url()),
        leader_election: false,
    };
    let bmo = launch.start();
    reaper.victim.set(Arc::downgrade(&bmo.process)).unwrap();
    bmo.ready().await;
    (
        World {
            plane,
            namespace: name.to_owned(),
            account,
            ironic,
            bmo,
        },
        [kubernetes, to_ironic],
    )
}

#[tokio::test]
async fn a_host_survives_its_operator_dying_at_any_write() {
    let given = std::env::var("METAL3_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let reaper = Reaper::random(given.unwrap_or_else(rand::random));
    let (world, _gates) = world("crash", &reaper).await;
    for name in ["a", "b"] {
        world.create(&world.host(name)).await;
    }
    for name in ["a", "b"] {
        world.reaches(name, "available").await;
    }
    let nodes = async || {
        let mut names: Vec<_> = world
            .ironic
            .nodes()
            .await
            .into_iter()
            .map(|node| node.name)
            .collect();
        names.sort();
        names
    };
    let deaths = || format!("deaths: {:#?}", reaper.deaths());
    assert_eq!(nodes().await, ["crash~a", "crash~b"], "{}", deaths());
    let data: Api<HardwareData> = Api::namespaced(world.client(), &world.namespace);
    for name in ["a", "b"] {
        let found = data.get_opt(name).await.unwrap();
        assert!(
            found.is_some_and(|data| data.spec.hardware.is_some()),
            "no HardwareData of {name}; {}",
            deaths()
        );
    }
    let image = json!({"url": "http://images.test/a.qcow2", "checksum": "d41d8cd98f00b204e9800998ecf8427e"});
    world.patch("a", json!({"spec": {"image": image}})).await;
    world.reaches("a", "provisioned").await;
    assert_eq!(world.ironic.deployments(&world.host("a")), 1, "{}", deaths());
    assert_eq!(nodes().await, ["crash~a", "crash~b"], "{}", deaths());
    world.patch("a", json!({"spec": {"image": null}})).await;
    world.reaches("a", "available").await;
    for name in ["a", "b"] {
        world.delete(name).await;
    }
    for name in ["a", "b"] {
        world.is_gone(name).await;
    }
    assert!(nodes().await.is_empty(), "{}", deaths());
    assert!(
        reaper.deaths().len() > DEATHS / 2,
        "too few to prove anything; {}",
        deaths()
    );
}

/// A claim is one write: bmo dies before it, or after it.
async fn claim_with_death(name: &str, fate: Fate, then: Chosen) {
    let armed = Arc::new(AtomicUsize::new(0));
    let trigger = Arc::clone(&armed);
    let reaper = Reaper::new(move |passing| {
        let claims = passing.method == "PATCH" && passing.target.contains("/baremetalhosts/");
        if claims
            && trigger
                .compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        {
            fate
        } else {
            Fate::Pass
        }
    });
    let (world, _gates) = world(name, &reaper).await;
    world.available(&["a", "b", "c"]).await;
    // Nothing else is written any more: a claim that meets another write is refused and made again.
    for host in ["a", "b", "c"] {
        wait::until("the host to be on", wait::LONG, async || {
            world.get(host).await.status.filter(|status| status.powered_on)
        })
        .await;
    }
    let mut hosts = world.caller("caller", &["claim"]).await;
    let request = ClaimHostRequest {
        namespace: name.into(),
        consumer: Some(world.consumer("m")),
        ..Default::default()
    };
    armed.store(1, Ordering::SeqCst);
    let lost = hosts.claim_host(request.clone()).await.unwrap_err();
    assert!(
        matches!(
            lost.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
        ),
        "{lost:?}"
    );
    assert_eq!(reaper.deaths().len(), 1);
    world.bmo.ready().await;
    let answer = wait::until("the claim to be answered", wait::LONG, async || {
        hosts
            .claim_host(request.clone())
            .await
            .map_err(|error| error.to_string())
    })
    .await
    .into_inner();
    assert_eq!(answer.reason(), then);
    let taken = world.hosts().list(&Default::default()).await.unwrap();
    let taken: Vec<_> = taken
        .into_iter()
        .filter(|host| host.spec.consumer_ref.is_some())
        .collect();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        taken[0].metadata.name.as_ref(),
        Some(&answer.host.unwrap().r#ref.unwrap().name)
    );
}

#[tokio::test]
async fn a_claim_that_died_before_its_write_is_made_once() {
    claim_with_death("crash-claim-before", Fate::DieBefore, Chosen::Selected).await;
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_not_made_twice() {
    claim_with_death("crash-claim-after", Fate::DieAfter, Chosen::Existing).await;
}
