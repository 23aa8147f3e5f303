//! The recipes of `docs/grpc.md`, run as they stand in one bash; what the page promises is there, and nothing is left behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::page::{self, Block, end};
use metal3_testkit::wait::try_until;
use serde_json::{Value, json};
use tokio::process::Command;

use super::Context;
use crate::bed::{Mode, tool};
use crate::hardware::Hardware;
use crate::tour::NAMESPACE;

const PAGE: &str = "docs/grpc.md";
/// The host that the check makes when all others are in use; by name after them, as pages of hosts are in that order.
const SPARE: &str = "spare-for-grpc";
/// Nothing that works takes this long, also on a busy machine.
const BOUND: Duration = Duration::from_secs(300);

pub(super) async fn check(context: &Context) -> Result<()> {
    if context.plan.mode == Mode::Processes {
        let why = "not run: without a node there are neither pods nor port-forward";
        context.progress.line(why);
        return Ok(());
    }
    let file = context.bed.root.join(PAGE);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let all = page::blocks(&text).context(PAGE)?;
    ensure!(!all.is_empty(), "{PAGE} has no commands");

    let before = snapshot(context).await?;
    let spare = free(context).await? == 0 && context.plan.sim;
    let ran = recipes(context, &all, spare).await;
    clear(context, spare).await?;
    let (blocks, fragments) = ran?;

    let after = snapshot(context).await?;
    let new: Vec<_> = after.difference(&before).collect();
    let gone: Vec<_> = before.difference(&after).collect();
    ensure!(
        new.is_empty() && gone.is_empty(),
        "{PAGE} left {new:?}, and this is not there any more: {gone:?}"
    );
    context.progress.line(&format!(
        "{PAGE}: {blocks} of {} blocks run, {fragments} promises kept, {} objects as before",
        all.len(),
        after.len()
    ));
    if blocks != all.len() {
        let why = "no claim was tried: every host is in use, and real hardware cannot be made";
        context.progress.line(why);
    }
    Ok(())
}

/// Runs what can be run; how many blocks, and how many promises were kept.
async fn recipes(context: &Context, all: &[Block], spare: bool) -> Result<(usize, usize)> {
    if spare {
        make_spare(context).await?;
    }
    let free = free(context).await? > 0;
    let blocks: Vec<&Block> = all
        .iter()
        .filter(|block| free || !block.needs_free_host)
        .collect();
    let folder = context.bed.dir.join("grpc");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("run.sh"), page::script("", &blocks))?;
    let (status, log) = bash(context, folder).await?;
    Ok((blocks.len(), page::judge(PAGE, &blocks, status, &log)?))
}

/// Into a file and not a pipe: what the page starts in the background may outlive its bash, if that fails.
async fn bash(context: &Context, folder: PathBuf) -> Result<(ExitStatus, String)> {
    let log = folder.join("run.log");
    let output = File::create(&log)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new("bash")
        .arg("run.sh")
        .current_dir(&folder)
        .env("PATH", format!("{}:{path}", tool("").display()))
        .env("KUBECONFIG", context.bed.kubeconfig())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .context("bash cannot be started")?;
    let group = child.id().map(|id| format!("-{id}"));
    let ended = tokio::time::timeout(BOUND, child.wait()).await;
    if let Some(group) = group {
        let mut kill = Command::new("kill");
        kill.args(["-9", "--", &group]).stderr(Stdio::null());
        kill.status().await?;
    }
    let text = fs::read_to_string(&log)?;
    let late = || {
        format!(
            "{PAGE}: the commands did not end within {BOUND:?}:\n{}",
            end(&text)
        )
    };
    let status = ended.with_context(late)??;
    Ok((status, text))
}

/// Whatever the page did, also half of it.
async fn clear(context: &Context, spare: bool) -> Result<()> {
    let delete = async |what: &[&str]| {
        let mut arguments = vec!["delete", "--ignore-not-found", "--timeout=120s"];
        arguments.extend(what);
        context.bed.kubectl(&arguments, None).await
    };
    delete(&["rolebinding,role", "grpc-debug", "-n", NAMESPACE]).await?;
    delete(&["namespace", "grpc-debug"]).await?;
    if spare {
        delete(&["bmh", SPARE, "-n", NAMESPACE]).await?;
        delete(&["secret", SPARE, "-n", NAMESPACE]).await?;
    }
    Ok(())
}

async fn hosts(context: &Context) -> Result<Vec<BareMetalHost>> {
    let api: Api<BareMetalHost> = Api::namespaced(context.client.clone(), NAMESPACE);
    Ok(api.list(&ListParams::default()).await?.items)
}

async fn free(context: &Context) -> Result<usize> {
    let is_free = |host: &&BareMetalHost| {
        let state = host
            .status
            .as_ref()
            .map(|status| status.provisioning.state.as_str());
        state == Some("available") && host.spec.consumer_ref.is_none()
    };
    Ok(hosts(context).await?.iter().filter(is_free).count())
}

/// What there is, and what hosts are told to be.
async fn snapshot(context: &Context) -> Result<BTreeSet<String>> {
    let kinds =
        "namespaces,serviceaccounts,roles,rolebindings,configmaps,secrets,hardwaredata,baremetalhosts";
    let format = r#"jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}"#;
    let names = context
        .bed
        .kubectl(&["get", kinds, "-A", "-o", format], None)
        .await?;
    let mut all: BTreeSet<String> = names.lines().map(str::to_owned).collect();
    for host in context.objects("metal3.io", "v1alpha1", "BareMetalHost").await? {
        all.insert(wanted(&host));
    }
    Ok(all)
}

/// What is wanted of a host. Not whether it is on: who gives a host back switches it off, as the page says.
fn wanted(host: &DynamicObject) -> String {
    let mut spec = host.data.get("spec").cloned().unwrap_or(Value::Null);
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("online");
    }
    let (labels, annotations) = (host.labels(), host.annotations());
    json!({"host": host.name_any(), "labels": labels, "annotations": annotations, "spec": spec}).to_string()
}

/// One more simulated server.
async fn make_spare(context: &Context) -> Result<()> {
    let plan = &context.plan;
    let hardware = Hardware::find(&context.bed, plan.kind(), plan.hosts).await?;
    let (address, mac) = hardware.bmc(plan.hosts + 1);
    let metadata = json!({"name": SPARE, "namespace": NAMESPACE});
    let objects = [
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "stringData": {"username": hardware.bmc_username, "password": hardware.bmc_password},
        }),
        json!({
            "apiVersion": "metal3.io/v1alpha1",
            "kind": "BareMetalHost",
            "metadata": metadata,
            "spec": {
                "online": true,
                "bootMACAddress": mac,
                "bmc": {"address": address, "credentialsName": SPARE, "disableCertificateVerification": true},
            },
        }),
    ];
    let text = objects.map(|object| object.to_string()).join("\n---\n");
    context
        .bed
        .kubectl(&["apply", "--server-side", "-f", "-"], Some(&text))
        .await?;
    try_until(
        "the host of this check to be available",
        BOUND,
        async || match free(context).await {
            Ok(0) => Err("every host is in use".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error:#}")),
        },
    )
    .await?;
    Ok(())
}
