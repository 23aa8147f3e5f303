//! What a phase costs, told by those who did the work.

use std::time::Instant;

use anyhow::Result;

use super::asked::{is_work, of};
use super::stack::Stack;
use crate::count::{self, Counts, since};
use crate::figures::{Figures, total};
use crate::say;

/// Counters at the beginning of a phase.
pub(super) struct Mark {
    at: Instant,
    cpu: Counts,
    asked: Counts,
    calls: Counts,
    passes: Counts,
    passed: Counts,
}

/// What was counted more since.
pub(super) struct Spent {
    pub(super) seconds: f64,
    pub(super) cpu: Counts,
    /// Requests by account, verb and resource.
    asked: Counts,
    /// Calls of the HostService.
    pub(super) calls: Counts,
    /// Passes of capm3's controllers.
    passes: Counts,
    /// Requests to workload clusters by program.
    passed: Counts,
    /// MiB at most, by program.
    peaks: Counts,
}

impl Stack {
    pub(super) async fn mark(&self) -> Result<Mark> {
        for (_, pid) in self.services() {
            count::forget_peak(pid)?;
        }
        let (calls, passes) = self.of_capm3().await?;
        Ok(Mark {
            at: Instant::now(),
            cpu: self.cpu()?,
            asked: self.asked.counts()?,
            calls,
            passes,
            passed: self.workload.passed(),
        })
    }

    pub(super) async fn spent(&self, mark: &Mark) -> Result<Spent> {
        let seconds = mark.at.elapsed().as_secs_f64();
        let cpu = since(&mark.cpu, &self.cpu()?);
        let (calls, passes) = self.of_capm3().await?;
        let peaks = self
            .services()
            .into_iter()
            .map(|(name, pid)| Ok((name.to_owned(), count::memory(pid)?.1)));
        Ok(Spent {
            seconds,
            cpu,
            asked: since(&mark.asked, &self.asked.counts()?),
            calls: since(&mark.calls, &calls),
            passes: since(&mark.passes, &passes),
            passed: since(&mark.passed, &self.workload.passed()),
            peaks: peaks.collect::<Result<_>>()?,
        })
    }
}

impl Spent {
    /// Requests of a program to the management cluster, besides Leases and watches.
    pub(super) fn requests(&self, program: &str) -> Counts {
        of(program, &self.asked, is_work)
    }

    /// Watches that a program opened anew.
    pub(super) fn watches(&self, program: &str) -> f64 {
        total(&of(program, &self.asked, |request| request.starts_with("watch ")))
    }

    /// Requests of a program to workload clusters, besides watches.
    pub(super) fn workload(&self, program: &str) -> Counts {
        of(program, &self.passed, |request| !request.ends_with(" watch"))
    }

    /// Tells and keeps what each of `machines` cost.
    pub(super) fn tell(&self, machines: f64, figures: &mut Figures) -> Result<()> {
        for program in ["capm3", "bmo", "cluster-api"] {
            let requests = self.requests(program);
            figures.set(&format!("requests.{program}"), total(&requests) / machines);
            each(&format!("requests of {program}"), &requests, machines)?;
        }
        figures.set("calls", total(&self.calls) / machines);
        each("calls of the HostService", &self.calls, machines)?;
        figures.set("passes", total(&self.passes) / machines);
        each("passes of capm3", &self.passes, machines)?;
        each("requests to workload clusters", &self.passed, machines)?;
        for (program, seconds) in &self.cpu {
            figures.set(&format!("cpu.{program}"), seconds * 1000.0 / machines);
        }
        each("CPU ms", &self.cpu, machines / 1000.0)?;
        for (program, peak) in &self.peaks {
            figures.set(&format!("rss.{program}"), *peak);
        }
        let peaks: Vec<String> = self
            .peaks
            .iter()
            .map(|(program, peak)| format!("{peak:.1} {program}"))
            .collect();
        say(&format!("      RSS at most, MiB: {}", peaks.join(", ")))
    }
}

/// One line with shares of a total.
pub(super) fn each(title: &str, counts: &Counts, among: f64) -> Result<()> {
    let shares = counts.iter().map(|(name, count)| (name.clone(), count / among));
    say(&format!("      {title}, each: {}", words(&shares.collect())))
}

/// Counts in words.
pub(super) fn words(counts: &Counts) -> String {
    let parts: Vec<String> = counts
        .iter()
        // Whole numbers without a fraction.
        .map(|(name, count)| match count.fract() {
            0.0 => format!("{count} {name}"),
            _ => format!("{count:.2} {name}"),
        })
        .collect();
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join(", ")
    }
}
