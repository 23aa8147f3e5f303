//! `check`: what CI runs, each part alone or all in order.

mod arrows;
mod purity;

use std::{io::Write as _, process::Command};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use crate::{generated, parity, proto};

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Check {
    /// Formatting.
    Fmt,
    /// Which crate may use which.
    Arrows,
    /// What the pure crates must not pull in.
    Purity,
    /// Generated files on disk are up to date.
    Drift,
    /// How the gRPC contract is written, and that nothing of it is taken away unseen.
    Proto,
    /// The CRDs have the facts of upstream's.
    Parity,
    /// Lints; warnings are errors.
    Clippy,
    /// All tests.
    Tests,
}

/// Runs the checks, all of them when none is named; the first that fails ends it.
pub(crate) fn run(checks: &[Check]) -> Result<()> {
    let checks = if checks.is_empty() {
        Check::value_variants()
    } else {
        checks
    };
    for check in checks {
        let said = one(*check).with_context(|| format!("check {check:?} failed"))?;
        writeln!(std::io::stdout(), "{check:?}: {said}")?;
    }
    Ok(())
}

fn one(check: Check) -> Result<String> {
    let fine = || "ok".to_owned();
    Ok(match check {
        Check::Fmt => cargo(&["fmt", "--all", "--", "--check"]).map(|()| fine())?,
        Check::Clippy => {
            cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).map(|()| fine())?
        }
        Check::Tests => cargo(&["test", "--workspace"]).map(|()| fine())?,
        Check::Drift => generated::drift().map(|()| fine())?,
        Check::Arrows => format!("{} arrows, all allowed", arrows::check()?),
        Check::Proto => proto::check()?,
        Check::Purity => purity::check()?,
        Check::Parity => {
            let found = parity::check()?;
            format!(
                "{} CRDs, {} facts of upstream, 0 missing, 0 different, {} as decided in the exceptions",
                found.crds, found.facts, found.excepted
            )
        }
    })
}

fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(generated::root());
    // What cargo tells xtask of its own package would make build scripts, and all above them, run again.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    command
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let status = cargo_command()
        .args(arguments)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

pub(crate) fn cargo_output(arguments: &[&str]) -> Result<String> {
    let output = cargo_command()
        .args(arguments)
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!(
            "cargo {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn metadata() -> Result<Value> {
    Ok(serde_json::from_str(&cargo_output(&[
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
    ])?)?)
}
