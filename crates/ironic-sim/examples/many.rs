//! How much memory thousands of deployed hosts take, and how long their lists:
//! `cargo run -p metal3-ironic-sim --example many [nodes]`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use metal3_ironic_sim::{Config, Sim};
use reqwest::{Client, Method};
use serde_json::{Value, json};

const AT_ONCE: usize = 32;

struct Api {
    http: Client,
    endpoint: String,
}

impl Api {
    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let answer = self
            .http
            .request(method, format!("{}/{path}", self.endpoint))
            .header("X-OpenStack-Ironic-API-Version", "1.110")
            .json(body)
            .send()
            .await?;
        let status = answer.status();
        ensure!(status.is_success(), "{path}: {status}");
        Ok(answer.json().await.unwrap_or_default())
    }

    /// From enrolment to a deployed instance, with a config drive of some KiB.
    async fn deploy(&self, index: usize) -> Result<()> {
        let (high, low) = (index / 256, index % 256);
        let info = json!({
            "redfish_address": format!("https://10.0.{high}.{low}"), "redfish_system_id": "/redfish/v1/Systems/1",
            "redfish_username": "root", "redfish_password": "calvin",
        });
        let node = json!({"driver": "redfish", "name": format!("ns~host-{index}"), "driver_info": info,
            "boot_interface": "redfish-virtual-media", "properties": {"capabilities": "boot_mode:uefi", "cpu_arch": "x86_64"}});
        let node = self.call(Method::POST, "nodes", &node).await?;
        let id = node["uuid"].as_str().context("a node without UUID")?;
        let port = json!({"node_uuid": id, "address": format!("52:54:00:00:{high:02x}:{low:02x}"), "pxe_enabled": true});
        self.call(Method::POST, "ports", &port).await?;
        let path = format!("nodes/{id}/states/provision");
        for verb in ["manage", "inspect", "provide"] {
            self.call(Method::PUT, &path, &json!({"target": verb})).await?;
        }
        let info = json!({"image_source": "http://images/a.qcow2", "image_os_hash_algo": "sha256", "image_os_hash_value": "ab"});
        let patch = json!([{"op": "add", "path": "/instance_info", "value": info}]);
        self.call(Method::PATCH, &format!("nodes/{id}"), &patch).await?;
        let drive = json!({"meta_data": {"name": format!("host-{index}")}, "user_data": "#".repeat(4096)});
        let body = json!({"target": "active", "configdrive": drive});
        self.call(Method::PUT, &path, &body).await?;
        Ok(())
    }

    /// Reads a list to its end: pages, nodes, and the time of the slowest page.
    async fn list(&self, query: &str) -> Result<(usize, usize, Duration)> {
        let (mut pages, mut nodes, mut slowest) = (0, 0, Duration::ZERO);
        let mut path = format!("nodes?{query}");
        loop {
            let begin = Instant::now();
            let page = self.call(Method::GET, &path, &Value::Null).await?;
            slowest = slowest.max(begin.elapsed());
            pages += 1;
            nodes += page["nodes"].as_array().map_or(0, Vec::len);
            match page["next"].as_str().and_then(|next| next.split("/v1/").last()) {
                Some(next) => next.clone_into(&mut path),
                None => return Ok((pages, nodes, slowest)),
            }
        }
    }
}

fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(kib.parse::<u64>()? / 1024)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the figures are its purpose")]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let count: usize = std::env::args()
        .nth(1)
        .map_or(Ok(10_000), |count| count.parse())?;
    let sim = Sim::start(Config::default()).await?;
    let api = Api {
        http: Client::new(),
        endpoint: sim.endpoint.clone(),
    };
    let empty = resident()?;
    let begin = Instant::now();
    futures::stream::iter(0..count)
        .map(|index| api.deploy(index))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let actions: usize = sim.actions().iter().map(|log| log.actions.len()).sum();
    println!(
        "{count} nodes deployed in {:.0?}: {} MiB resident ({empty} before), {actions} actions in the log",
        begin.elapsed(),
        resident()?
    );
    for query in [
        "fields=uuid,name,provision_state,target_provision_state,power_state,last_error,maintenance,fault,reservation",
        "detail=true",
        "detail=true&sort_key=updated_at&sort_dir=desc&limit=100",
        "provision_state=deploying&fields=uuid",
    ] {
        let (pages, nodes, slowest) = api.list(query).await?;
        println!("{query}: {nodes} nodes on {pages} pages, the slowest took {slowest:.1?}");
    }
    Ok(())
}
