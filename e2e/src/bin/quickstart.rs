//! `hack/quickstart.sh` calls this inside the network namespace that it made.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use metal3_e2e::bed::{Bed, Mode};
use metal3_e2e::checks::{self, Check};
use metal3_e2e::contract::{self, Part};
use metal3_e2e::release;
use metal3_e2e::stack::{Install, Tls};
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
    /// What the programs of the management cluster run as.
    #[arg(long, env = "QUICKSTART_MODE", value_enum)]
    mode: Mode,
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
        /// How bmo and capm3 are installed.
        #[arg(long, value_enum, default_value = "helm")]
        install: Install,
        /// Where the certificates of our services come from.
        #[arg(long, value_enum, default_value = "cert-manager")]
        tls: Tls,
        /// On ironic-sim instead of Ironic.
        #[arg(long)]
        sim: bool,
        /// Number of hosts.
        #[arg(long, default_value_t = 3)]
        hosts: usize,
        /// Number of worker machines.
        #[arg(long, default_value_t = 2)]
        workers: usize,
        /// Pods of bmo.
        #[arg(long, default_value_t = 1)]
        bmo: u16,
        /// Pods of capm3.
        #[arg(long, default_value_t = 1)]
        capm3: u16,
        /// Kills programs at random moments; the seed.
        #[arg(long)]
        chaos: Option<u64>,
    },
    /// Looks closely at what `up` made; tells what it found.
    Check {
        /// What to look at; everything when absent.
        what: Vec<Check>,
    },
    /// Upgrades, removes and installs the services again, and looks whether hosts stay as they are.
    Cycle,
    /// Scales, upgrades and breaks the workload cluster, and makes one from a ClusterClass; on ironic-sim.
    Contract {
        /// Which parts; all when absent.
        parts: Vec<Part>,
    },
    /// Deletes the Cluster, then the hosts.
    Down,
}

#[tokio::main]
async fn main() -> ExitCode {
    metal3_testkit::init();
    let cli = Cli::parse();
    let bed = Bed::new(cli.root, cli.dir, cli.netns, cli.mode);
    match run(&bed, cli.command, cli.report).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let scene = bed.scene().await;
            // Without a backtrace: the cause is in the bed, not in this program.
            writeln!(std::io::stderr(), "\n{scene}{error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(bed: &Bed, command: Command, file: Option<PathBuf>) -> Result<()> {
    let report = match command {
        Command::Up {
            install,
            tls,
            sim,
            hosts,
            workers,
            bmo,
            capm3,
            chaos,
        } => {
            let plan = Plan {
                install,
                tls,
                mode: bed.mode,
                sim,
                hosts,
                workers,
                bmo,
                capm3,
                chaos,
            };
            tour::up(bed, &plan).await?
        }
        Command::Check { what } => return checks::run(bed, &what).await,
        Command::Contract { parts } => return Box::pin(contract::run(bed, &parts)).await,
        Command::Cycle => return release::cycle(bed).await,
        Command::Down => tour::down(bed).await?,
    };
    writeln!(std::io::stdout(), "\n{}", report.table())?;
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}
