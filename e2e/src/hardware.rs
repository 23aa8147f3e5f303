//! The servers: a real Ironic with emulated BMCs and agents, or ironic-sim. Everything above sees one interface.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use metal3_testkit::wait;
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use crate::bed::{ADDRESS, Bed, Mode, output};
use crate::config_drive::ConfigDrive;
use crate::stack::NAMESPACE;

/// What plays the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ironic from PyPI, emulated Redfish BMCs, simulated agents.
    Ironic,
    /// `ironic-sim`, a process outside of the cluster.
    Sim,
    /// `ironic-sim`, a pod that the chart brings.
    SimPod,
}

impl Kind {
    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ironic => "Ironic, Redfish BMCs and agents",
            Self::Sim => "ironic-sim",
            Self::SimPod => "ironic-sim, as a pod of the chart",
        }
    }
}

/// Running hardware.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// What it is.
    pub kind: Kind,
    /// How many servers there are.
    pub servers: usize,
    /// URL of the Ironic API, ending in `/v1`.
    pub endpoint: String,
    /// Image to install.
    pub image: String,
    /// Its SHA-256.
    pub checksum: String,
    /// User name of the BMCs.
    pub bmc_username: String,
    /// Password of the BMCs.
    pub bmc_password: String,
    facts: BTreeMap<String, String>,
    http: reqwest::Client,
    scratch: PathBuf,
}

/// A node as Ironic tells it: nothing of it changes while nobody touches the server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Node {
    /// Name.
    pub name: Option<String>,
    /// UUID.
    pub uuid: String,
    /// Provision state.
    pub provision_state: String,
    /// When it got into that state.
    pub provision_updated_at: Option<String>,
    /// Power state.
    pub power_state: Option<String>,
}

/// Something that was done to a server.
#[derive(Clone, Debug)]
pub struct Deed {
    /// Orders all of them.
    pub number: u64,
    /// Name of its host.
    pub host: String,
    /// What.
    pub deed: String,
    /// The request that led to it.
    pub asked: String,
}

/// A server that runs what was installed on it.
#[derive(Clone, Debug)]
pub struct Booted {
    /// The server's own name for itself.
    pub system: String,
    /// The config drive that it received.
    pub drive: ConfigDrive,
    /// How often it booted; 0 with a real Ironic, whose agents do not count.
    pub boots: u64,
}

const SIM_PORT: u16 = 6385;

impl Hardware {
    /// Starts the hardware.
    ///
    /// # Errors
    /// When a part does not come up.
    pub async fn start(bed: &Bed, kind: Kind, servers: usize) -> Result<Self> {
        let facts = match kind {
            Kind::Ironic => {
                let count = servers.to_string();
                // Power is read often: a demonstration should not wait for it.
                let env = [
                    ("TB_HOSTS", count.as_str()),
                    ("TB_IPMI", "0"),
                    ("TB_POWER_SYNC", "5"),
                    // Pods reach it there, by TLS.
                    ("TB_NAME", ADDRESS),
                    ("TB_TLS", if bed.mode == Mode::Pods { "1" } else { "0" }),
                ];
                bed.ironic(&["up"], &env).await?;
                parse_env(&bed.ironic(&["env"], &[]).await?)
            }
            Kind::Sim => start_sim(bed).await?,
            Kind::SimPod => sim_facts(&sim_host(kind)),
        };
        Self::with(bed, kind, servers, facts)
    }

    /// The hardware that an earlier process started.
    ///
    /// # Errors
    /// When none runs.
    pub async fn find(bed: &Bed, kind: Kind, servers: usize) -> Result<Self> {
        let facts = match kind {
            Kind::Ironic => parse_env(&bed.ironic(&["env"], &[]).await?),
            Kind::Sim | Kind::SimPod => sim_facts(&sim_host(kind)),
        };
        Self::with(bed, kind, servers, facts)
    }

    fn with(bed: &Bed, kind: Kind, servers: usize, facts: BTreeMap<String, String>) -> Result<Self> {
        let fact = |name: &str| {
            facts
                .get(name)
                .cloned()
                .with_context(|| format!("the test bed does not tell {name}"))
        };
        Ok(Self {
            kind,
            servers,
            endpoint: fact("IRONIC_ENDPOINT")?,
            image: fact("IMAGE_URL")?,
            checksum: fact("IMAGE_SHA256")?,
            bmc_username: fact("BMC_USERNAME")?,
            bmc_password: fact("BMC_PASSWORD")?,
            http: http(facts.get("IRONIC_CACERT_FILE"))?,
            scratch: bed.dir.clone(),
            facts,
        })
    }

    /// Variables of `clusterctl init` that tell bmo about Ironic.
    pub fn variables(&self) -> Vec<(String, String)> {
        let names = [
            "IRONIC_ENDPOINT",
            "IRONIC_USERNAME",
            "IRONIC_PASSWORD",
            "DEPLOY_KERNEL_URL",
            "DEPLOY_RAMDISK_URL",
        ];
        let known = names
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), self.facts.get(name)?.clone())));
        known
            .chain([("PROVISIONING_LIMIT".to_owned(), self.servers.max(20).to_string())])
            .collect()
    }

    /// A fact about it, as the test bed's scripts name them; empty when there is none.
    pub fn fact(&self, name: &str) -> String {
        self.facts.get(name).cloned().unwrap_or_default()
    }

    /// BMC address and boot MAC address of a server; they count from 1.
    pub fn bmc(&self, number: usize) -> (String, String) {
        let mac = format!("52:54:00:00:{:02x}:{:02x}", number >> 8, number & 255);
        let prefix = self.facts.get("BMC_ADDRESS_PREFIX").map_or("", String::as_str);
        let address = format!("{prefix}00000000-0000-4000-8000-{number:012x}");
        (address, mac)
    }

    /// The servers that run an image now.
    ///
    /// # Errors
    /// When the hardware does not answer, or a config drive cannot be read.
    pub async fn booted(&self) -> Result<Vec<Booted>> {
        let (base, running) = match self.kind {
            Kind::Ironic => (self.fact("AGENT_CONTROL"), "instance"),
            Kind::Sim | Kind::SimPod => (format!("http://{}/sim/v1", sim_host(self.kind)), "instance"),
        };
        let list: Vec<Value> = self.get(&format!("{base}/machines")).await?;
        let mut booted = Vec::new();
        for machine in list.iter().filter(|machine| machine["state"] == running) {
            let Some(system) = machine["system"].as_str() else {
                continue;
            };
            let full: Value = self.get(&format!("{base}/machines/{system}")).await?;
            let drive = match &full["disk"]["configdrive"] {
                Value::String(text) => ConfigDrive::from_iso(text, &self.scratch).await,
                other => ConfigDrive::from_json(other),
            };
            let drive = drive.with_context(|| format!("config drive of server {system}"))?;
            booted.push(Booted {
                system: system.to_owned(),
                drive,
                boots: full["boots"].as_u64().unwrap_or_default(),
            });
        }
        Ok(booted)
    }

    /// What ironic-sim saw being done to servers.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn deeds(&self) -> Result<Vec<Deed>> {
        let url = format!("http://{}/sim/v1/actions", sim_host(self.kind));
        let logs: Vec<Value> = self.get(&url).await?;
        let mut deeds = Vec::new();
        for log in &logs {
            let name = log["name"].as_str().unwrap_or_default();
            let host = name.split_once('~').map_or(name, |(_, host)| host);
            for action in log["actions"].as_array().into_iter().flatten() {
                deeds.push(Deed {
                    number: action["number"].as_u64().context("an action without a number")?,
                    host: host.to_owned(),
                    deed: action["deed"].as_str().unwrap_or_default().to_owned(),
                    asked: action["asked"].as_str().unwrap_or_default().to_owned(),
                });
            }
        }
        Ok(deeds)
    }

    /// How often ironic-sim saw the server of a host boot.
    ///
    /// # Errors
    /// When it does not answer, or does not know the host.
    pub async fn boots(&self, namespace: &str, host: &str) -> Result<u64> {
        let url = format!(
            "http://{}/sim/v1/machines/{namespace}~{host}",
            sim_host(self.kind)
        );
        let machine: Value = self.get(&url).await?;
        machine["boots"]
            .as_u64()
            .with_context(|| format!("{url} tells no number of boots"))
    }

    /// The nodes that Ironic knows.
    ///
    /// # Errors
    /// When Ironic does not answer.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let answer: Value = self
            .get(&format!(
                "{}/nodes?fields=uuid,name,provision_state,provision_updated_at,power_state&limit=1000",
                self.endpoint
            ))
            .await?;
        let nodes = answer["nodes"].clone();
        serde_json::from_value(nodes).context("Ironic's answer has no nodes")
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T> {
        let mut request = self
            .http
            .get(url)
            .header("X-OpenStack-Ironic-API-Version", "1.89");
        if url.starts_with(&self.endpoint)
            && let Some(user) = self.facts.get("IRONIC_USERNAME")
        {
            request = request.basic_auth(user, self.facts.get("IRONIC_PASSWORD"));
        }
        let answer = request.send().await?.error_for_status()?;
        answer
            .json()
            .await
            .with_context(|| format!("the answer of {url} is not the JSON expected"))
    }
}

fn http(ca: Option<&String>) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder().timeout(Duration::from_secs(10));
    if let Some(file) = ca {
        let pem = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&pem)?]);
    }
    Ok(builder.build()?)
}

fn parse_env(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn sim_host(kind: Kind) -> String {
    match kind {
        Kind::SimPod => format!("metal3-ironic-sim.{NAMESPACE}.svc:{SIM_PORT}"),
        Kind::Ironic | Kind::Sim => format!("{ADDRESS}:{SIM_PORT}"),
    }
}

fn sim_facts(host: &str) -> BTreeMap<String, String> {
    [
        ("IRONIC_ENDPOINT", format!("http://{host}/v1")),
        (
            "BMC_ADDRESS_PREFIX",
            "redfish-virtualmedia+https://bmc.example.com/redfish/v1/Systems/".into(),
        ),
        ("IMAGE_URL", "http://images.example.com/node.qcow2".into()),
        (
            "IMAGE_SHA256",
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".into(),
        ),
        ("BMC_USERNAME", "root".into()),
        ("BMC_PASSWORD", "calvin".into()),
        ("DEPLOY_KERNEL_URL", "http://images.example.com/ipa.kernel".into()),
        (
            "DEPLOY_RAMDISK_URL",
            "http://images.example.com/ipa.initramfs".into(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

async fn start_sim(bed: &Bed) -> Result<BTreeMap<String, String>> {
    let mut command = Command::new("setsid");
    command
        .arg("--fork")
        .arg("sh")
        .arg("-c")
        .arg(r#"echo $$ >"$1/run/ironic-sim.pid"; exec "$2" --listen "$3" >"$1/log/ironic-sim.log" 2>&1"#);
    let (state, host) = (bed.capi_dir(), sim_host(Kind::Sim));
    for folder in ["run", "log"] {
        std::fs::create_dir_all(state.join(folder))?;
    }
    command
        .arg("sh")
        .arg(&state)
        .arg(crate::stack::service("ironic-sim")?)
        .arg(&host);
    output(command, "starting ironic-sim").await?;
    wait::try_until("ironic-sim to answer", Duration::from_secs(10), async || {
        tokio::net::TcpStream::connect(&host).await.ok()
    })
    .await?;
    Ok(sim_facts(&host))
}
