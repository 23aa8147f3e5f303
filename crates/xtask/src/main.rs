//! Generators and checks of this repository: `cargo xtask gen`, `cargo xtask check`, `cargo xtask dist`.

mod check;
mod crds;
mod dist;
mod docs;
mod generated;
mod helm;
mod parity;
mod proto;
mod reasons;
mod values;

use std::io::Write as _;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes generated files.
    Gen {
        /// What to generate; everything when absent.
        what: Vec<generated::What>,
        /// Also promise the contract in `proto/` as it is now (`proto/baseline.txt`).
        #[arg(long)]
        accept: bool,
    },
    /// Runs what CI runs.
    Check {
        /// What to check; everything when absent.
        what: Vec<check::Check>,
    },
    /// Writes the release: the folder of the clusterctl provider, the packages of the charts, SHA256SUMS.
    Dist(dist::Release),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Gen { what, accept } => {
            generated::write(&what)?;
            if accept { proto::accept() } else { Ok(()) }
        }
        Command::Check { what } => check::run(&what),
        Command::Dist(release) => {
            let folder = dist::write(&release)?;
            Ok(writeln!(std::io::stdout(), "{}", folder.display())?)
        }
    }
}
