//! How fast and how frugal the services are, with a real etcd and kube-apiserver, all on this machine. `hack/bench.sh`
//! builds and runs it.
//!
//! * `life`: hosts on ironic-sim at zero latency, from creation to deletion
//!   * `world`: the programs, and what is done to the hosts; `follow`: what a watch tells of them
//!   * `figures`: the phases of one run
//! * `machines`: Machines of Cluster API on such hosts, with its real core controllers and capm3
//! * `service`: the HostService with a stored fleet: claims and reads of many callers, watchers
//! * `count`: what it costs, told by bmo itself and, independently, by the API server, ironic-sim and the kernel;
//!   `spread`: how long many things took
//! * `targets`: what is aimed at, and whether it was reached

mod count;
mod figures;
mod follow;
mod machines;
mod service;
mod spread;
mod targets;
mod world;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use serde_json::json;

use self::figures::Figures;
use self::service::{claims, watches};
use self::targets::Row;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
    /// Number of runs; the figures are their medians.
    #[arg(long, default_value_t = 1, global = true)]
    runs: usize,
    /// File for the figures of all runs.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

/// What is measured.
#[derive(Subcommand)]
enum Bench {
    /// The whole life of many hosts on ironic-sim at zero latency.
    Life(LifeArgs),
    /// Machines of Cluster API, from creation to a Node on every host.
    Machines(machines::Args),
    /// ClaimHost and GetHost of many callers at once.
    Claims(claims::Args),
    /// One change told to many watchers of WatchHosts.
    Watches(watches::Args),
}

#[derive(Args)]
struct LifeArgs {
    /// Number of hosts.
    #[arg(long, default_value_t = 200)]
    hosts: usize,
    /// Seconds to watch the idle fleet.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Such a file of a smaller fleet, to compare the time per host with.
    #[arg(long)]
    compare: Option<PathBuf>,
}

impl Bench {
    fn title(&self) -> String {
        match self {
            Self::Life(args) => format!("{} hosts, ironic-sim at zero latency", args.hosts),
            Self::Machines(args) => args.title(),
            Self::Claims(args) => args.title(),
            Self::Watches(args) => args.title(),
        }
    }

    async fn run(&self) -> Result<Figures> {
        match self {
            Self::Life(args) => figures::run(args.hosts, Duration::from_secs(args.idle)).await,
            Self::Machines(args) => machines::run(args).await,
            Self::Claims(args) => claims::run(args).await,
            Self::Watches(args) => watches::run(args).await,
        }
    }

    fn targets(&self, medians: &Figures) -> Result<Vec<Row>> {
        Ok(match self {
            Self::Life(args) => {
                let smaller = args.compare.as_deref().map(Figures::read).transpose()?;
                targets::life(args.hosts, medians, smaller.as_ref())
            }
            Self::Machines(_) => targets::machines(medians),
            Self::Claims(_) => targets::claims(medians),
            Self::Watches(_) => targets::watches(medians),
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    metal3_testkit::init();
    let Cli { bench, runs, json } = Cli::parse();
    let mut all = Vec::new();
    for run in 1..=runs {
        say(&format!("{}, run {run} of {runs}", bench.title()))?;
        all.push(bench.run().await?);
    }
    let medians = Figures::medians(&all);
    let rows = bench.targets(&medians)?;
    say(&targets::table(&rows, runs))?;
    if let Some(file) = &json {
        let all = json!({"medians": medians, "runs": all, "targets": rows});
        std::fs::write(file, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
