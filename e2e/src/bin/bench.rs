//! How fast and how frugal bmo is: hosts on ironic-sim at zero latency, with a real etcd and kube-apiserver, all on this
//! machine. `hack/bench.sh` builds and runs it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::process::{Process, Program};
use metal3_testkit::{ControlPlane, Rules, certs, http, port, wait};
use serde_json::json;

const NAMESPACE: &str = "bench";
const BOUND: Duration = Duration::from_secs(900);
/// The author of the objects is not what is measured.
const WRITERS: usize = 16;

#[derive(Parser)]
struct Cli {
    /// Number of hosts.
    #[arg(long, default_value_t = 200)]
    hosts: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    metal3_testkit::init();
    let Cli { hosts: count } = Cli::parse();
    let world = World::start(count).await?;
    say(&format!("{count} hosts, ironic-sim at zero latency"))?;
    let mut begin = world.sample().await?;

    let start = Instant::now();
    world.create(count).await?;
    world.all(count, "available").await?;
    begin = world.report("all available", start, begin, count).await?;

    let start = Instant::now();
    world.provision(count).await?;
    world.all(count, "provisioned").await?;
    begin = world.report("all provisioned", start, begin, count).await?;

    let start = Instant::now();
    world
        .hosts
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    world.gone().await?;
    let end = world.report("all deleted", start, begin, count).await?;
    say(&format!(
        "  RSS of bmo at the end                    {:8.1} MiB",
        end.rss / 1_048_576.0
    ))
}

struct World {
    hosts: Api<BareMetalHost>,
    secrets: Api<Secret>,
    metrics: String,
    _bmo: Process,
    _sim: Process,
}

/// Counters of bmo at one time.
#[derive(Clone)]
struct Sample {
    /// To Kubernetes, by kind.
    writes: BTreeMap<String, f64>,
    calls: f64,
    cpu: f64,
    rss: f64,
}

impl World {
    async fn start(count: usize) -> Result<Self> {
        let plane = ControlPlane::shared().await;
        let account = plane
            .account(NAMESPACE, "bmo", &Rules::of_chart("metal3-bmo")?)
            .await?;
        let sim_port = port::free()?;
        let sim = Program::built("ironic-sim")?
            .args([
                "--listen",
                &format!("127.0.0.1:{sim_port}"),
                "--speed",
                "0",
                "--log",
                "warn",
            ])
            .start()?;
        let (grpc, health, metrics) = (port::free()?, port::free()?, port::free()?);
        let certificates = certs::server_dir(&["localhost"])?;
        let address = |port: u16| format!("127.0.0.1:{port}");
        let bmo = Program::built("metal3-bmo")?
            .arg("--kubeconfig")
            .arg(&account.kubeconfig)
            .args(["--namespace", NAMESPACE, "--pod-namespace", NAMESPACE])
            .args([
                "--grpc-bind-address",
                &address(grpc),
                "--health-addr",
                &address(health),
            ])
            .args(["--metrics-addr", &address(metrics)])
            .arg("--grpc-cert-dir")
            .arg(&certificates.dir)
            .env("IRONIC_ENDPOINT", format!("http://127.0.0.1:{sim_port}/v1"))
            .env("PROVISIONING_LIMIT", count.max(20).to_string())
            .env("RUST_LOG", "warn")
            .start()?;
        let ready = format!("http://127.0.0.1:{health}/readyz");
        wait::try_until("bmo to be ready", BOUND, async || match http::get(&ready).await {
            Ok((200, _)) => Ok(()),
            Ok((_, body)) => Err(body),
            Err(error) => Err(format!("{error:#}")),
        })
        .await?;
        let client: Client = plane.client();
        Ok(Self {
            hosts: Api::namespaced(client.clone(), NAMESPACE),
            secrets: Api::namespaced(client, NAMESPACE),
            metrics: format!("http://127.0.0.1:{metrics}/metrics"),
            _bmo: bmo,
            _sim: sim,
        })
    }

    async fn create(&self, count: usize) -> Result<()> {
        stream::iter(0..count)
            .map(|number| async move {
                let (name, secret) = (format!("host-{number}"), format!("bmc-{number}"));
                let credentials = json!({
                    "metadata": {"name": secret}, "stringData": {"username": "root", "password": "calvin"}
                });
                let host = json!({
                    "metadata": {"name": name},
                    "spec": {
                        "online": true,
                        "bootMACAddress": format!("52:54:00:00:{:02x}:{:02x}", number / 256, number % 256),
                        "bmc": {
                            "address": format!("redfish-virtualmedia+http://bmc-{number}.example.com/redfish/v1/Systems/1"),
                            "credentialsName": secret,
                        },
                    },
                });
                self.secrets.create(&PostParams::default(), &serde_json::from_value(credentials)?).await?;
                self.hosts.create(&PostParams::default(), &serde_json::from_value(host)?).await?;
                anyhow::Ok(())
            })
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }

    async fn provision(&self, count: usize) -> Result<()> {
        let patch = json!({"spec": {"image": {
            "url": "http://images.example.com/node.qcow2",
            "checksum": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
            "checksumType": "sha256",
            "format": "qcow2",
        }}});
        let patch = Patch::Merge(&patch);
        stream::iter(0..count)
            .map(|number| {
                let patch = &patch;
                async move {
                    self.hosts
                        .patch(&format!("host-{number}"), &PatchParams::default(), patch)
                        .await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }

    async fn all(&self, count: usize, state: &str) -> Result<()> {
        wait::try_until(&format!("{count} hosts to be {state}"), BOUND, async || {
            let hosts = self
                .hosts
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let states: Vec<_> = hosts
                .iter()
                .filter_map(|host| Some((host.name_any(), host.status.as_ref()?)))
                .filter(|(_, status)| status.provisioning.state.as_str() == state)
                .collect();
            if states.len() == count {
                Ok(())
            } else {
                Err(format!("{} of them", states.len()))
            }
        })
        .await?;
        Ok(())
    }

    async fn gone(&self) -> Result<()> {
        wait::try_until("all hosts to be gone", BOUND, async || {
            let left = self
                .hosts
                .list_metadata(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            if left.items.is_empty() {
                Ok(())
            } else {
                Err(format!("{} are left", left.items.len()))
            }
        })
        .await?;
        Ok(())
    }

    async fn sample(&self) -> Result<Sample> {
        let (_, text) = http::get(&self.metrics).await?;
        ensure!(
            text.contains("process_cpu_seconds_total"),
            "bmo shows no CPU time"
        );
        let sum = |name: &str| series(&text, name).map(|(_, value)| value).sum();
        let writes = series(&text, "metal3_kubernetes_writes_total")
            .map(|(labels, value)| (labels.split('"').nth(1).unwrap_or_default().to_owned(), value))
            .collect();
        Ok(Sample {
            writes,
            calls: sum("metal3_ironic_requests_total"),
            cpu: sum("process_cpu_seconds_total"),
            rss: sum("process_resident_memory_bytes"),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "thousands of hosts at most")]
    async fn report(&self, milestone: &str, start: Instant, before: Sample, count: usize) -> Result<Sample> {
        let seconds = start.elapsed().as_secs_f64();
        let now = self.sample().await?;
        let hosts = count as f64;
        let writes: BTreeMap<&str, f64> = now
            .writes
            .iter()
            .map(|(kind, total)| {
                (
                    kind.as_str(),
                    (total - before.writes.get(kind).unwrap_or(&0.0)) / hosts,
                )
            })
            .filter(|(_, each)| *each > 0.0)
            .collect();
        say(&format!(
            "  {milestone:<16} {seconds:6.1} s   {:5.1} Kubernetes writes, {:5.1} Ironic calls, {:6.1} CPU ms per host",
            writes.values().sum::<f64>(),
            (now.calls - before.calls) / hosts,
            (now.cpu - before.cpu) * 1000.0 / hosts,
        ))?;
        let kinds: Vec<String> = writes
            .iter()
            .map(|(kind, each)| format!("{each:.1} {kind}"))
            .collect();
        say(&format!("                     writes: {}", kinds.join(", ")))?;
        Ok(now)
    }
}

/// The samples of a metric: labels and value.
fn series<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line
            .strip_prefix(name)
            .filter(|rest| rest.starts_with(['{', ' ']))?;
        let (labels, value) = rest.rsplit_once(' ')?;
        Some((labels, value.parse().ok()?))
    })
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
