//! Kills programs at random moments: what kubelet or, without a node, the bed's supervisor then starts again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, Mode};
use crate::progress::Progress;
use crate::stack::{BMO, CAPM3, NAMESPACE};

/// The hardware is none of our programs: ironic-sim forgets its servers when it ends.
const SPARED: &str = "ironic-sim";

/// Kills until cancelled; what it killed. The seed makes the choice of victims and pauses repeatable.
///
/// # Errors
/// When a victim cannot be killed.
pub async fn run(
    bed: Bed,
    seed: u64,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Result<Vec<String>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut killed = Vec::new();
    // Each of these once, whatever the dice say: a crash of either service, and of what looks after them.
    let mut first = [
        Victim::Process("metal3-bmo"),
        Victim::Process("metal3-capm3"),
        Victim::Service("kubelet"),
    ]
    .into_iter();
    loop {
        let pause = match bed.mode {
            Mode::Pods => random.random_range(4000..12000),
            Mode::Processes => random.random_range(800..5000),
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause)) => {}
            () = stop.cancelled() => return Ok(killed),
        }
        let victim = match bed.mode {
            Mode::Processes => Victim::Deployment(if random.random_bool(0.5) { BMO } else { CAPM3 }),
            Mode::Pods => match first.next() {
                Some(victim) => victim,
                None => pod(&bed, &mut random).await?,
            },
        };
        if let Some(name) = kill(&bed, victim).await? {
            progress.line(&format!("killed {name} (kill {}, seed {seed})", killed.len() + 1));
            killed.push(name);
        }
    }
}

enum Victim {
    /// A program in a container, by SIGKILL: kubelet starts it again in the same pod.
    Process(&'static str),
    /// A service of the node, by SIGKILL.
    Service(&'static str),
    /// A pod, deleted without grace: its Deployment makes another one.
    Pod { namespace: String, name: String },
    /// The process that stands for a Deployment, by SIGKILL.
    Deployment(&'static str),
}

/// Any pod of ours, of Cluster API, of cert-manager, or CoreDNS; those of our namespace more often than not.
async fn pod(bed: &Bed, random: &mut StdRng) -> Result<Victim> {
    let format = r#"jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}"#;
    let list = bed.kubectl(&["get", "pods", "-A", "-o", format], None).await?;
    let pods: Vec<(&str, &str)> = list
        .lines()
        .filter_map(|line| line.split_once('/'))
        .filter(|(_, name)| !name.contains(SPARED))
        .collect();
    let ours: Vec<_> = pods
        .iter()
        .copied()
        .filter(|(namespace, _)| *namespace == NAMESPACE)
        .collect();
    let among = if random.random_bool(0.6) && !ours.is_empty() {
        &ours
    } else {
        &pods
    };
    let (namespace, name) = among.choose(random).context("there is no pod to kill")?;
    Ok(Victim::Pod {
        namespace: (*namespace).to_owned(),
        name: (*name).to_owned(),
    })
}

/// The name of what was killed; nothing when it was just not there, between two lives.
async fn kill(bed: &Bed, victim: Victim) -> Result<Option<String>> {
    Ok(match victim {
        Victim::Process(name) => bed
            .capi(&["node", "crash", name])
            .await
            .ok()
            .map(|_| format!("process {name}")),
        Victim::Service(name) => {
            bed.capi(&["node", "kill", name]).await?;
            Some(name.to_owned())
        }
        Victim::Pod { namespace, name } => {
            let arguments = [
                "delete",
                "pod",
                &name,
                "-n",
                &namespace,
                "--grace-period=0",
                "--force",
                "--ignore-not-found",
                "--wait=false",
            ];
            bed.kubectl(&arguments, None).await?;
            Some(format!("pod {namespace}/{name}"))
        }
        Victim::Deployment(name) => {
            let file = bed.capi_dir().join(format!("run/{NAMESPACE}.{name}.pid"));
            let Ok(pid) = std::fs::read_to_string(&file) else {
                return Ok(None);
            };
            let killed = Command::new("kill").args(["-9", pid.trim()]).output().await?;
            killed.status.success().then(|| format!("process of {name}"))
        }
    })
}
