//! Machines of Cluster API on hosts of ironic-sim: the real core controllers, capm3 and bmo, and a real API server for the
//! Nodes of all workload clusters.
//!
//! * `stack.rs` the programs: `cluster_api.rs` the core controllers, `webhooks.rs` who is asked before a write, `workload.rs`
//!   where Nodes are
//! * `objects.rs` what users write; `joining.rs` what booted servers do
//! * `history.rs` who had which host when; `asked.rs` who asked what of the API server; `spent.rs` what a phase costs
//! * `waiting.rs` more machines than hosts

mod asked;
mod cluster_api;
mod history;
mod joining;
mod objects;
mod spent;
mod stack;
mod waiting;
mod webhooks;
mod workload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::ListParams;
use metal3_api::capi::Machine;
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::wait;

use self::spent::words;
use self::stack::{CAPM3, Stack};
use self::waiting::Waiting;
use crate::figures::{Figures, as_f64, total};
use crate::say;
use crate::world::{BOUND, NAMESPACE};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of hosts, and of machines that get one.
    #[arg(long, default_value_t = 50)]
    hosts: usize,
    /// Number of Clusters that the machines belong to.
    #[arg(long, default_value_t = 1)]
    clusters: usize,
    /// Machines for which there is no host.
    #[arg(long, default_value_t = 20)]
    waiting: usize,
    /// Hosts that are given back while machines wait.
    #[arg(long, default_value_t = 10)]
    releases: usize,
    /// Seconds to watch when nothing happens.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// `core-components.yaml` of a release of Cluster API, as `hack/testbed/repository.sh` makes it.
    #[arg(long)]
    components: PathBuf,
}

impl Args {
    pub(crate) fn title(&self) -> String {
        format!("{} machines, Clusters: {}", self.hosts, self.clusters)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.clusters > 0, "--clusters must be 1 at least");
        ensure!(
            self.releases <= self.waiting,
            "--releases {} needs as many machines that wait, --waiting is {}",
            self.releases,
            self.waiting
        );
        ensure!(
            self.clusters + self.releases <= self.hosts,
            "--hosts {} is not enough: each of {} Clusters keeps one, and {} are given back",
            self.hosts,
            self.clusters,
            self.releases
        );
        Ok(())
    }
}

/// All that is measured once.
pub(crate) async fn run(args: &Args) -> Result<Figures> {
    args.check()?;
    let Args { hosts, clusters, .. } = *args;
    let stack = Stack::start(hosts, clusters, &args.components).await?;
    let mut figures = Figures::default();
    let begin = Instant::now();
    stack.world.create(hosts).await?;
    stack.world.all(hosts, "available").await?;
    let available = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    stack.author.clusters(clusters, &stack.workload).await?;
    provisioned(&stack, clusters).await?;
    let ready = begin.elapsed().as_secs_f64();
    say(&format!(
        "  all hosts available after {available:.1} s, all Clusters provisioned after {ready:.1} s"
    ))?;
    stack.world.quiet().await?;
    stack.calm().await?;

    bind(&stack, hosts, clusters, &mut figures).await?;
    let window = Duration::from_secs(args.idle);
    idle(&stack, window, &mut figures).await?;
    let waiting = Waiting {
        served: hosts,
        clusters,
        count: args.waiting,
        releases: args.releases,
        window,
    };
    waiting.run(&stack, &mut figures).await?;
    one_to_one(&stack, hosts).await?;
    figures.set("claims.double", 0.0);
    Ok(figures)
}

/// Waits until Cluster API says so of all Clusters.
async fn provisioned(stack: &Stack, clusters: usize) -> Result<()> {
    let api: Api<metal3_api::capi::Cluster> = stack.author.api();
    wait::try_until("the Clusters to be provisioned", BOUND, async || {
        let all = api
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?;
        let there = all.iter().filter(|cluster| {
            let told = cluster
                .status
                .as_ref()
                .and_then(|status| status.initialization.as_ref());
            told.and_then(|told| told.infrastructure_provisioned) == Some(true)
        });
        match there.count() {
            now if now == clusters => Ok(()),
            now => Err(format!("{now} of {clusters}")),
        }
    })
    .await?;
    Ok(())
}

/// From creation to a Machine with a Node on every host.
async fn bind(stack: &Stack, hosts: usize, clusters: usize, figures: &mut Figures) -> Result<()> {
    let mark = stack.mark().await?;
    let begin = Instant::now();
    stack.author.machines(0, hosts, clusters).await?;
    let written = begin.elapsed().as_secs_f64();
    stack
        .all("all hosts to be claimed", hosts, || stack.claimed())
        .await?;
    let claimed = begin.elapsed().as_secs_f64();
    stack
        .all("all Machines to have a provider ID", hosts, || stack.bound())
        .await?;
    let bound = begin.elapsed().as_secs_f64();
    stack
        .all("all Machines to run", hosts, || stack.running())
        .await?;
    let running = begin.elapsed().as_secs_f64();
    stack.world.quiet().await?;
    // Objects are still converted for those who watch the older version, of whom there are none.
    stack.calm().await?;
    let spent = stack.spent(&mark).await?;
    let taken = stack.history.taken().len();
    ensure!(
        taken == hosts,
        "DOUBLE CLAIM: {hosts} machines took a host {taken} times"
    );
    one_to_one(stack, hosts).await?;
    for (figure, value) in [
        ("written", written),
        ("claimed", claimed),
        ("bound", bound),
        ("running", running),
    ] {
        figures.set(&format!("{figure}.seconds"), value);
    }
    let machines = as_f64(hosts);
    figures.set("bound.rate", machines * 60.0 / bound);
    say(&format!(
        "  all machines written {written:.1} s, claimed {claimed:.1} s, bound {bound:.1} s ({:.0}/min), running \
         {running:.1} s after the first was created; each host once",
        machines * 60.0 / bound
    ))?;
    spent.tell(machines, figures)
}

/// What all of it costs when nothing happens.
async fn idle(stack: &Stack, window: Duration, figures: &mut Figures) -> Result<()> {
    let mark = stack.mark().await?;
    tokio::time::sleep(window).await;
    let spent = stack.spent(&mark).await?;
    let share = |program: &str| spent.cpu.get(program).copied().unwrap_or_default() * 100.0 / spent.seconds;
    let (requests, workload) = (spent.requests(CAPM3), spent.workload("metal3-capm3"));
    for (figure, value) in [
        ("requests", total(&requests)),
        ("calls", total(&spent.calls)),
        ("workload", total(&workload)),
        ("bmo", total(&spent.requests("bmo"))),
        ("cpu", share(CAPM3)),
    ] {
        figures.set(&format!("idle.{figure}"), value);
    }
    say(&format!(
        "  idle {:.0} s, besides Leases: requests of capm3: {}; watches that it opened anew: {}; calls of the HostService: {}; \
         to workload clusters: {}; {:.2} % of a core",
        spent.seconds,
        words(&requests),
        spent.watches(CAPM3),
        words(&spent.calls),
        words(&workload),
        share(CAPM3),
    ))?;
    say(&format!(
        "      requests of bmo: {}; {:.2} % of a core; requests of Cluster API: {}; {:.2} %",
        words(&spent.requests("bmo")),
        share("bmo"),
        words(&spent.requests("cluster-api")),
        share("cluster-api"),
    ))
}

/// Each host belongs to one machine, and each machine that has a host to one host, whose name is in its provider ID.
async fn one_to_one(stack: &Stack, hosts: usize) -> Result<()> {
    let api: Api<BareMetalHost> = stack.author.api();
    let mut of_machine = BTreeMap::new();
    for host in api.list(&ListParams::default()).await? {
        let name = host.metadata.name.unwrap_or_default();
        let consumer = host.spec.consumer_ref.and_then(|consumer| consumer.name);
        let Some(machine) = consumer else { continue };
        if let Some(other) = of_machine.insert(machine.clone(), name.clone()) {
            anyhow::bail!("DOUBLE CLAIM: {machine} has {name} and {other}");
        }
    }
    let machines: Api<Machine> = stack.author.api();
    let mut ids = BTreeMap::new();
    for machine in machines.list(&ListParams::default()).await? {
        let name = machine.metadata.name.unwrap_or_default();
        ids.extend(machine.spec.provider_id.map(|id| (name, id)));
    }
    let wanted: BTreeMap<String, String> = of_machine
        .into_iter()
        .map(|(machine, host)| {
            let id = format!("metal3://{NAMESPACE}/{host}/{machine}");
            (machine, id)
        })
        .collect();
    let wrong = ids.iter().find(|(machine, id)| wanted.get(*machine) != Some(*id));
    ensure!(
        ids == wanted && ids.len() == hosts,
        "DOUBLE CLAIM: {hosts} hosts, {} belong to machines, {} Machines have a provider ID; for example {wrong:?}",
        wanted.len(),
        ids.len()
    );
    Ok(())
}
