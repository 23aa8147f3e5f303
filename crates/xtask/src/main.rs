//! Generators and checks of this repository: `cargo xtask gen`, `cargo xtask check`.

mod check;
mod crds;
mod docs;
mod generated;
mod parity;
mod proto;

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
    },
    /// Runs what CI runs.
    Check {
        /// What to check; everything when absent.
        what: Vec<check::Check>,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Gen { what } => generated::write(&what),
        Command::Check { what } => check::run(&what),
    }
}
