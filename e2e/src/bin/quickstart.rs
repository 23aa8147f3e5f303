//! `hack/quickstart.sh` calls this inside the network namespace that it made.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use metal3_e2e::bed::Bed;
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
async fn main() -> ExitCode {
    metal3_testkit::init();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a backtrace: the cause is in the bed, not in this program.
            writeln!(std::io::stderr(), "\n{error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let Cli {
        root,
        dir,
        netns,
        report: file,
        command,
    } = cli;
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
    writeln!(std::io::stdout(), "\n{}", report.table())?;
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}
