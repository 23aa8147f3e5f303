//! The phases of one run, and what they cost per host.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::count::{self, Counts, add, since};
use crate::say;
use crate::world::World;

/// Changes in Ironic whose way to the host is timed.
const CHANGES: usize = 10;

/// What one run measured, by name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Keeps a figure.
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    /// A figure.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// The median of each figure.
    pub(crate) fn medians(runs: &[Self]) -> Self {
        let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, value) in runs.iter().flat_map(|run| &run.0) {
            all.entry(name).or_default().push(*value);
        }
        let medians = all.into_iter().filter_map(|(name, mut values)| {
            values.sort_by(f64::total_cmp);
            Some((name.to_owned(), *values.get(values.len() / 2)?))
        });
        Self(medians.collect())
    }

    /// The medians in a file of `--json`.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut all: serde_json::Value = serde_json::from_slice(&text)?;
        Ok(serde_json::from_value(all["medians"].take())?)
    }
}

/// Counters at the beginning of a phase.
struct Mark {
    at: Instant,
    writes_by_bmo: Counts,
    calls_by_bmo: Counts,
    writes: Counts,
    calls: Counts,
    cpu: Counts,
}

/// What a phase cost.
struct Cost {
    seconds: f64,
    writes_by_bmo: Counts,
    calls_by_bmo: Counts,
    writes: Counts,
    calls: Counts,
    cpu: Counts,
    /// MiB.
    peak: f64,
}

/// All of them together.
pub(crate) fn total(counts: &Counts) -> f64 {
    // A sum of nothing is -0.
    counts.values().fold(0.0, |sum, count| sum + count)
}

impl Cost {
    fn of_bmo(&self) -> f64 {
        self.cpu.get("bmo").copied().unwrap_or_default()
    }
}

impl World {
    async fn mark(&self) -> Result<Mark> {
        count::forget_peak(self.bmo.pid())?;
        let (writes_by_bmo, calls_by_bmo) = count::of_bmo(&self.metrics).await?;
        Ok(Mark {
            at: Instant::now(),
            writes_by_bmo,
            calls_by_bmo,
            writes: self.writes().await?,
            calls: self.calls().await?,
            cpu: self.cpu()?,
        })
    }

    /// `authored`: writes of the bench itself, which are not bmo's.
    async fn cost(&self, before: &Mark, authored: &[(&str, usize)]) -> Result<Cost> {
        let seconds = before.at.elapsed().as_secs_f64();
        let cpu = since(&before.cpu, &self.cpu()?);
        let (writes_by_bmo, calls_by_bmo) = count::of_bmo(&self.metrics).await?;
        let mut writes = since(&before.writes, &self.writes().await?);
        for (kind, number) in authored {
            if let Some(count) = writes.get_mut(*kind) {
                *count -= as_f64(*number);
            }
        }
        writes.retain(|_, count| *count > 0.0);
        Ok(Cost {
            seconds,
            writes_by_bmo: since(&before.writes_by_bmo, &writes_by_bmo),
            calls_by_bmo: since(&before.calls_by_bmo, &calls_by_bmo),
            writes,
            calls: since(&before.calls, &self.calls().await?),
            cpu,
            peak: count::memory(self.bmo.pid())?.1,
        })
    }
}

/// A number of hosts, or of something else that is counted in thousands.
#[expect(clippy::cast_precision_loss, reason = "thousands of hosts at most")]
pub(crate) fn as_f64(number: usize) -> f64 {
    number as f64
}

/// All phases with a new control plane, a new Ironic and a new bmo.
pub(crate) async fn run(count: usize, idle: Duration) -> Result<Figures> {
    let world = World::start(count, |_, _, _| ()).await?;
    let mut figures = Figures::default();
    let mut life = Counts::new();
    let mut writes = Counts::new();

    let mark = world.mark().await?;
    world.create(count).await?;
    world.all(count, "available").await?;
    let seconds = mark.at.elapsed().as_secs_f64();
    world.quiet().await?;
    let authored = [("POST secrets", count), ("POST baremetalhosts", count)];
    let cost = world.cost(&mark, &authored).await?;
    figures.phase("available", seconds, count, &cost)?;
    add(&mut life, &cost.cpu);
    add(&mut writes, &cost.writes);
    let mut peak = cost.peak;

    let mark = world.mark().await?;
    world.provision(count).await?;
    world.all(count, "provisioned").await?;
    let seconds = mark.at.elapsed().as_secs_f64();
    world.quiet().await?;
    let cost = world.cost(&mark, &[("PATCH baremetalhosts", count)]).await?;
    figures.phase("provisioned", seconds, count, &cost)?;
    add(&mut life, &cost.cpu);
    add(&mut writes, &cost.writes);
    peak = peak.max(cost.peak);

    figures.idle(&world, idle).await?;
    figures.changes(&world, count).await?;

    let restart = world.restart().await?;
    figures.set("restart.seconds", restart);
    let mark = world.mark().await?;
    world.quiet().await?;
    let cost = world.cost(&mark, &[]).await?;
    figures.set("restart.writes", total(&cost.writes));
    figures.set("restart.rss", count::memory(world.bmo.pid())?.0);
    peak = peak.max(cost.peak);
    say(&format!(
        "  restarted: ready after {restart:.2} s, then {} writes",
        total(&cost.writes)
    ))?;

    let mark = world.mark().await?;
    world.delete().await?;
    world.gone().await?;
    let seconds = mark.at.elapsed().as_secs_f64();
    let cost = world.cost(&mark, &[("DELETE baremetalhosts", 1)]).await?;
    figures.phase("deleted", seconds, count, &cost)?;
    add(&mut life, &cost.cpu);
    add(&mut writes, &cost.writes);
    peak = peak.max(cost.peak);

    figures.set("life.writes", total(&writes) / as_f64(count));
    let cpu = life.get("bmo").copied().unwrap_or_default();
    figures.set("life.cpu", cpu * 1000.0 / as_f64(count));
    figures.set("rss.peak", peak);
    Ok(figures)
}

impl Figures {
    fn phase(&mut self, name: &str, seconds: f64, count: usize, cost: &Cost) -> Result<()> {
        let hosts = as_f64(count);
        for (figure, value) in [
            ("seconds", seconds),
            ("rate", hosts * 60.0 / seconds),
            ("writes", total(&cost.writes) / hosts),
            ("writes_by_bmo", total(&cost.writes_by_bmo) / hosts),
            ("calls", total(&cost.calls) / hosts),
            ("calls_by_bmo", total(&cost.calls_by_bmo) / hosts),
            ("cpu", cost.of_bmo() * 1000.0 / hosts),
            ("cpu_of_all", total(&cost.cpu) * 1000.0 / hosts),
            ("peak", cost.peak),
        ] {
            self.set(&format!("{name}.{figure}"), value);
        }
        say(&format!(
            "  all {name:<12} {seconds:7.1} s {:6.0}/min; per host {:5.2} writes ({:.2} by bmo's count), {:5.2} Ironic \
             calls ({:.2}), {:5.2} ms CPU; RSS at most {:.1} MiB",
            hosts * 60.0 / seconds,
            total(&cost.writes) / hosts,
            total(&cost.writes_by_bmo) / hosts,
            total(&cost.calls) / hosts,
            total(&cost.calls_by_bmo) / hosts,
            cost.of_bmo() * 1000.0 / hosts,
            cost.peak,
        ))?;
        let each = |title: &str, counts: &Counts, factor: f64| {
            let parts: Vec<String> = counts
                .iter()
                .map(|(kind, number)| format!("{:.2} {kind}", number * factor / hosts))
                .collect();
            say(&format!("      {title}: {}", parts.join(", ")))
        };
        each("writes", &cost.writes, 1.0)?;
        each("Ironic", &cost.calls, 1.0)?;
        each("CPU ms", &cost.cpu, 1000.0)
    }

    /// What the fleet costs when nothing happens.
    async fn idle(&mut self, world: &World, window: Duration) -> Result<()> {
        let mark = world.mark().await?;
        tokio::time::sleep(window).await;
        let cost = world.cost(&mark, &[]).await?;
        let mut others = cost.calls.clone();
        others.remove("GET nodes");
        let others = total(&others);
        let share = cost.of_bmo() * 100.0 / cost.seconds;
        let rss = count::memory(world.bmo.pid())?.0;
        for (figure, value) in [
            ("writes", total(&cost.writes)),
            ("calls", others),
            ("lists", total(&cost.calls) - others),
            ("cpu", share),
            ("rss", rss),
        ] {
            self.set(&format!("idle.{figure}"), value);
        }
        say(&format!(
            "  idle {:.0} s: {} writes besides Leases, {} Ironic calls besides {} pages of nodes, {share:.2} % of a core; \
             RSS {rss:.1} MiB",
            cost.seconds,
            total(&cost.writes),
            others,
            total(&cost.calls) - others,
        ))
    }

    /// How long a change in Ironic needs to reach the host.
    async fn changes(&mut self, world: &World, count: usize) -> Result<()> {
        let mut worst: f64 = 0.0;
        for number in 0..CHANGES.min(count) {
            worst = worst.max(world.press(number * count / CHANGES.min(count)).await?);
            // The next one meets a fleet at rest again, not one that is being read often.
            world.quiet().await?;
        }
        self.set("change.seconds", worst);
        say(&format!(
            "  a machine that was switched off shows on its host within {worst:.2} s"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_of_one_figure_over_the_runs() {
        let runs: Vec<Figures> = [3.0, 1.0, 2.0]
            .map(|value| {
                let mut figures = Figures::default();
                figures.set("a", value);
                figures.set("b", 10.0 * value);
                figures
            })
            .into();
        let medians = Figures::medians(&runs);
        assert_eq!((medians.get("a"), medians.get("b")), (Some(2.0), Some(20.0)));
    }
}
