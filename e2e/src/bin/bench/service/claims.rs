//! Claims and reads of many callers at once: nobody may get a host that somebody else got, and how long each waits.
//!
//! Claims are measured twice. In the first round all callers come at the same moment, and the last one cannot be done
//! before all others are: that is the rate that the service sustains. In the second round they come evenly at the rate that
//! is aimed at, and the time from when each was due counts, whether or not the client was late itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::{join_all, try_join_all};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use metal3_api::metal3::host::BareMetalHost;
use metal3_rpc::client::HostClient;
use metal3_rpc::v1::{
    ClaimHostRequest, GetHostRequest, HostRef, Image, ListHostsRequest, ProvisionSpec, SecretRef, Selector,
};
use metal3_testkit::wait;
use serde_json::json;

use super::fleet::{self, Fleet, consumer};
use super::{BOUND, NAMESPACE, Service};
use crate::count::{self, Counts, since};
use crate::figures::{Figures, as_f64};
use crate::say;
use crate::spread::Spread;

/// Calls of GetHost, and how many of them at once.
const READS: usize = 10_000;
const READERS: usize = 8;

/// As long as this no request may come, and how often that is looked for.
const STILL: Duration = Duration::from_secs(1);
const LOOKS: u32 = 60;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of hosts.
    #[arg(long, default_value_t = 10_000)]
    hosts: usize,
    /// How many of them are free; so many machines claim one.
    #[arg(long, default_value_t = 1000)]
    free: usize,
    /// Claims a second in the second round.
    #[arg(long, default_value_t = 150)]
    rate: u32,
}

impl Args {
    pub(crate) fn title(&self) -> String {
        format!(
            "HostService with {} hosts, {} of them free",
            self.hosts, self.free
        )
    }
}

/// All that is measured once.
pub(crate) async fn run(args: &Args) -> Result<Figures> {
    let fleet = Fleet {
        hosts: args.hosts,
        free: args.free,
    };
    let service = Service::start().await?;
    let mut figures = Figures::default();
    let (empty, _) = count::memory(service.bmo.pid())?;
    fleet.store(&service.plane.client(), NAMESPACE).await?;
    service.restart().await?;
    let (full, _) = count::memory(service.bmo.pid())?;
    figures.set("memory.empty", empty);
    figures.set("memory.full", full);
    say(&format!(
        "  memory: {empty:.1} MiB without a host, {full:.1} MiB with {}",
        fleet.hosts
    ))?;

    let client = service.client()?;
    let reads = read(&client, fleet.hosts).await?;
    figures.set("get.p50", reads.percentile(50));
    figures.set("get.p99", reads.percentile(99));
    say(&format!(
        "  GetHost, {} calls by {READERS} at once: p50 {:.2} ms, p99 {:.2} ms",
        reads.len(),
        reads.percentile(50),
        reads.percentile(99)
    ))?;

    let at_once = Round {
        name: "burst",
        pace: Duration::ZERO,
    };
    at_once.run(&service, &client, fleet, &mut figures).await?;
    release(&service, &client, fleet).await?;
    let evenly = Round {
        name: "even",
        pace: Duration::from_secs(1) / args.rate.max(1),
    };
    evenly.run(&service, &client, fleet, &mut figures).await?;
    figures.set("claims.double", 0.0);
    Ok(figures)
}

/// Reads all over the fleet.
async fn read(client: &HostClient, hosts: usize) -> Result<Spread> {
    let readers = (0..READERS).map(|reader| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut durations = Vec::with_capacity(READS / READERS);
            for call in 0..READS / READERS {
                // A step that has no divisor in common with the fleet comes to every host.
                let number = (reader + call * READERS).wrapping_mul(7919) % hosts;
                let request = GetHostRequest {
                    host: Some(HostRef::named(NAMESPACE, fleet::name(number))),
                };
                let begin = Instant::now();
                client.get_host(request).await?;
                durations.push(begin.elapsed());
            }
            anyhow::Ok(durations)
        })
    });
    let mut all = Vec::new();
    for reader in try_join_all(readers).await? {
        all.extend(reader?);
    }
    Ok(Spread::of(all))
}

/// One claim of each machine.
struct Round {
    name: &'static str,
    /// Between one caller and the next.
    pace: Duration,
}

impl Round {
    async fn run(
        &self,
        service: &Service,
        client: &HostClient,
        fleet: Fleet,
        figures: &mut Figures,
    ) -> Result<()> {
        let before = Cost::now(service).await?;
        let begin = Instant::now();
        let claims = (0..fleet.free).map(|number| {
            let (client, request) = (client.clone(), self.request(number));
            let due = begin + self.pace * u32::try_from(number).unwrap_or(u32::MAX);
            tokio::spawn(async move {
                tokio::time::sleep_until(due.into()).await;
                let answer = client.claim_host(request).await;
                (number, answer, due.elapsed())
            })
        });
        let answers = join_all(claims).await;
        let seconds = begin.elapsed().as_secs_f64();
        let spent = Cost::settled(service).await?;
        let (mut given, mut durations) = (BTreeMap::new(), Vec::new());
        for answer in answers {
            let (number, answer, duration) = answer?;
            let answer = answer.with_context(|| format!("the claim of {}", self.machine(number)))?;
            let host = answer.host.and_then(|host| host.r#ref).unwrap_or_default().name;
            let machine = self.machine(number);
            if let Some(other) = given.insert(host.clone(), machine.clone()) {
                anyhow::bail!("DOUBLE CLAIM: host {host} was given to {machine} and to {other}");
            }
            durations.push(duration);
        }
        self.check(service, &given).await?;
        self.tell(figures, &Spread::of(durations), seconds, &before, &spent)
    }

    fn machine(&self, number: usize) -> String {
        format!("{}-{number:05}", self.name)
    }

    /// As capm3 asks.
    fn request(&self, number: usize) -> ClaimHostRequest {
        let machine = self.machine(number);
        let secret = |kind: &str| {
            Some(SecretRef {
                name: format!("{machine}-{kind}"),
                namespace: NAMESPACE.into(),
            })
        };
        ClaimHostRequest {
            namespace: NAMESPACE.into(),
            cluster_name: "bench".into(),
            selector: Some(Selector {
                match_labels: [("size".into(), "large".into())].into(),
                ..Selector::default()
            }),
            provision: Some(ProvisionSpec {
                image: Some(Image {
                    url: "http://images.example.com/node.qcow2".into(),
                    checksum: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".into(),
                    checksum_type: "sha256".into(),
                    ..Image::default()
                }),
                user_data: secret("user-data"),
                meta_data: secret("meta-data"),
                network_data: secret("network-data"),
                power_on: true,
                ..ProvisionSpec::default()
            }),
            consumer: Some(consumer(NAMESPACE, machine)),
            ..ClaimHostRequest::default()
        }
    }

    /// What was answered is what is stored: each machine has one host, and that one.
    async fn check(&self, service: &Service, given: &BTreeMap<String, String>) -> Result<()> {
        let hosts: Api<BareMetalHost> = Api::namespaced(service.plane.client(), NAMESPACE);
        let mut stored = BTreeMap::new();
        for host in hosts.list(&ListParams::default()).await? {
            let machine = host.spec.consumer_ref.and_then(|consumer| consumer.name);
            let name = host.metadata.name.unwrap_or_default();
            stored.extend(
                machine
                    .filter(|name| name.starts_with(self.name))
                    .map(|machine| (name, machine)),
            );
        }
        ensure!(
            stored == *given,
            "DOUBLE CLAIM: {} hosts were given, but {} are stored as claimed, or to others: {:?}",
            given.len(),
            stored.len(),
            stored
                .iter()
                .filter(|(host, machine)| given.get(*host) != Some(machine))
                .take(5)
                .collect::<Vec<_>>()
        );
        Ok(())
    }

    fn tell(
        &self,
        figures: &mut Figures,
        spread: &Spread,
        seconds: f64,
        before: &Cost,
        spent: &Cost,
    ) -> Result<()> {
        let claims = as_f64(spread.len());
        let (p50, p99) = (spread.percentile(50), spread.percentile(99));
        for (figure, value) in [("rate", claims / seconds), ("p50", p50), ("p99", p99)] {
            figures.set(&format!("{}.{figure}", self.name), value);
        }
        say(&format!(
            "  ClaimHost, {} {}: {:.0} claims/s, p50 {p50:.0} ms, p99 {p99:.0} ms, the last {:.0} ms; each host once",
            spread.len(),
            if self.pace.is_zero() { "at once" } else { "evenly" },
            claims / seconds,
            spread.percentile(100),
        ))?;
        let each = |title: &str, counts: &Counts, factor: f64| {
            let parts: Vec<String> = counts
                .iter()
                .map(|(kind, number)| format!("{:.2} {kind}", number * factor / claims))
                .collect();
            say(&format!("      {title} per claim: {}", parts.join(", ")))
        };
        let requests = since(&before.requests, &spent.requests);
        figures.set(
            &format!("{}.requests", self.name),
            requests.values().sum::<f64>() / claims,
        );
        each("requests", &requests, 1.0)?;
        let cpu = since(&before.cpu, &spent.cpu);
        let of_bmo = cpu.get("bmo").copied().unwrap_or_default();
        figures.set(&format!("{}.cpu", self.name), of_bmo * 1000.0 / claims);
        each("CPU ms", &cpu, 1000.0)
    }
}

/// What was spent by some moment.
struct Cost {
    requests: Counts,
    cpu: Counts,
}

impl Cost {
    async fn now(service: &Service) -> Result<Self> {
        let ours = ["baremetalhosts", "secrets", "events"];
        let text = service.plane.metrics().await?;
        let requests = count::requests_of_apiserver(&text, |_, resource| ours.contains(&resource));
        let [etcd, apiserver] = service.plane.pids();
        let pids = [
            ("bmo", service.bmo.pid()),
            ("kube-apiserver", apiserver),
            ("etcd", etcd),
            ("bench", std::process::id()),
        ];
        let cpu = pids
            .into_iter()
            .map(|(name, pid)| Ok((name.to_owned(), count::cpu(pid)?)));
        Ok(Self {
            requests,
            cpu: cpu.collect::<Result<_>>()?,
        })
    }

    /// When nothing more is asked: Events are told in the background, after the answer.
    async fn settled(service: &Service) -> Result<Self> {
        let mut last = Self::now(service).await?;
        for _ in 0..LOOKS {
            tokio::time::sleep(STILL).await;
            let now = Self::now(service).await?;
            if now.requests == last.requests {
                return Ok(now);
            }
            last = now;
        }
        anyhow::bail!(
            "the API server is still asked for hosts, Secrets or Events {LOOKS} s after the last claim"
        )
    }
}

/// Makes the claimed hosts free again, and waits until the service knows.
async fn release(service: &Service, client: &HostClient, fleet: Fleet) -> Result<()> {
    let hosts: Api<BareMetalHost> = Api::namespaced(service.plane.client(), NAMESPACE);
    let patch = json!({"spec": {
        "consumerRef": null, "image": null, "userData": null, "metaData": null, "networkData": null,
    }});
    let (hosts, patch) = (Arc::new(hosts), Arc::new(Patch::Merge(patch)));
    stream::iter(0..fleet.free)
        .map(|number| {
            let (hosts, patch) = (Arc::clone(&hosts), Arc::clone(&patch));
            async move {
                hosts
                    .patch(&fleet::name(number), &PatchParams::default(), &patch)
                    .await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(32)
        .try_collect::<()>()
        .await?;
    let request = ListHostsRequest {
        namespace: NAMESPACE.into(),
        states: vec!["available".into()],
        page_size: 1000,
        ..ListHostsRequest::default()
    };
    wait::try_until("the service to know the hosts as free", BOUND, async || {
        let page = client
            .list_hosts(request.clone())
            .await
            .map_err(|status| status.to_string())?;
        let taken = page.hosts.iter().filter(|host| host.consumer.is_some()).count();
        if taken == 0 {
            Ok(())
        } else {
            Err(format!("{taken} are not"))
        }
    })
    .await?;
    Ok(())
}
