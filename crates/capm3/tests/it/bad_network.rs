//! The network between the provider and the host service swallows everything, loses answers, or breaks.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures::future::join_all;
use kube::ResourceExt as _;
use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_testkit::wire::{Mode, Wire};
use metal3_testkit::{Account, ControlPlane, http, port, wait};

use crate::hosts::{Hosts, Moment, Strike};
use crate::lab::{ASSOCIATED, Lab, META_DATA};
use crate::program::{Capm3, Launch, Place, Serving, token_file};
use crate::world::account;

/// A provider at the far end of a wire.
struct Far {
    lab: Lab,
    account: Account,
    capm3: Capm3,
    wire: Arc<Wire>,
    metrics: String,
    _serving: Serving,
}

impl Far {
    async fn start(name: &str) -> Self {
        let plane = ControlPlane::shared().await;
        let account = account(plane, name, "capm3").await;
        let (place, hosts) = (Place::new(), Hosts::new(name));
        let serving = place.open(&hosts).await;
        let wire = Arc::new(Wire::open(place.server()).await.unwrap());
        let address = format!("https://localhost:{}", wire.address().port());
        let metrics = format!("127.0.0.1:{}", port::free().unwrap());
        let launch = Launch {
            kubeconfig: &account.kubeconfig,
            token: &token_file(plane, &account).await,
            watch: name,
            home: name,
            place: &place,
            flags: &[
                "--host-service-address",
                &address,
                // Minutes of an outage in seconds.
                "--host-service-timeout=3s",
                "--host-service-keepalive=300ms",
                "--diagnostics-address",
                &metrics,
                "--insecure-diagnostics",
            ],
        };
        let capm3 = launch.start();
        capm3.ready().await;
        let far = Self {
            lab: Lab::new(plane, name, hosts),
            account,
            capm3,
            wire,
            metrics: format!("http://{metrics}/metrics"),
            _serving: serving,
        };
        far.says("[+]host-service").await;
        far
    }

    async fn says(&self, line: &str) {
        wait::until(line, wait::LONG, async || {
            let (code, text) = self.capm3.readyz().await?;
            assert_eq!(code, 200, "{text}");
            if text.contains(line) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// The machines that hosts were given to, with the hosts.
    fn granted(&self) -> Vec<(String, String)> {
        self.lab.hosts.with(|hosts| hosts.granted.clone())
    }

    fn was_well(&self) {
        self.capm3.was_well(self.lab.plane, &self.account);
    }
}

impl Place {
    /// Where the host service itself listens.
    fn server(&self) -> SocketAddr {
        let address = self.address().replace("https://localhost", "127.0.0.1");
        address.parse().unwrap()
    }
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_told_and_forgotten_when_it_is_well() {
    let far = Far::start("swallowed").await;
    let lab = &far.lab;
    let process = far.capm3.process.pid();
    for host in ["a", "b"] {
        lab.free_host(host);
    }
    lab.ready_cluster("c").await;
    lab.machine("m", "c").await;
    lab.claimed("m").await;

    // Nobody refuses anything: there is just no answer, to the stream that there is and to whatever is asked.
    far.wire.set(Mode::Hole);
    lab.machine("n", "c").await;
    let unavailable = "HostServiceUnavailable";
    let message = lab
        .condition_saying::<Metal3Machine>("n", [ASSOCIATED, "False", unavailable], "does not answer since 2")
        .await;
    assert!(message.contains("--host-service-address"), "{message}");
    far.says("[~]host-service").await;
    lab.delete::<Metal3Machine>("m").await;
    lab.condition::<Metal3Machine>("m", META_DATA, "False", unavailable)
        .await;
    let deleting: Metal3Machine = lab.get("m").await;
    assert!(!deleting.finalizers().is_empty(), "its host is still lent");
    assert_eq!(far.granted().len(), 1);

    far.wire.set(Mode::Pass);
    lab.is_gone::<Metal3Machine>("m").await;
    lab.claimed("n").await;
    far.says("[+]host-service").await;
    assert_eq!(far.granted().len(), 2);
    assert_eq!(far.capm3.process.pid(), process);

    let (_, text) = http::get(&far.metrics).await.unwrap();
    for name in [
        r#"metal3_host_service_calls_total{method="ClaimHost",code="Ok"}"#,
        r#"metal3_host_service_call_duration_seconds_count{method="ClaimHost"}"#,
        r#"metal3_host_service_replicas{state="usable"} 1"#,
        r#"metal3_host_service_stream_restarts_total{code="Unavailable"}"#,
        "metal3_host_service_connected 1",
    ] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    far.was_well();
}

#[tokio::test]
async fn each_machine_gets_one_host_over_a_network_that_loses_answers() {
    let far = Far::start("lossy").await;
    let lab = &far.lab;
    let names: Vec<String> = (0..16).map(|number| format!("m{number:02}")).collect();
    // More than are needed: a second one for somebody would be found.
    for number in 0..24 {
        lab.free_host(&format!("h{number:02}"));
    }
    lab.ready_cluster("c").await;
    let machines = async {
        join_all(names.iter().map(|name| lab.machine(name, "c"))).await;
        join_all(names.iter().map(|name| lab.claimed(name))).await
    };
    let harm = async {
        for _ in 0..3 {
            for mode in [
                Mode::Mute,
                Mode::Slow(Duration::from_millis(30)),
                Mode::Hole,
                Mode::Refuse,
            ] {
                let before = lab.hosts.with(|hosts| hosts.log.len());
                far.wire.set(mode);
                // Until some calls felt it; there may be none for a while.
                let felt = wait::try_until("a call", Duration::from_secs(1), async || {
                    (lab.hosts.with(|hosts| hosts.log.len()) > before + 1).then_some(())
                });
                felt.await.ok();
                far.wire.cut();
            }
            far.wire.set(Mode::Pass);
            let before = far.granted().len();
            let progress = wait::try_until("a claim", Duration::from_secs(2), async || {
                (far.granted().len() > before).then_some(())
            });
            progress.await.ok();
        }
    };
    let (claimed, ()) = tokio::join!(machines, harm);
    let hosts: BTreeSet<_> = claimed.iter().collect();
    assert_eq!(hosts.len(), names.len(), "{claimed:?}");
    let granted = far.granted();
    let to: BTreeSet<_> = granted.iter().map(|(_, machine)| machine).collect();
    assert_eq!(
        (granted.len(), to.len()),
        (names.len(), names.len()),
        "{granted:?}"
    );

    // And all come back, also the one whose release was done and never confirmed.
    let (wire, muted) = (Arc::clone(&far.wire), Arc::new(AtomicBool::new(false)));
    let struck = Arc::clone(&muted);
    let mute: Strike = Arc::new(move |moment, method| {
        if (moment, method) == (Moment::After, "ReleaseHost") && !struck.load(SeqCst) {
            wire.set(Mode::Mute);
            struck.store(true, SeqCst);
        }
        false
    });
    lab.hosts.with(|hosts| hosts.strike = Some(mute));
    for name in &names {
        lab.delete::<Metal3Machine>(name).await;
    }
    wait::until("a release that nobody heard of", wait::LONG, async || {
        muted.load(SeqCst).then_some(())
    })
    .await;
    far.wire.cut();
    far.wire.set(Mode::Pass);
    for name in &names {
        lab.is_gone::<Metal3Machine>(name).await;
    }
    let busy = lab.hosts.with(|hosts| {
        hosts
            .hosts
            .values()
            .filter(|host| host.consumer.is_some())
            .count()
    });
    assert_eq!(busy, 0);
    far.was_well();
}
