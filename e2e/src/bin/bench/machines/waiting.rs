//! Machines that wait because there is no host: what they cost, and how soon one of them takes a host that is given back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::Api;
use kube::api::DeleteParams;
use metal3_api::capi::Machine;
use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_testkit::wait;

use super::objects::machine;
use super::spent::each;
use super::stack::{CAPM3, Stack};
use crate::figures::{Figures, as_f64, total};
use crate::say;
use crate::spread::Spread;
use crate::world::BOUND;

/// Machines beyond the hosts.
pub(super) struct Waiting {
    /// Machines that have a host.
    pub(super) served: usize,
    pub(super) clusters: usize,
    /// Machines that wait.
    pub(super) count: usize,
    /// Hosts that are given back, one after the other.
    pub(super) releases: usize,
    /// How long they are watched while nothing happens.
    pub(super) window: Duration,
}

impl Waiting {
    pub(super) async fn run(&self, stack: &Stack, figures: &mut Figures) -> Result<()> {
        let Self {
            served,
            clusters,
            count,
            ..
        } = *self;
        stack.author.machines(served, count, clusters).await?;
        let machines: Api<Metal3Machine> = stack.author.api();
        for number in served..served + count {
            told_why(&machines, &machine(number)).await?;
        }
        stack.world.quiet().await?;
        self.idle(stack, figures).await?;
        self.releases(stack, figures).await
    }

    async fn idle(&self, stack: &Stack, figures: &mut Figures) -> Result<()> {
        let mark = stack.mark().await?;
        tokio::time::sleep(self.window).await;
        let spent = stack.spent(&mark).await?;
        let minutes = spent.seconds / 60.0;
        let (calls, requests) = (total(&spent.calls), total(&spent.requests(CAPM3)));
        let calls = calls / as_f64(self.count) / minutes;
        figures.set("waiting.calls", calls);
        figures.set("waiting.requests", requests);
        say(&format!(
            "  {} machines without a host, {:.0} s: {calls:.2} calls of the HostService a minute each, {requests} requests of \
             capm3 besides Leases",
            self.count, spent.seconds
        ))
    }

    async fn releases(&self, stack: &Stack, figures: &mut Figures) -> Result<()> {
        let machines: Api<Machine> = stack.author.api();
        let (mut woken, mut whole) = (Vec::new(), Vec::new());
        let mark = stack.mark().await?;
        for release in 0..self.releases {
            let before = stack.history.taken().len();
            // Control planes stay: a Cluster without one gives nothing back.
            let name = machine(self.served - 1 - release);
            let begin = Instant::now();
            machines.delete(&name, &DeleteParams::default()).await?;
            let what = format!("the host of {name} to be taken");
            stack
                .all(&what, before + 1, || stack.history.taken().len())
                .await?;
            let taken = stack.history.taken();
            let taken = taken.last().context("nobody took a host")?;
            woken.push(taken.free.context("the host was never free")?);
            whole.push(taken.at - begin);
            let what = format!("{} on {} to run", taken.machine, taken.host);
            stack.all(&what, self.served, || stack.running()).await?;
            stack.world.quiet().await?;
        }
        let spent = stack.spent(&mark).await?;
        let (woken, whole) = (Spread::of(woken), Spread::of(whole));
        let releases = as_f64(self.releases);
        let calls = spent.calls.get("ClaimHost").copied().unwrap_or_default() / releases;
        figures.set("woken.p50", woken.percentile(50));
        figures.set("woken.worst", woken.percentile(100));
        figures.set("woken.claims", calls);
        say(&format!(
            "  {} hosts given back one after the other: free until taken p50 {:.0} ms, at most {:.0} ms; from the deletion \
             of the Machine at most {:.2} s",
            woken.len(),
            woken.percentile(50),
            woken.percentile(100),
            whole.percentile(100) / 1000.0,
        ))?;
        each("calls of the HostService", &spent.calls, releases)?;
        each("requests of capm3", &spent.requests(CAPM3), releases)
    }
}

/// Waits until a machine says that there is no host for it.
async fn told_why(machines: &Api<Metal3Machine>, name: &str) -> Result<()> {
    wait::try_until(&format!("{name} to wait for a host"), BOUND, async || {
        let machine = machines.get(name).await.map_err(|error| error.to_string())?;
        let conditions = machine.status.map(|status| status.conditions).unwrap_or_default();
        let told = conditions
            .iter()
            .find(|condition| condition.type_ == "AssociateBareMetalHost")
            .map(|condition| condition.reason.clone());
        match told.as_deref() {
            Some("AssociateBareMetalHostFailed") => Ok(()),
            other => Err(other.unwrap_or("it says nothing").to_owned()),
        }
    })
    .await?;
    Ok(())
}
