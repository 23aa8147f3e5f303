//! How fast and how frugal bmo is: hosts on ironic-sim at zero latency, with a real etcd and kube-apiserver, all on this
//! machine. `hack/bench.sh` builds and runs it.
//!
//! * `world`: the programs, and what is done to the hosts; `follow`: what a watch tells of them
//! * `count`: what it costs, told by bmo itself and, independently, by the API server, ironic-sim and the kernel
//! * `figures`: the phases of one run; `targets`: what is aimed at, and whether it was reached

mod count;
mod figures;
mod follow;
mod targets;
mod world;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use serde_json::json;

use self::figures::Figures;

#[derive(Parser)]
struct Cli {
    /// Number of hosts.
    #[arg(long, default_value_t = 200)]
    hosts: usize,
    /// Number of runs; the figures are their medians.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Seconds to watch the idle fleet.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// File for the figures of all runs.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Such a file of a smaller fleet, to compare the time per host with.
    #[arg(long)]
    compare: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    metal3_testkit::init();
    let cli = Cli::parse();
    let mut runs = Vec::new();
    for run in 1..=cli.runs {
        say(&format!(
            "{} hosts, ironic-sim at zero latency, run {run} of {}",
            cli.hosts, cli.runs
        ))?;
        runs.push(figures::run(cli.hosts, Duration::from_secs(cli.idle)).await?);
    }
    let medians = Figures::medians(&runs);
    let smaller = match &cli.compare {
        Some(file) => Some(Figures::read(file)?),
        None => None,
    };
    let rows = targets::compare(cli.hosts, &medians, smaller.as_ref());
    say(&targets::table(&rows, cli.runs))?;
    if let Some(file) = &cli.json {
        let all = json!({"hosts": cli.hosts, "medians": medians, "runs": runs, "targets": rows});
        std::fs::write(file, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
