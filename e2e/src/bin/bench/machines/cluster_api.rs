//! The core controllers of Cluster API, from the files of its release, as a process.
//!
//! Its CRDs and webhooks are those of the release, called by URL instead of through a Service. Its role is not: roles that
//! are put together of others need a controller manager, which is not here, so it may do everything.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use metal3_testkit::certs::{self, ServerDir};
use metal3_testkit::process::{Process, Program};
use metal3_testkit::{ControlPlane, Rules, http, port, scratch, tools, wait};
use serde_json::Value;

use super::webhooks;
use crate::world::NAMESPACE;

/// Name of its ServiceAccount.
pub(super) const ACCOUNT: &str = "cluster-api";

/// Installs it out of `core-components.yaml` and waits until it is ready.
pub(super) async fn start(plane: &ControlPlane, components: &Path) -> Result<Process> {
    let text = std::fs::read_to_string(components)
        .with_context(|| format!("cannot read {}", components.display()))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).with_context(|| format!("{}", components.display()))?;
    let of_kind = |suffix: &'static str| {
        let kind = move |document: &&Value| {
            document["kind"]
                .as_str()
                .is_some_and(|kind| kind.ends_with(suffix))
        };
        documents.iter().filter(kind)
    };
    let folder = scratch::dir("cluster-api")?;
    for crd in of_kind("CustomResourceDefinition") {
        let name = crd["metadata"]["name"].as_str().context("a CRD without name")?;
        scratch::file(&folder, &format!("{name}.yaml"), crd.to_string())?;
    }
    plane.install_crds(&folder).await?;

    let everything = Rules::default().everywhere("*", "*", &["*"]);
    let account = plane.account(NAMESPACE, ACCOUNT, &everything).await?;
    let certificates = certs::server_dir(&["localhost"])?;
    let [webhook, health] = [port::free()?, port::free()?];
    let process = Program::new(tools::find("capi-core-manager")?)
        .args(["--webhook-port", &webhook.to_string()])
        .arg("--webhook-cert-dir")
        .arg(&certificates.dir)
        .args(["--health-addr", &format!("127.0.0.1:{health}")])
        .args(["--diagnostics-address", "0"])
        .env("KUBECONFIG", &account.kubeconfig)
        .env("POD_NAMESPACE", NAMESPACE)
        .env("POD_NAME", ACCOUNT)
        .env("POD_UID", "00000000-0000-4000-8000-000000000000")
        .start()?;
    ready("Cluster API", &process, health).await?;
    let url = |path: &str| format!("https://localhost:{webhook}{path}");
    let ServerDir { ca, .. } = &certificates;
    let groups: BTreeSet<&str> = of_kind("CustomResourceDefinition")
        .filter_map(|crd| crd["spec"]["group"].as_str())
        .collect();
    for group in groups {
        plane.convert_by_url(group, &url("/convert"), ca).await?;
    }
    let configurations: Vec<Value> = of_kind("WebhookConfiguration").cloned().collect();
    ensure!(
        configurations.len() == 2,
        "{} has {} webhook configurations instead of two",
        components.display(),
        configurations.len()
    );
    webhooks::register(plane, configurations, url, ca).await?;
    Ok(process)
}

/// Waits until a program says that it is ready.
pub(super) async fn ready(what: &str, process: &Process, health: u16) -> Result<()> {
    let url = format!("http://127.0.0.1:{health}/readyz");
    wait::try_until(&format!("{what} to be ready"), wait::LONG, async || {
        if let Some(status) = process.ended() {
            return Err(format!("it ended with {status}: {}", process.log_end(5)));
        }
        match http::get(&url).await {
            Ok((200, _)) => Ok(()),
            Ok((_, body)) => Err(body),
            Err(error) => Err(format!("{error:#}; its log ends with {}", process.log_end(3))),
        }
    })
    .await?;
    Ok(())
}
