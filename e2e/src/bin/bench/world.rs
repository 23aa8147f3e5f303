//! The programs that are measured, and what is done to the hosts.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::certs::{self, ServerDir};
use metal3_testkit::process::{Process, Program};
use metal3_testkit::{ControlPlane, Rules, http, port, wait, workspace};
use serde_json::{Value, json};

use crate::count::{self, Counts};
use crate::follow::{self, Followed, Seen};

pub(crate) const NAMESPACE: &str = "bench";
pub(crate) const BOUND: Duration = Duration::from_secs(3600);
/// The author of the objects is not what is measured.
pub(crate) const WRITERS: usize = 16;

pub(crate) struct World {
    pub(crate) plane: ControlPlane,
    hosts: Api<BareMetalHost>,
    secrets: Api<Secret>,
    pub(crate) followed: Followed<Seen>,
    pub(crate) metrics: String,
    /// Where its HostService is.
    pub(crate) grpc: u16,
    pub(crate) certificates: ServerDir,
    ready: String,
    sim: Process,
    sim_url: String,
    pub(crate) bmo: Process,
}

impl World {
    /// Everything without a host. `told`: what is to be done when one changes.
    pub(crate) async fn start(
        count: usize,
        told: impl FnMut(&str, Option<&Seen>, Option<&Seen>) + Send + 'static,
    ) -> Result<Self> {
        let plane = ControlPlane::start().await?;
        plane
            .install_crds(&workspace().join("charts/metal3-crds/templates"))
            .await?;
        let account = plane
            .account(NAMESPACE, "bmo", &Rules::of_chart("metal3-bmo")?)
            .await?;
        let sim_port = port::free()?;
        let sim = Program::built("ironic-sim")?
            .args(["--listen", &format!("127.0.0.1:{sim_port}")])
            .args(["--speed", "0", "--log", "warn"])
            .start()?;
        let (grpc, health, metrics) = (port::free()?, port::free()?, port::free()?);
        let certificates = certs::server_dir(&["localhost"])?;
        let address = |port: u16| format!("127.0.0.1:{port}");
        let bmo = Program::built("metal3-bmo")?
            .arg("--kubeconfig")
            .arg(&account.kubeconfig)
            .args([
                "--namespace",
                NAMESPACE,
                "--pod-namespace",
                NAMESPACE,
                "--leader-elect",
            ])
            .args(["--grpc-bind-address", &address(grpc)])
            .args([
                "--health-addr",
                &address(health),
                "--metrics-addr",
                &address(metrics),
            ])
            .args(["--webhook-port", "0"])
            .arg("--grpc-cert-dir")
            .arg(&certificates.dir)
            .env("IRONIC_ENDPOINT", format!("http://127.0.0.1:{sim_port}/v1"))
            .env("PROVISIONING_LIMIT", count.max(20).to_string())
            .env("RUST_LOG", "warn")
            .start()?;
        let client = plane.client();
        let world = Self {
            hosts: Api::namespaced(client.clone(), NAMESPACE),
            secrets: Api::namespaced(client.clone(), NAMESPACE),
            followed: Followed::start(follow::hosts(client, NAMESPACE), Seen::of, told),
            metrics: format!("http://127.0.0.1:{metrics}/metrics"),
            grpc,
            certificates,
            ready: format!("http://127.0.0.1:{health}/readyz"),
            sim_url: format!("http://127.0.0.1:{sim_port}/sim/v1"),
            plane,
            sim,
            bmo,
        };
        world.ready().await?;
        Ok(world)
    }

    pub(crate) async fn ready(&self) -> Result<()> {
        wait::try_until("bmo to be ready", BOUND, async || {
            match http::get(&self.ready).await {
                Ok((200, _)) => Ok(()),
                Ok((_, body)) => Err(body),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await?;
        Ok(())
    }

    /// Ends bmo as Kubernetes does and starts it again; the seconds until it is ready.
    pub(crate) async fn restart(&self) -> Result<f64> {
        self.bmo.terminate(wait::LONG).await?;
        let start = Instant::now();
        self.bmo.restart()?;
        self.ready().await?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Creates the hosts with their Secrets.
    pub(crate) async fn create(&self, count: usize) -> Result<()> {
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

    /// Asks for the same image on all.
    pub(crate) async fn provision(&self, count: usize) -> Result<()> {
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
                    let name = format!("host-{number}");
                    self.hosts.patch(&name, &PatchParams::default(), patch).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }

    pub(crate) async fn delete(&self) -> Result<()> {
        self.hosts
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await?;
        Ok(())
    }

    /// Waits until all hosts are in this state.
    pub(crate) async fn all(&self, count: usize, state: &str) -> Result<()> {
        wait::try_until(&format!("{count} hosts to be {state}"), BOUND, async || {
            self.alive()?;
            match self.followed.count(|seen| seen.state == state) {
                there if there == count => Ok(()),
                there => {
                    let failed = self.followed.count(|seen| !seen.error.is_empty());
                    Err(format!("{there} of them, {failed} with an error"))
                }
            }
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn gone(&self) -> Result<()> {
        wait::try_until("all hosts to be gone", BOUND, async || {
            self.alive()?;
            match self.followed.count(|_| true) {
                0 => Ok(()),
                left => Err(format!("{left} are left")),
            }
        })
        .await?;
        Ok(())
    }

    fn alive(&self) -> Result<(), String> {
        self.bmo.ended().map_or(Ok(()), |status| {
            Err(format!("bmo ended with {status}: {}", self.bmo.log_end(5)))
        })
    }

    /// Waits until nothing was written for some looks at the counters.
    pub(crate) async fn quiet(&self) -> Result<()> {
        let (mut last, mut same) = (Counts::new(), 0);
        wait::try_until("bmo to have nothing left to write", BOUND, async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.writes().await.map_err(|error| format!("{error:#}"))?;
            same = if now == last { same + 1 } else { 0 };
            last = now;
            if same >= 6 {
                Ok(())
            } else {
                Err("it still writes".to_owned())
            }
        })
        .await?;
        Ok(())
    }

    /// Writes as the API server counted them, without Leases.
    pub(crate) async fn writes(&self) -> Result<Counts> {
        let mut writes = count::of_apiserver(&self.plane.metrics().await?);
        writes.retain(|kind, _| !kind.ends_with(" leases"));
        Ok(writes)
    }

    /// Requests as ironic-sim counted them.
    pub(crate) async fn calls(&self) -> Result<Counts> {
        let stats = http::json(&format!("{}/stats", self.sim_url), &[]).await?;
        let requests = stats["requests"].as_array().into_iter().flatten();
        let counts = requests.map(|request| {
            let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
            let route = format!("{} {}", text("method"), text("route"));
            (route, request["count"].as_f64().unwrap_or_default())
        });
        Ok(counts.collect())
    }

    /// Presses the power button of a machine; the seconds until the host shows it.
    pub(crate) async fn press(&self, number: usize) -> Result<f64> {
        let name = format!("host-{number}");
        ensure!(
            self.followed.get(&name).is_some_and(|seen| seen.powered_on),
            "{name} is not on"
        );
        let url = format!("{}/machines/{NAMESPACE}~{name}/power", self.sim_url);
        let off: Value = json!({"power": "off"});
        let start = Instant::now();
        let answer = reqwest::Client::new().put(&url).json(&off).send().await?;
        ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
        wait::try_until("the host to show that it is off", BOUND, async || {
            let seen = self.followed.get(&name).ok_or("it is gone")?;
            if seen.powered_on { Err("it is on") } else { Ok(()) }
        })
        .await?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds of CPU by program.
    pub(crate) fn cpu(&self) -> Result<Counts> {
        let [etcd, apiserver] = self.plane.pids();
        let pids = [
            ("bmo", self.bmo.pid()),
            ("kube-apiserver", apiserver),
            ("etcd", etcd),
            ("ironic-sim", self.sim.pid()),
            ("bench", std::process::id()),
        ];
        pids.into_iter()
            .map(|(name, pid)| Ok((name.to_owned(), count::cpu(pid)?)))
            .collect()
    }
}
