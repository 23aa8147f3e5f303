//! `hack/quickstart.sh` calls this inside the network namespace that it made.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use metal3_e2e::bed::Bed;
use metal3_e2e::report::Report;
use metal3_e2e::tour::{self, Plan};

#[derive(Parser)]
#[command(about = "The main job of Metal3, from an empty machine to a workload cluster and back")]
struct Cli {
    /// The repository.
    #[arg(long, env = "QUICKSTART_ROOT")]
    root: PathBuf,
    /// State and logs.
    #[arg(long, env = "QUICKSTART_DIR")]
    dir: PathBuf,
    /// Name of the network namespace.
    #[arg(long, env = "QUICKSTART_NETNS")]
    netns: String,
    /// Also writes what came out as JSON.
    #[arg(long, env = "REPORT")]
    report: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets everything up.
    Up {
        /// On ironic-sim instead of Ironic.
        #[arg(long)]
        sim: bool,
        /// Number of hosts.
        #[arg(long, default_value_t = 3)]
        hosts: usize,
        /// Number of worker machines.
        #[arg(long, default_value_t = 2)]
        workers: usize,
        /// Kills bmo and capm3 at random moments; the seed.
        #[arg(long)]
        chaos: Option<u64>,
    },
    /// Deletes the Cluster, then the hosts.
    Down,
}

#[tokio::main]
async fn main() -> Result<()> {
    metal3_testkit::init();
    let Cli {
        root,
        dir,
        netns,
        report: file,
        command,
    } = Cli::parse();
    let bed = Bed { root, dir, netns };
    let report = match command {
        Command::Up {
            sim,
            hosts,
            workers,
            chaos,
        } => {
            tour::up(
                &bed,
                &Plan {
                    sim,
                    hosts,
                    workers,
                    chaos,
                },
            )
            .await?
        }
        Command::Down => tour::down(&bed).await?,
    };
    show(&report)?;
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

fn show(report: &Report) -> Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "\n{}", report.table())?)
}
