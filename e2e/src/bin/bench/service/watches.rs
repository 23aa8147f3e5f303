//! One change told to many watchers, and what hosts and watchers need in memory.
//!
//! The time runs from when the change is sent to the API server until a watcher has it: the write, the watch of bmo, the
//! stream. How long the write alone took is told beside it. Each watcher has a connection of its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use kube::Api;
use kube::api::{Patch, PatchParams};
use metal3_api::metal3::host::BareMetalHost;
use metal3_rpc::client::HostStream;
use metal3_rpc::v1::WatchHostsRequest;
use metal3_rpc::v1::watch_hosts_response::Type;
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::fleet::{self, Fleet};
use super::{BOUND, NAMESPACE, Service};
use crate::count;
use crate::figures::{Figures, as_f64};
use crate::say;
use crate::spread::Spread;

/// The number of the change.
const LABEL: &str = "bench";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of hosts.
    #[arg(long, default_value_t = 10_000)]
    hosts: usize,
    /// Number of watchers.
    #[arg(long, default_value_t = 50)]
    watchers: usize,
    /// Number of changes, one after the other.
    #[arg(long, default_value_t = 200)]
    changes: usize,
}

impl Args {
    pub(crate) fn title(&self) -> String {
        format!(
            "HostService with {} hosts, {} watchers",
            self.hosts, self.watchers
        )
    }
}

/// All that is measured once.
pub(crate) async fn run(args: &Args) -> Result<Figures> {
    let service = Service::start().await?;
    let mut figures = Figures::default();
    let (empty, _) = count::memory(service.bmo.pid())?;
    let fleet = Fleet {
        hosts: args.hosts,
        free: 0,
    };
    fleet.store(&service.plane.client(), NAMESPACE).await?;
    service.restart().await?;
    let (full, _) = count::memory(service.bmo.pid())?;
    let each = (full - empty) * 10_000.0 / as_f64(args.hosts);
    say(&format!(
        "  memory: {empty:.1} MiB without a host, {full:.1} MiB with {}: {each:.1} MiB for 10,000",
        args.hosts
    ))?;

    let begin = Instant::now();
    let opened = (0..args.watchers).map(|_| open(&service, args.hosts));
    let streams = try_join_all(opened).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let (watched, _) = count::memory(service.bmo.pid())?;
    say(&format!(
        "  {} snapshots of {} hosts at once: {seconds:.1} s, {watched:.1} MiB then",
        args.watchers, args.hosts
    ))?;
    let fan_out = tell(&service, args, streams).await?;
    let Told {
        writes,
        watchers,
        all,
    } = &fan_out;
    say(&format!(
        "  {} changes to each of {} watchers: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        args.changes,
        args.watchers,
        watchers.percentile(50),
        watchers.percentile(99),
        watchers.percentile(100)
    ))?;
    say(&format!(
        "      the last of them: p50 {:.1} ms, p99 {:.1} ms; the write alone: p50 {:.1} ms, p99 {:.1} ms",
        all.percentile(50),
        all.percentile(99),
        writes.percentile(50),
        writes.percentile(99)
    ))?;
    for (figure, value) in [
        ("memory.empty", empty),
        ("memory.full", full),
        ("memory.watched", watched),
        ("memory.10000", each),
        ("snapshots.seconds", seconds),
        ("watch.p50", watchers.percentile(50)),
        ("watch.p99", watchers.percentile(99)),
        ("watch.max", watchers.percentile(100)),
        ("watch.write.p50", writes.percentile(50)),
    ] {
        figures.set(figure, value);
    }
    Ok(figures)
}

/// A stream whose snapshot was read.
async fn open(service: &Service, hosts: usize) -> Result<HostStream> {
    let request = WatchHostsRequest {
        namespaces: vec![NAMESPACE.into()],
        ..WatchHostsRequest::default()
    };
    let mut stream = service.client()?.watch_hosts(request).await?;
    let mut told = 0;
    loop {
        let message = stream.message().await?.context("a stream ended")?;
        match message.r#type() {
            Type::Added => told += 1,
            Type::Synced => break,
            _ => {}
        }
    }
    ensure!(told == hosts, "a snapshot has {told} hosts, not {hosts}");
    Ok(stream)
}

/// How long everything took.
struct Told {
    writes: Spread,
    /// Until each watcher had each change.
    watchers: Spread,
    /// Until the last watcher had a change.
    all: Spread,
}

/// Changes one host after the other; the next one once every watcher has it.
async fn tell(service: &Service, args: &Args, streams: Vec<HostStream>) -> Result<Told> {
    let hosts: Api<BareMetalHost> = Api::namespaced(service.plane.client(), NAMESPACE);
    let (seen, mut arrivals) = mpsc::unbounded_channel();
    for stream in streams {
        tokio::spawn(follow(stream, seen.clone()));
    }
    drop(seen);
    let (mut writes, mut watchers, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for change in 0..args.changes {
        // A step that has no divisor in common with the fleet comes to every part of it.
        let name = fleet::name(change.wrapping_mul(7919) % args.hosts);
        let number = change.to_string();
        let patch = Patch::Merge(json!({"metadata": {"labels": {LABEL: number}}}));
        let begin = Instant::now();
        let write = async {
            hosts.patch(&name, &PatchParams::default(), &patch).await?;
            anyhow::Ok(begin.elapsed())
        };
        let arrive = tokio::time::timeout(BOUND, arrived(&mut arrivals, &number, args.watchers));
        let (write, arrived) = tokio::join!(write, arrive);
        let arrived = arrived.context("a change was not told to all watchers")??;
        let durations = arrived.iter().map(|at| at.duration_since(begin));
        let durations: Vec<Duration> = durations.collect();
        writes.push(write?);
        all.extend(durations.iter().max());
        watchers.extend(durations);
    }
    Ok(Told {
        writes: Spread::of(writes),
        watchers: Spread::of(watchers),
        all: Spread::of(all),
    })
}

/// When each of the watchers had the change of that number.
async fn arrived(
    arrivals: &mut UnboundedReceiver<(String, Instant)>,
    number: &str,
    watchers: usize,
) -> Result<Vec<Instant>> {
    let mut arrived = Vec::with_capacity(watchers);
    while arrived.len() < watchers {
        let (of, at) = arrivals.recv().await.context("all streams ended")?;
        ensure!(of == number, "change {of} was told while {number} was made");
        arrived.push(at);
    }
    Ok(arrived)
}

/// Tells of each change when it comes, until the stream ends.
async fn follow(mut stream: HostStream, seen: UnboundedSender<(String, Instant)>) {
    while let Ok(Some(message)) = stream.message().await {
        let at = Instant::now();
        let number = message.host.and_then(|mut host| host.labels.remove(LABEL));
        if let Some(number) = number
            && seen.send((number, at)).is_err()
        {
            return;
        }
    }
}
