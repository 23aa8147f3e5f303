//! The main job, step by step: a management cluster, servers, hosts, a workload cluster on them, and the way back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use metal3_testkit::wait::try_until;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, Mode};
use crate::chaos;
use crate::hardware::{Hardware, Kind};
use crate::player::{Player, Target};
use crate::progress::Progress;
use crate::report::Report;
use crate::stack::{self, Install, Tls};
use crate::view::View;

/// Namespace of hosts and Cluster.
pub const NAMESPACE: &str = "metal3";
/// Name of the Cluster.
pub const CLUSTER: &str = "demo";
/// Kubernetes version of the workload cluster.
pub const VERSION: &str = "v1.36.1";
/// Address of its API server; the test bed gives it to the network namespace.
const ENDPOINT: (&str, u16) = ("10.124.0.1", 6443);
/// Named with its version: what Helm installed is not in clusterctl's inventory.
const PROVIDER: &str = concat!("metal3:v", env!("CARGO_PKG_VERSION"));
/// The bound of one milestone; nothing that works takes this long, also on a busy machine.
const BOUND: Duration = Duration::from_secs(900);

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// How our services are installed.
    pub install: Install,
    /// Where the certificates of our services come from.
    pub tls: Tls,
    /// What the programs run as.
    pub mode: Mode,
    /// On ironic-sim instead of Ironic.
    pub sim: bool,
    /// Number of hosts.
    pub hosts: usize,
    /// Number of worker machines.
    pub workers: usize,
    /// Pods of bmo.
    pub bmo: u16,
    /// Pods of capm3.
    pub capm3: u16,
    /// Kill programs at random; the seed.
    pub chaos: Option<u64>,
}

impl Plan {
    /// What `up` was told.
    ///
    /// # Errors
    /// When nothing runs.
    pub fn of(bed: &Bed) -> Result<Self> {
        let plan = std::fs::read(bed.dir.join("plan.json")).context("no quickstart runs here")?;
        Ok(serde_json::from_slice(&plan)?)
    }

    /// What plays the hardware.
    pub const fn kind(&self) -> Kind {
        match (self.sim, self.mode, self.install) {
            (false, ..) => Kind::Ironic,
            (true, Mode::Pods, Install::Helm) => Kind::SimPod,
            (true, ..) => Kind::Sim,
        }
    }
}

/// The workload cluster of the tour.
pub fn target() -> Target {
    Target {
        namespace: NAMESPACE.into(),
        cluster: CLUSTER.into(),
        host: ENDPOINT.0.into(),
        port: ENDPOINT.1,
        version: VERSION.into(),
    }
}

/// Goes all the way up.
///
/// # Errors
/// Which milestone was missed and what was seen instead.
pub async fn up(bed: &Bed, plan: &Plan) -> Result<Report> {
    let progress = Arc::new(Progress::default());
    let mut report = Report::default();
    ensure!(
        plan.hosts > plan.workers,
        "{} hosts are too few for 1 + {} machines",
        plan.hosts,
        plan.workers
    );
    std::fs::create_dir_all(&bed.dir)?;
    std::fs::write(bed.dir.join("plan.json"), serde_json::to_vec(plan)?)?;

    progress.step(match plan.mode {
        Mode::Pods => {
            "Starting a management cluster with a real node: kubelet, containerd, CoreDNS, kube-proxy"
        }
        Mode::Processes => {
            "Starting a management cluster WITHOUT A NODE: programs run as processes, not as pods"
        }
    });
    progress.step(&format!(
        "Starting {} servers: {}",
        plan.hosts,
        plan.kind().name()
    ));
    let (_, hardware) = tokio::try_join!(bed.capi(&["up"]), Hardware::start(bed, plan.kind(), plan.hosts))?;
    stack::install(bed, plan, &hardware, &progress).await?;
    milestone(
        &mut report,
        &progress,
        "management cluster with Cluster API and Metal3",
    );

    let chaos = Chaos::start(bed, plan, &progress);
    let client = client(&bed.kubeconfig()).await?;
    let view = View::new(client, NAMESPACE, plan.hosts);
    progress.step(&format!("Creating {} BareMetalHosts", plan.hosts));
    apply(bed, &host_manifests(&hardware, NAMESPACE, 1..=hardware.servers)).await?;
    try_until("every host to be available", BOUND, async || {
        view.all_hosts(&progress, "available").await
    })
    .await?;
    milestone(&mut report, &progress, "all hosts available");

    progress.step(&format!(
        "Creating Cluster {CLUSTER}: 1 control plane machine, {} workers",
        plan.workers
    ));
    let cluster = generate(bed, &hardware, "", NAMESPACE, CLUSTER, ENDPOINT, plan.workers).await?;
    apply(bed, &cluster).await?;
    let player = CancellationToken::new();
    let servers = Player::new(bed, &hardware, target(), &progress);
    let mut playing = tokio::spawn(servers.start(player.clone()));
    let running = try_until(
        "every Machine to run and the Cluster to be available",
        BOUND,
        async || view.cluster_available(&progress, 1 + plan.workers).await,
    );
    tokio::select! {
        running = running => running?,
        played = &mut playing => played?.context("a server could not boot")?,
    }
    milestone(&mut report, &progress, "all Machines running, Cluster available");
    player.cancel();
    playing.await??;
    report.killed = chaos.stop().await?;

    progress.step(&format!("clusterctl describe cluster {CLUSTER}"));
    for line in bed
        .capi(&["clusterctl", "describe", "cluster", CLUSTER, "-n", NAMESPACE])
        .await?
        .lines()
    {
        progress.line(line);
    }
    view.fill(&mut report).await?;
    report.ironic_nodes = hardware.nodes().await?.len();
    report.pods = view.pods().await?;
    Ok(report)
}

/// Goes all the way back: the Cluster, then the hosts. What runs is stopped by the caller.
///
/// # Errors
/// Which milestone was missed and what was seen instead.
pub async fn down(bed: &Bed) -> Result<Report> {
    let plan = Plan::of(bed)?;
    let progress = Arc::new(Progress::default());
    let mut report = Report::default();
    let hardware = Hardware::find(bed, plan.kind(), plan.hosts).await?;
    let view = View::new(client(&bed.kubeconfig()).await?, NAMESPACE, plan.hosts);
    let chaos = Chaos::start(bed, &plan, &progress);

    progress.step(&format!(
        "Deleting Cluster {CLUSTER}: machines go, hosts are deprovisioned and free again"
    ));
    bed.kubectl(
        &[
            "delete",
            "cluster",
            CLUSTER,
            "-n",
            NAMESPACE,
            "--wait=false",
            "--ignore-not-found",
        ],
        None,
    )
    .await?;
    try_until("the Cluster to be gone", BOUND, async || {
        view.cluster_gone(&progress).await
    })
    .await?;
    bed.capi(&["target", "down", NAMESPACE, CLUSTER]).await?;
    try_until("every host to be available again", BOUND, async || {
        view.all_hosts(&progress, "available").await
    })
    .await?;
    milestone(&mut report, &progress, "Cluster deleted, all hosts available");
    view.fill(&mut report).await?;

    progress.step("Deleting the BareMetalHosts");
    bed.kubectl(&["delete", "bmh", "--all", "-n", NAMESPACE, "--wait=false"], None)
        .await?;
    try_until("every host to be gone", BOUND, async || {
        view.no_hosts(&progress).await
    })
    .await?;
    milestone(&mut report, &progress, "hosts deleted");
    report.killed = chaos.stop().await?;
    report.ironic_nodes = hardware.nodes().await?.len();
    Ok(report)
}

/// A client for the management cluster.
///
/// # Errors
/// When the kubeconfig cannot be read.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn milestone(report: &mut Report, progress: &Progress, name: &str) {
    report.seconds.push((name.to_owned(), progress.seconds()));
}

/// Applies as a user does: again, if a webhook was just not there, as while a service that was killed comes back.
///
/// # Errors
/// What the API server has against them.
pub async fn apply(bed: &Bed, manifests: &str) -> Result<()> {
    let arguments = ["apply", "--server-side", "-f", "-"];
    let refused = try_until("the webhooks to answer", BOUND, async || {
        match bed.kubectl(&arguments, Some(manifests)).await {
            Err(error) if error.to_string().contains("failed calling webhook") => Err(error),
            settled => Ok(settled.err()),
        }
    })
    .await?;
    refused.map_or(Ok(()), Err)
}

/// A namespace and the hosts in it, by the numbers of their servers.
pub fn host_manifests(
    hardware: &Hardware,
    namespace: &str,
    servers: impl IntoIterator<Item = usize>,
) -> String {
    let own = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let hosts = servers.into_iter().flat_map(|number| {
        let name = format!("host-{number}");
        let secret = format!("{name}-bmc");
        let (address, mac) = hardware.bmc(number);
        [
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": secret, "namespace": namespace},
                "stringData": {"username": hardware.bmc_username, "password": hardware.bmc_password},
            }),
            json!({
                "apiVersion": "metal3.io/v1alpha1",
                "kind": "BareMetalHost",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "online": true,
                    "bootMACAddress": mac,
                    "bmc": {"address": address, "credentialsName": secret, "disableCertificateVerification": true},
                },
            }),
        ]
    });
    let documents: Vec<String> = std::iter::once(own)
        .chain(hosts)
        .map(|object| object.to_string())
        .collect();
    documents.join("\n---\n")
}

/// `clusterctl generate cluster`: one control plane machine and workers, by a flavor of our templates (empty: the default).
///
/// # Errors
/// With what clusterctl printed.
pub async fn generate(
    bed: &Bed,
    hardware: &Hardware,
    flavor: &str,
    namespace: &str,
    cluster: &str,
    endpoint: (&str, u16),
    workers: usize,
) -> Result<String> {
    let (workers, port) = (workers.to_string(), endpoint.1.to_string());
    let arguments = [
        "clusterctl",
        "generate",
        "cluster",
        cluster,
        "-n",
        namespace,
        "--infrastructure",
        PROVIDER,
        "--flavor",
        flavor,
        "--kubernetes-version",
        VERSION,
        "--control-plane-machine-count",
        "1",
        "--worker-machine-count",
        &workers,
    ];
    let variables = [
        ("CLUSTER_APIENDPOINT_HOST", endpoint.0),
        ("CLUSTER_APIENDPOINT_PORT", &port),
        ("IMAGE_URL", &hardware.image),
        ("IMAGE_CHECKSUM", &hardware.checksum),
        ("IMAGE_CHECKSUM_TYPE", "sha256"),
        ("IMAGE_FORMAT", "qcow2"),
    ];
    bed.capi_with(&arguments, &variables).await
}

/// The killer, if there is one.
struct Chaos {
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<Result<Vec<String>>>>,
}

impl Chaos {
    fn start(bed: &Bed, plan: &Plan, progress: &Arc<Progress>) -> Self {
        let stop = CancellationToken::new();
        let task = plan
            .chaos
            .map(|seed| tokio::spawn(chaos::run(bed.clone(), seed, Arc::clone(progress), stop.clone())));
        Self { stop, task }
    }

    async fn stop(self) -> Result<Vec<String>> {
        self.stop.cancel();
        match self.task {
            Some(task) => task.await?,
            None => Ok(Vec::new()),
        }
    }
}
