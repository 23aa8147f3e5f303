//! The programs: those of the bench of hosts, and besides capm3, Cluster API and a workload cluster.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use metal3_rpc::AUDIENCE;
use metal3_testkit::process::{Process, Program};
use metal3_testkit::{ControlPlane, Rules, certs, http, port, scratch, wait};

use super::asked::Asked;
use super::cluster_api::{self, ready};
use super::history::History;
use super::joining::Joining;
use super::objects::Author;
use super::webhooks;
use super::workload::Workload;
use crate::count::{Counts, cpu, label, series, since};
use crate::follow::{Followed, Seen};
use crate::world::{BOUND, NAMESPACE, World};

/// Name of capm3's ServiceAccount.
pub(super) const CAPM3: &str = "capm3";

/// API servers that use less of the cores within a look have nothing to do.
const CALM: f64 = 0.2;
const LOOK: Duration = Duration::from_secs(2);

/// A Machine as it was seen last.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    pub(super) phase: String,
    pub(super) provider_id: String,
}

impl Machine {
    fn of(machine: &metal3_api::capi::Machine) -> Self {
        let phase = machine.status.as_ref().and_then(|status| status.phase.clone());
        Self {
            phase: phase.unwrap_or_default(),
            provider_id: machine.spec.provider_id.clone().unwrap_or_default(),
        }
    }
}

/// Everything that runs.
pub(super) struct Stack {
    pub(super) world: World,
    pub(super) capm3: Process,
    pub(super) cluster_api: Process,
    pub(super) workload: Workload,
    pub(super) history: History,
    pub(super) machines: Followed<Machine>,
    pub(super) author: Author,
    pub(super) asked: Asked,
    joining: Joining,
    metrics: String,
}

impl Stack {
    /// Starts everything without an object.
    pub(super) async fn start(hosts: usize, clusters: usize, components: &Path) -> Result<Self> {
        let (history, running) = History::new();
        let taker = history.clone();
        let told = move |host: &str, before: Option<&Seen>, after: Option<&Seen>| {
            taker.take(host, before, after);
        };
        let world = World::start(hosts, told).await?;
        let plane = &world.plane;
        let cluster_api = cluster_api::start(plane, components).await?;
        let (capm3, metrics) = capm3(&world).await?;
        let workload = Workload::start().await?;
        let author = Author::new(plane.client());
        Ok(Self {
            asked: Asked::start(plane, NAMESPACE)?,
            machines: Followed::start(author.api(), Machine::of, |_, _, _| ()),
            joining: Joining::start(workload.plane.client(), clusters, running),
            world,
            capm3,
            cluster_api,
            workload,
            history,
            author,
            metrics,
        })
    }

    /// The processes whose memory is of interest.
    pub(super) fn services(&self) -> [(&'static str, u32); 3] {
        [
            ("capm3", self.capm3.pid()),
            ("bmo", self.world.bmo.pid()),
            (cluster_api::ACCOUNT, self.cluster_api.pid()),
        ]
    }

    /// Seconds of CPU by program.
    pub(super) fn cpu(&self) -> Result<Counts> {
        let mut all = self.world.cpu()?;
        let [etcd, apiserver] = self.workload.plane.pids();
        for (name, pid) in [
            (CAPM3, self.capm3.pid()),
            (cluster_api::ACCOUNT, self.cluster_api.pid()),
            ("workload kube-apiserver", apiserver),
            ("workload etcd", etcd),
        ] {
            all.insert(name.to_owned(), cpu(pid)?);
        }
        Ok(all)
    }

    /// Calls of the HostService by method, and passes of the controllers, as capm3 counts them.
    pub(super) async fn of_capm3(&self) -> Result<(Counts, Counts)> {
        let (_, text) = http::get(&self.metrics).await?;
        let mut calls = Counts::new();
        for (labels, value) in series(&text, "metal3_host_service_calls_total") {
            let call = match label(labels, "code") {
                "Ok" => label(labels, "method").to_owned(),
                code => format!("{} ({code})", label(labels, "method")),
            };
            *calls.entry(call).or_default() += value;
        }
        let mut passes = Counts::new();
        for (labels, value) in series(&text, "controller_runtime_reconcile_total") {
            let pass = format!("{} {}", label(labels, "controller"), label(labels, "result"));
            *passes.entry(pass).or_default() += value;
        }
        Ok((calls, passes))
    }

    /// Waits until the API servers have done what new kinds and many writes give them to do: they go on after the answer.
    pub(super) async fn calm(&self) -> Result<()> {
        let busy = async || -> Result<f64> {
            let before = self.cpu()?;
            tokio::time::sleep(LOOK).await;
            let spent = since(&before, &self.cpu()?);
            let servers = spent.iter().filter(|(name, _)| name.ends_with("kube-apiserver"));
            Ok(servers.map(|(_, seconds)| seconds).sum::<f64>() / LOOK.as_secs_f64())
        };
        wait::try_until("the API servers to be calm", BOUND, async || match busy().await {
            Ok(cores) if cores < CALM => Ok(()),
            Ok(cores) => Err(format!("they use {cores:.2} cores")),
            Err(error) => Err(format!("{error:#}")),
        })
        .await?;
        Ok(())
    }

    /// Waits until so many satisfy something.
    pub(super) async fn all(&self, what: &str, count: usize, there: impl Fn() -> usize) -> Result<()> {
        wait::try_until(what, BOUND, async || {
            if let Err(error) = self.alive() {
                // Nothing to wait for any more.
                return Ok(Err(error));
            }
            match there() {
                now if now == count => Ok(Ok(())),
                now => Err(format!("{now} of {count}")),
            }
        })
        .await?
    }

    /// How many hosts belong to a machine.
    pub(super) fn claimed(&self) -> usize {
        self.world.followed.count(|host| !host.consumer.is_empty())
    }

    /// How many Machines have a provider ID.
    pub(super) fn bound(&self) -> usize {
        self.machines.count(|machine| !machine.provider_id.is_empty())
    }

    /// How many Machines have a Node.
    pub(super) fn running(&self) -> usize {
        self.machines.count(|machine| machine.phase == "Running")
    }

    fn alive(&self) -> Result<()> {
        for (name, process) in [
            ("capm3", &self.capm3),
            ("bmo", &self.world.bmo),
            ("Cluster API", &self.cluster_api),
        ] {
            if let Some(status) = process.ended() {
                bail!("{name} ended with {status}: {}", process.log_end(5));
            }
        }
        if let Some(failure) = self.joining.failure() {
            bail!("servers no longer join: {failure}");
        }
        if let Some(passed_on) = self.history.passed_on().first() {
            bail!("DOUBLE CLAIM: {passed_on}");
        }
        Ok(())
    }
}

/// The provider with the flags of its chart, under the role of its chart, and where its metrics are.
async fn capm3(world: &World) -> Result<(Process, String)> {
    let plane: &ControlPlane = &world.plane;
    let account = plane
        .account(NAMESPACE, CAPM3, &Rules::of_chart("metal3-capm3")?)
        .await?;
    let token = plane.token(NAMESPACE, CAPM3, &[AUDIENCE]).await?;
    let token = scratch::file(&scratch::dir("token")?, "token", token)?;
    let certificates = certs::server_dir(&["localhost"])?;
    let [webhook, health, metrics] = [port::free()?, port::free()?, port::free()?];
    let process = Program::built("metal3-capm3")?
        .arg("--kubeconfig")
        .arg(&account.kubeconfig)
        .args(["--namespace", NAMESPACE, "--pod-namespace", NAMESPACE])
        .arg("--leader-elect")
        .args([
            "--host-service-address",
            &format!("https://localhost:{}", world.grpc),
        ])
        .arg("--host-service-ca-file")
        .arg(&world.certificates.ca_file)
        .arg("--host-service-token-file")
        .arg(token)
        .args(["--webhook-port", &webhook.to_string()])
        .arg("--webhook-cert-dir")
        .arg(&certificates.dir)
        .args(["--health-addr", &format!("127.0.0.1:{health}")])
        .args(["--diagnostics-address", &format!("127.0.0.1:{metrics}")])
        .arg("--insecure-diagnostics")
        .env("RUST_LOG", "warn")
        .start()?;
    ready("capm3", &process, health).await?;
    let url = |path: &str| format!("https://localhost:{webhook}{path}");
    plane
        .convert_by_url(
            "infrastructure.cluster.x-k8s.io",
            &url("/convert"),
            &certificates.ca,
        )
        .await?;
    let configurations = webhooks::of_chart("metal3-capm3").await?;
    webhooks::register(plane, configurations, url, &certificates.ca).await?;
    Ok((process, format!("http://127.0.0.1:{metrics}/metrics")))
}
