//! `ironic-sim`: flags, logs, and an orderly end; `ironic-sim ctl` steers one that runs.

mod ctl;

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use metal3_ironic_sim::{Config, Fault, Latencies, Login, MAX_MINOR, Sim};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use self::ctl::Ctl;

/// Speaks Ironic's API for simulated servers.
#[derive(Parser, Debug)]
#[command(name = "ironic-sim", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address to listen on.
    #[arg(long, env = "IRONIC_SIM_LISTEN", default_value = "127.0.0.1:6385")]
    listen: SocketAddr,
    /// How long operations take, for example power=200ms,inspect=2s,clean=2s,deploy=5s; others keep their default.
    #[arg(long, env = "IRONIC_SIM_LATENCY", default_value = "")]
    latency: String,
    /// Multiplies all latencies; 0 makes everything happen at once.
    #[arg(long, env = "IRONIC_SIM_SPEED", default_value_t = 1.0)]
    speed: f64,
    /// User of Ironic's API (http_basic); without it nobody has to log in.
    #[arg(long, env = "IRONIC_SIM_USERNAME", requires = "password")]
    username: Option<String>,
    /// Password of Ironic's API.
    #[arg(
        long,
        env = "IRONIC_SIM_PASSWORD",
        hide_env_values = true,
        requires = "username"
    )]
    password: Option<String>,
    /// The only user that BMCs accept; without it any login is right.
    #[arg(long, env = "IRONIC_SIM_BMC_USERNAME", requires = "bmc_password")]
    bmc_username: Option<String>,
    /// The only password that BMCs accept.
    #[arg(
        long,
        env = "IRONIC_SIM_BMC_PASSWORD",
        hide_env_values = true,
        requires = "bmc_username"
    )]
    bmc_password: Option<String>,
    /// Newest version of the API that is offered.
    #[arg(long, env = "IRONIC_SIM_MAX_API_VERSION", default_value = "1.115")]
    max_api_version: String,
    /// A fault from the start: kind[:parameter][@target], for example fail:clean@ns~host-*; may be repeated.
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
    /// What to log, for example debug or metal3_ironic_sim=debug.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    log: String,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Steers a simulation that runs: machines, faults, latencies, and the log of what was done.
    Ctl(Ctl),
}

impl Args {
    fn config(self) -> Result<Config> {
        let Self {
            command: _,
            listen,
            latency,
            speed,
            username,
            password,
            bmc_username,
            bmc_password,
            max_api_version,
            fault,
            log: _,
        } = self;
        let mut latencies = Latencies::demo();
        latencies.apply(&latency)?;
        let minor = max_api_version
            .strip_prefix("1.")
            .and_then(|minor| minor.parse::<u32>().ok());
        let max_minor = match minor {
            Some(minor @ 1..=MAX_MINOR) => minor,
            _ => bail!("--max-api-version {max_api_version:?} is not between 1.1 and 1.{MAX_MINOR}"),
        };
        if !speed.is_finite() || speed < 0.0 {
            bail!("--speed {speed} is not a factor; give 0 or a positive number");
        }
        Ok(Config {
            listen,
            latencies: latencies.scaled(speed),
            auth: username.zip(password),
            bmc_login: bmc_username
                .zip(bmc_password)
                .map(|(username, password)| Login { username, password }),
            max_minor,
            faults: fault
                .into_iter()
                .enumerate()
                .map(|(index, fault)| (format!("start-{index}"), fault))
                .collect(),
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = Args::parse();
    if let Some(Command::Ctl(ctl)) = args.command.take() {
        return ctl.run().await;
    }
    let filter =
        EnvFilter::try_new(&args.log).with_context(|| format!("--log {:?} cannot be read", args.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let mut running = Sim::start(args.config()?).await?;
    tracing::info!(endpoint = %running.endpoint, control = %running.control, "ironic-sim serves");
    let mut terminated = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    tokio::select! {
        result = running.failed() => return result,
        result = tokio::signal::ctrl_c() => result.context("SIGINT cannot be awaited")?,
        _ = terminated.recv() => {}
    }
    tracing::info!("stopping");
    // Clients that keep connections open do not delay the end: nothing here outlives the process.
    drop(running);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use metal3_ironic_sim::Operation;

    use super::*;

    fn config(flags: &[&str]) -> Result<Config> {
        Args::try_parse_from([&["ironic-sim"], flags].concat())?.config()
    }

    #[test]
    fn speed_zero_makes_everything_happen_at_once() {
        assert_eq!(config(&["--speed", "0"]).unwrap().latencies, Latencies::ZERO);
    }

    #[test]
    fn single_latencies_are_laid_over_the_defaults() {
        let latencies = config(&["--latency", "deploy=7s"]).unwrap().latencies;
        assert_eq!(latencies.of(Operation::Deploy), Duration::from_secs(7));
        assert_eq!(
            latencies.of(Operation::Clean),
            Latencies::demo().of(Operation::Clean)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            &["--latency", "fly=1s"][..],
            &["--speed", "-1"],
            &["--max-api-version", "2.0"],
            &["--bmc-username", "root"],
            &["--fault", "bogus"],
        ] {
            assert!(config(flags).is_err(), "{flags:?}");
        }
    }
}
