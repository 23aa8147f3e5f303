//! The HostService alone, with a stored fleet: its replica does not lead, so that nothing but the calls is measured.
//!
//! * `fleet.rs` the hosts; `claims.rs` claims and reads of many callers at once; `watches.rs` one change to many watchers

pub(crate) mod claims;
pub(crate) mod fleet;
pub(crate) mod watches;

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use metal3_rpc::client::{Config, HostClient};
use metal3_testkit::certs::{self, ServerDir};
use metal3_testkit::process::{Process, Program};
use metal3_testkit::{Account, ControlPlane, Rules, http, port, wait, workspace};
use serde_json::json;

pub(crate) const NAMESPACE: &str = "bench";
/// As `crates/bmo` names it.
const LEASE: &str = "baremetal-operator";
const BOUND: Duration = Duration::from_secs(600);

/// The programs.
pub(crate) struct Service {
    pub(crate) plane: ControlPlane,
    pub(crate) bmo: Process,
    caller: Account,
    certificates: ServerDir,
    grpc: u16,
    ready: String,
    /// An Ironic without nodes, which is all that a replica that does not lead asks for.
    _ironic: Process,
}

impl Service {
    /// Starts everything without a host.
    pub(crate) async fn start() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        plane
            .install_crds(&workspace().join("charts/metal3-crds/templates"))
            .await?;
        let account = plane
            .account(NAMESPACE, "bmo", &Rules::of_chart("metal3-bmo")?)
            .await?;
        let verbs = ["get", "list", "watch", "claim"];
        let caller = Rules::default().inside("host.metal3.io", "hosts", &verbs);
        let caller = plane.account(NAMESPACE, "caller", &caller).await?;
        lead_elsewhere(&plane).await?;
        let [ironic, grpc, health] = [port::free()?, port::free()?, port::free()?];
        let address = |port: u16| format!("127.0.0.1:{port}");
        let sim = Program::built("ironic-sim")?
            .args(["--listen", &address(ironic), "--log", "warn"])
            .start()?;
        let certificates = certs::server_dir(&["localhost"])?;
        let bmo = Program::built("metal3-bmo")?
            .arg("--kubeconfig")
            .arg(&account.kubeconfig)
            .args(["--namespace", NAMESPACE, "--pod-namespace", NAMESPACE])
            .args(["--leader-elect", "--webhook-port", "0", "--metrics-addr", "0"])
            .args(["--grpc-bind-address", &address(grpc)])
            .args(["--health-addr", &address(health)])
            // All callers of the bench are one user.
            .args(["--grpc-rate-limit", "0"])
            .arg("--grpc-cert-dir")
            .arg(&certificates.dir)
            .env("IRONIC_ENDPOINT", format!("http://{}/v1", address(ironic)))
            .env("RUST_LOG", "warn")
            .start()?;
        let service = Self {
            plane,
            bmo,
            caller,
            certificates,
            grpc,
            ready: format!("http://{}/readyz", address(health)),
            _ironic: sim,
        };
        service.ready().await?;
        Ok(service)
    }

    /// Waits until the service knows all hosts.
    async fn ready(&self) -> Result<()> {
        wait::try_until("bmo to be ready", BOUND, async || {
            if let Some(status) = self.bmo.ended() {
                return Err(format!("bmo ended with {status}: {}", self.bmo.log_end(5)));
            }
            match http::get(&self.ready).await {
                Ok((200, _)) => Ok(()),
                Ok((_, body)) => Err(body),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await?;
        Ok(())
    }

    /// Starts bmo anew: what it holds in memory then is what it needs.
    pub(crate) async fn restart(&self) -> Result<()> {
        self.bmo.terminate(wait::LONG).await?;
        self.bmo.restart()?;
        self.ready().await
    }

    /// A client as capm3 has it: TLS 1.3 and a ServiceAccount token.
    pub(crate) fn client(&self) -> Result<HostClient> {
        let config = Config {
            ca_file: Some(self.certificates.ca_file.clone()),
            token_file: Some(self.caller.token_file.clone()),
            ..Config::new(format!("https://localhost:{}", self.grpc))
        };
        HostClient::new(&config).context("the client of the HostService cannot be made")
    }
}

/// Somebody else leads for as long as a bench may take.
async fn lead_elsewhere(plane: &ControlPlane) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(plane.client(), NAMESPACE);
    let lease = json!({
        "metadata": {"name": LEASE},
        "spec": {
            "holderIdentity": "bench", "leaseDurationSeconds": 24 * 3600,
            "renewTime": format!("{:.6}", Timestamp::now()),
        },
    });
    leases
        .create(&PostParams::default(), &serde_json::from_value(lease)?)
        .await?;
    Ok(())
}
