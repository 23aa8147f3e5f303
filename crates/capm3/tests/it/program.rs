//! The program under test, and where it finds the host service.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metal3_rpc::AUDIENCE;
use metal3_testkit::certs::{self, ServerDir};
use metal3_testkit::process::{Process, Program};
use metal3_testkit::{Account, ControlPlane, http, port, scratch, wait};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Identity, ServerTlsConfig};

use crate::hosts::Hosts;

/// An address with a certificate, where a host service may be or not.
pub(crate) struct Place {
    port: u16,
    pub(crate) certificates: ServerDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            port: port::free().unwrap(),
            certificates: certs::server_dir(&["localhost"]).unwrap(),
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Opens a host service there.
    pub(crate) async fn open(&self, hosts: &Hosts) -> Serving {
        let file = |name: &str| std::fs::read(self.certificates.dir.join(name)).unwrap();
        let identity = Identity::from_pem(file("tls.crt"), file("tls.key"));
        let tls = ServerTlsConfig::new().identity(identity);
        Serving {
            stop: hosts.serve(self.port, Some(tls)).await,
            hosts: hosts.clone(),
        }
    }
}

/// A host service that answers.
pub(crate) struct Serving {
    stop: CancellationToken,
    hosts: Hosts,
}

impl Serving {
    /// Nobody answers any more, and all streams end.
    pub(crate) fn close(self) {
        self.stop.cancel();
        self.hosts.cut();
    }
}

/// A running provider.
pub(crate) struct Capm3 {
    pub(crate) process: Arc<Process>,
    /// Of its webhooks.
    pub(crate) certificates: ServerDir,
    pub(crate) webhook: u16,
    health: u16,
}

/// How to start one.
pub(crate) struct Launch<'a> {
    pub(crate) kubeconfig: &'a Path,
    /// With the token for the host service.
    pub(crate) token: &'a Path,
    /// Namespace to watch; empty: all.
    pub(crate) watch: &'a str,
    /// Where its lease is.
    pub(crate) home: &'a str,
    pub(crate) place: &'a Place,
    pub(crate) flags: &'a [&'a str],
}

impl Launch<'_> {
    pub(crate) fn start(self) -> Capm3 {
        let Self {
            kubeconfig,
            token,
            watch,
            home,
            place,
            flags,
        } = self;
        let certificates = certs::server_dir(&["localhost"]).unwrap();
        let [webhook, health] = [(); 2].map(|()| port::free().unwrap());
        let process = Program::new(env!("CARGO_BIN_EXE_metal3-capm3"))
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--namespace", watch, "--pod-namespace", home])
            .args(["--host-service-address", &place.address()])
            .arg("--host-service-ca-file")
            .arg(&place.certificates.ca_file)
            .arg("--host-service-token-file")
            .arg(token)
            .args(["--webhook-port", &webhook.to_string()])
            .arg("--webhook-cert-dir")
            .arg(&certificates.dir)
            .args(["--health-addr", &format!("127.0.0.1:{health}")])
            .args(["--diagnostics-address", "0"])
            .args(flags)
            .env("RUST_LOG", "info,metal3_capm3=debug")
            .start()
            .unwrap();
        Capm3 {
            process: Arc::new(process),
            certificates,
            webhook,
            health,
        }
    }
}

impl Capm3 {
    /// Status and text of `/readyz`.
    pub(crate) async fn readyz(&self) -> Result<(u16, String), String> {
        let url = format!("http://127.0.0.1:{}/readyz", self.health);
        http::get(&url).await.map_err(|error| format!("{error:#}"))
    }

    /// Waits until it says so itself.
    pub(crate) async fn ready(&self) {
        wait::until("capm3 to be ready", wait::LONG, async || {
            if let Some(status) = self.process.ended() {
                panic!("capm3 ended with {status}:\n{}", self.process.log_end(20));
            }
            match self.readyz().await? {
                (200, _) => Ok(()),
                (code, body) => Err(format!("{code} {body}")),
            }
        })
        .await;
    }

    /// Where a webhook with this path answers.
    pub(crate) fn webhook(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.webhook)
    }

    /// The provider neither panicked nor was refused anything by Kubernetes.
    pub(crate) fn was_well(&self, plane: &ControlPlane, account: &Account) {
        let denied = plane.denied_to(&account.user()).unwrap();
        assert!(
            denied.is_empty(),
            "rules are missing in charts/metal3-capm3/rbac: {denied:#?}"
        );
        let log = self.process.log();
        assert!(!log.contains("panicked at"), "capm3 panicked:\n{log}");
    }
}

/// A file with a token for the host service, as kubelet projects it.
pub(crate) async fn token_file(plane: &ControlPlane, account: &Account) -> PathBuf {
    let token = plane
        .token(&account.namespace, &account.name, &[AUDIENCE])
        .await
        .unwrap();
    scratch::file(&scratch::dir("token").unwrap(), "token", token).unwrap()
}
