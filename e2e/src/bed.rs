//! The test bed's scripts as calls.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// What the programs of the management cluster run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Pods of a real node.
    Pods,
    /// Processes of this machine with the identity of their pods, where a machine allows no node.
    Processes,
}

/// Where the parts of a running bed are. The process itself runs inside the bed's network namespace.
#[derive(Clone, Debug)]
pub struct Bed {
    /// The repository.
    pub root: PathBuf,
    /// State, logs, process ids.
    pub dir: PathBuf,
    /// Name of the network namespace.
    pub netns: String,
    /// What the programs run as.
    pub mode: Mode,
    /// Address of the management cluster in the namespace.
    pub address: &'static str,
    /// The first port that programs without a port of their own get.
    pub ports: u16,
}

/// Address of the bed inside its namespace; not a loopback one, because EndpointSlices refuse these.
pub const ADDRESS: &str = "10.123.0.1";

impl Bed {
    /// The bed of `hack/quickstart.sh`.
    pub const fn new(root: PathBuf, dir: PathBuf, netns: String, mode: Mode) -> Self {
        Self {
            root,
            dir,
            netns,
            mode,
            address: ADDRESS,
            ports: 20_000,
        }
    }

    /// Another management cluster beside this one; its programs run as processes.
    pub fn second(&self) -> Self {
        Self {
            dir: self.dir.join("second"),
            mode: Mode::Processes,
            address: "10.125.0.1",
            ports: 30_000,
            ..self.clone()
        }
    }

    /// State of the Cluster API part.
    pub fn capi_dir(&self) -> PathBuf {
        self.dir.join("capi")
    }

    /// State of the Ironic part.
    pub fn ironic_dir(&self) -> PathBuf {
        self.dir.join("ironic")
    }

    /// The kubeconfig of the management cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.capi_dir().join("pki/admin.kubeconfig")
    }

    /// `hack/testbed/capi.sh`.
    ///
    /// # Errors
    /// With what it printed.
    pub async fn capi(&self, args: &[&str]) -> Result<String> {
        self.capi_with(args, &[]).await
    }

    /// `hack/testbed/capi.sh` with variables.
    ///
    /// # Errors
    /// With what it printed.
    pub async fn capi_with(&self, args: &[&str], env: &[(&str, &str)]) -> Result<String> {
        let mut command = self.script("hack/testbed/capi.sh", &self.capi_dir());
        command
            .args(args)
            .env("TB_INSIDE", "1")
            .env(
                "TB_MODE",
                if self.mode == Mode::Pods {
                    "pods"
                } else {
                    "processes"
                },
            )
            .env("TB_IMAGES", self.dir.join("images"))
            .env("TB_NETNS", &self.netns)
            .env("TB_IP", self.address)
            .env("TB_PORT_BASE", self.ports.to_string());
        command.envs(env.iter().copied());
        output(command, &format!("capi.sh {}", args.join(" "))).await
    }

    /// `hack/testbed/ironic.sh`.
    ///
    /// # Errors
    /// With what it printed.
    pub async fn ironic(&self, args: &[&str], env: &[(&str, &str)]) -> Result<String> {
        let mut command = self.script("hack/testbed/ironic.sh", &self.ironic_dir());
        command.args(args).envs(env.iter().copied());
        output(command, &format!("ironic.sh {}", args.join(" "))).await
    }

    /// kubectl as the administrator; `input` goes to its standard input.
    ///
    /// # Errors
    /// With what it printed.
    pub async fn kubectl(&self, args: &[&str], input: Option<&str>) -> Result<String> {
        let mut command = Command::new(tool("kubectl"));
        command.args(args).env("KUBECONFIG", self.kubeconfig());
        match input {
            None => output(command, &format!("kubectl {}", args.join(" "))).await,
            Some(input) => fed(command, input, &format!("kubectl {}", args.join(" "))).await,
        }
    }

    /// Helm as the administrator; what it keeps for itself stays in the bed.
    ///
    /// # Errors
    /// With what it printed.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(tool("helm"));
        command.args(args).env("KUBECONFIG", self.kubeconfig());
        for (name, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            command.env(name, self.dir.join("helm").join(folder));
        }
        output(command, &format!("helm {}", args.join(" "))).await
    }

    /// How things stand after something went wrong, as far as the cluster can tell.
    pub async fn scene(&self) -> String {
        let kinds = "bmh,metal3machines,metal3remediations,machines";
        let mut scene = String::new();
        for (call, last) in [
            (["get", kinds, "-A", "-o", "wide"].as_slice(), 100),
            (&["get", "events", "-A", "--sort-by=.lastTimestamp"], 80),
        ] {
            let Ok(text) = self.kubectl(call, None).await else {
                continue;
            };
            let lines: Vec<&str> = text.lines().collect();
            scene += &lines[lines.len().saturating_sub(last)..].join("\n");
            scene += "\n\n";
        }
        scene
    }

    fn script(&self, path: &str, state: &Path) -> Command {
        let mut command = Command::new(self.root.join(path));
        command.env("TB_DIR", state).current_dir(&self.root);
        command
    }
}

/// A program of the tool cache.
pub fn tool(name: &str) -> PathBuf {
    let cache = std::env::var_os("METAL3_TOOLS").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/metal3-tools"),
        PathBuf::from,
    );
    cache.join("bin").join(name)
}

/// Standard output of a command that must succeed.
///
/// # Errors
/// With the end of what it printed.
pub async fn output(mut command: Command, what: &str) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("{what}: cannot be started"))?;
    finish(&output, what)
}

async fn fed(mut command: Command, input: &str, what: &str) -> Result<String> {
    use tokio::io::AsyncWriteExt as _;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{what}: cannot be started"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    finish(&child.wait_with_output().await?, what)
}

fn finish(output: &std::process::Output, what: &str) -> Result<String> {
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().rev().take(12).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        bail!("{what} failed ({}):\n{}", output.status, tail.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
