//! A real etcd and kube-apiserver.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rcgen::KeyPair;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::certs::Authority;
use crate::process::{Process, Program};
use crate::{init, port, scratch, tools, wait, workspace};

/// Starts of the pair before giving up: another program may take a port between choice and use.
const ATTEMPTS: usize = 3;
const START: Duration = Duration::from_secs(180);

/// A control plane of its own: etcd and kube-apiserver on free ports of the loopback interface, with RBAC, admission,
/// ServiceAccount tokens and an audit log. There is no controller manager: nothing is garbage collected.
#[derive(Debug)]
pub struct ControlPlane {
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    config: Config,
    // Stopped in this order.
    apiserver: Process,
    etcd: Process,
}

impl ControlPlane {
    /// Starts one; it takes some seconds.
    ///
    /// # Errors
    /// When the tools are missing or do not come up; the message holds the end of their logs.
    pub async fn start() -> Result<Self> {
        init();
        let (etcd, apiserver) = (tools::find("etcd")?, tools::find("kube-apiserver")?);
        let dir = scratch::dir("control-plane")?;
        create_pki(&dir)?;
        let mut attempt = 1;
        loop {
            match Self::attempt(&dir, &etcd, &apiserver).await {
                Err(error) if attempt < ATTEMPTS => eprintln!("control plane, attempt {attempt}: {error:#}"),
                settled => return settled,
            }
            attempt += 1;
        }
    }

    /// The one that the tests of a binary share, with the CRDs of Metal3 and views of Cluster API's. Tests keep apart by
    /// namespaces.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        let started = SHARED.get_or_try_init(|| async {
            let plane = Self::start().await?;
            plane
                .install_crds(&workspace().join("charts/metal3-crds/templates"))
                .await?;
            plane.install_capi_crds().await?;
            Ok::<_, anyhow::Error>(plane)
        });
        match started.await {
            Ok(plane) => plane,
            #[expect(clippy::panic, reason = "this is how a test fails")]
            Err(error) => panic!("{error:#}"),
        }
    }

    async fn attempt(dir: &Path, etcd: &Path, apiserver: &Path) -> Result<Self> {
        let (client, peer, secure) = (port::free()?, port::free()?, port::free()?);
        let data = dir.join("etcd");
        // What an attempt before has left.
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let etcd = Program::new(etcd)
            .arg("--data-dir")
            .arg(&data)
            .args(["--unsafe-no-fsync", "--log-level", "error"])
            .args([
                "--listen-client-urls",
                &url(client),
                "--advertise-client-urls",
                &url(client),
            ])
            .args([
                "--listen-peer-urls",
                &url(peer),
                "--initial-advertise-peer-urls",
                &url(peer),
            ])
            .args(["--initial-cluster", &format!("default={}", url(peer))])
            .tail(3)
            .start()?;
        let apiserver = Program::new(apiserver)
            .args(apiserver_flags(dir, &url(client), secure))
            .tail(3)
            .start()?;
        let url = format!("https://127.0.0.1:{secure}");
        let kubeconfig = dir.join("admin.kubeconfig");
        let user = json!({"client-certificate": dir.join("admin.crt"), "client-key": dir.join("admin.key")});
        write_kubeconfig(&kubeconfig, &url, &dir.join("ca.crt"), &user)?;
        let config = load(&kubeconfig).await?;
        let plane = Self {
            dir: dir.to_owned(),
            url,
            config,
            apiserver,
            etcd,
        };
        plane.ready().await?;
        Ok(plane)
    }

    /// Kills etcd as `kill -9` does; what it stored stays.
    pub fn kill_etcd(&self) {
        self.etcd.kill();
    }

    /// Kills the API server as `kill -9` does.
    pub fn kill_apiserver(&self) {
        self.apiserver.kill();
    }

    /// Starts what was killed on the same ports over the same data; [`Self::ready`] waits for it.
    ///
    /// # Errors
    /// When a program cannot be started.
    pub fn revive(&self) -> Result<()> {
        for process in [&self.etcd, &self.apiserver] {
            if process.ended().is_some() {
                process.restart()?;
            }
        }
        Ok(())
    }

    /// The process ids of etcd and of the API server, for whoever measures.
    pub fn pids(&self) -> [u32; 2] {
        [self.etcd.pid(), self.apiserver.pid()]
    }

    /// Waits until the API server serves.
    ///
    /// # Errors
    /// When it or etcd ended, or it takes too long; the message holds the end of their logs.
    pub async fn ready(&self) -> Result<()> {
        let client = self.client();
        wait::try_until("the API server to be ready", START, async || {
            if let Some(status) = self.apiserver.ended().or_else(|| self.etcd.ended()) {
                // Nothing to wait for any more.
                return Ok(Err(anyhow::anyhow!("ended with {status}")));
            }
            let request = http::Request::get("/readyz").body(Vec::new())?;
            client
                .request_text(request)
                .await
                .map(|_| Ok(()))
                .map_err(anyhow::Error::from)
        })
        .await
        .map_err(anyhow::Error::from)
        .and_then(|ready| ready)
        .with_context(|| {
            format!(
                "etcd: {}\nkube-apiserver: {}",
                self.etcd.log_end(5),
                self.apiserver.log_end(10)
            )
        })
    }

    /// What the API server counts, in the format of Prometheus.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        Ok(self.client().request_text(request).await?)
    }

    /// A client with all rights. It belongs to the runtime it is made in: do not keep it over tests.
    ///
    /// # Panics
    /// When the configuration cannot be used, which a started control plane excludes.
    pub fn client(&self) -> Client {
        client(&self.config)
    }

    /// A kubeconfig with all rights.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// Where the API server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of the API server.
    ///
    /// # Errors
    /// Never for a started control plane.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.url.trim_start_matches("https://").parse()?)
    }

    /// The CA of the API server.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// `kubectl` with all rights.
    ///
    /// # Errors
    /// When it was not built.
    pub fn kubectl(&self) -> Result<Program> {
        Ok(Program::new(tools::find("kubectl")?)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &self.dir))
    }

    /// A namespace of that name.
    ///
    /// # Errors
    /// When it cannot be created.
    pub async fn namespace(&self, name: &str) -> Result<String> {
        let api: Api<Namespace> = Api::all(self.client());
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        };
        let namespace = Namespace {
            metadata,
            ..Namespace::default()
        };
        match api.create(&PostParams::default(), &namespace).await {
            Ok(_) => Ok(name.to_owned()),
            Err(kube::Error::Api(error)) if error.code == 409 => Ok(name.to_owned()),
            Err(error) => Err(error).with_context(|| format!("cannot create namespace {name}")),
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.apiserver.kill();
        self.etcd.kill();
        // Some 100 MiB; the cleaner of the scratch folder would come only at the end.
        if std::env::var_os("METAL3_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A client of its own.
pub(crate) fn client(config: &Config) -> Client {
    match Client::try_from(config.clone()) {
        Ok(client) => client,
        #[expect(clippy::panic, reason = "this is how a test fails")]
        Err(error) => panic!("kubeconfig of the control plane cannot be used: {error}"),
    }
}

/// Reads a kubeconfig.
pub(crate) async fn load(path: &Path) -> Result<Config> {
    let mut config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?;
    // A proxy of the environment is not for the loopback interface.
    config.proxy_url = None;
    Ok(config)
}

/// Writes a kubeconfig with one user.
pub(crate) fn write_kubeconfig(path: &Path, url: &str, ca: &Path, user: &serde_json::Value) -> Result<()> {
    let mut cluster = json!({"server": url});
    if url.starts_with("https:") {
        cluster["certificate-authority"] = json!(ca);
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    });
    fs::write(path, serde_json::to_vec_pretty(&config)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Writes keys and certificates into the folder of the control plane.
fn create_pki(dir: &Path) -> Result<()> {
    let authority = Authority::new("test-ca")?;
    let server = authority.server(&[
        "kube-apiserver",
        "kubernetes.default.svc",
        "localhost",
        "127.0.0.1",
    ])?;
    let admin = authority.user("test-admin", "system:masters")?;
    let accounts = KeyPair::generate()?;
    for (name, content) in [
        ("ca.crt", authority.certificate),
        ("apiserver.crt", server.certificate),
        ("apiserver.key", server.key),
        ("admin.crt", admin.certificate),
        ("admin.key", admin.key),
        ("accounts.key", accounts.serialize_pem()),
        ("accounts.pub", accounts.public_key_pem()),
        ("audit-policy.yaml", AUDIT_POLICY.to_owned()),
    ] {
        scratch::file(dir, name, content)?;
    }
    Ok(())
}

fn apiserver_flags(dir: &Path, etcd: &str, port: u16) -> Vec<String> {
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    [
        ("etcd-servers", etcd.to_owned()),
        ("bind-address", "127.0.0.1".into()),
        ("secure-port", port.to_string()),
        // Unused, but the loopback address is refused and a machine without network has no other.
        ("advertise-address", "192.0.2.1".into()),
        ("endpoint-reconciler-type", "none".into()),
        ("tls-cert-file", file("apiserver.crt")),
        ("tls-private-key-file", file("apiserver.key")),
        ("client-ca-file", file("ca.crt")),
        ("service-account-key-file", file("accounts.pub")),
        ("service-account-signing-key-file", file("accounts.key")),
        ("service-account-issuer", "https://kubernetes.default.svc".into()),
        ("service-cluster-ip-range", "10.96.0.0/16".into()),
        ("authorization-mode", "RBAC".into()),
        ("audit-policy-file", file("audit-policy.yaml")),
        ("audit-log-path", file("audit.log")),
    ]
    .into_iter()
    .map(|(flag, value)| format!("--{flag}={value}"))
    .collect()
}

/// Requests of ServiceAccounts only: the API server's own would be most of the log.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: [\"system:serviceaccounts\"]
- level: None
";
