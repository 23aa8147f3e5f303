//! Nothing secret is to be seen where people and programs look, pods are confined, and TLS is what it promises.

mod needles;
mod pods;
mod tls;

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;

use self::needles::Needle;
use super::Context;
use crate::bed::Mode;
use crate::stack::NAMESPACE;

/// Objects that people read, everywhere; what pods and Deployments are given is in them.
const OBJECTS: [&str; 9] = [
    "configmaps",
    "events",
    "pods",
    "deployments",
    "baremetalhosts",
    "hardwaredata",
    "metal3machines",
    "metal3clusters",
    "machines",
];

pub(super) async fn check(context: &Context) -> Result<()> {
    let secrets: Api<Secret> = Api::all(context.client.clone());
    let secrets = secrets.list(&ListParams::default()).await?;
    let needles: Vec<Needle> = secrets.iter().flat_map(needles::of).collect();
    let covered = |name: &str| {
        needles
            .iter()
            .any(|needle| needle.secret == format!("{NAMESPACE}/{name}"))
    };
    ensure!(
        needles.iter().any(|needle| needle.secret.ends_with("-bmc")),
        "no password of a BMC was found to look for"
    );
    ensure!(
        context.plan.sim || covered("ironic-credentials"),
        "no password of Ironic was found to look for"
    );
    context.progress.line(&format!(
        "{} values of {} Secrets are looked for",
        needles.len(),
        secrets.items.len()
    ));
    for kind in OBJECTS {
        let text = context
            .bed
            .kubectl(&["get", kind, "-A", "-o", "json"], None)
            .await?;
        is_clean(kind, &text, &needles)?;
        let size = text.len() / 1024;
        context
            .progress
            .line(&format!("{kind} in all namespaces: {size} KiB, nothing"));
    }
    if context.plan.mode == Mode::Processes {
        let why = "no pods, no Services: confinement and TLS are not looked at";
        context.progress.line(why);
        return log_files(context, &needles);
    }
    logs(context, &needles).await?;
    pods::check(context).await?;
    tls::check(context).await
}

fn is_clean(place: &str, text: &str, needles: &[Needle]) -> Result<()> {
    if let Some(needle) = needles.iter().find(|needle| needle.is_in(text)) {
        let Needle { secret, key, .. } = needle;
        bail!(
            "{key} of Secret {secret} is in {place}, after: {}",
            needle.near(text)
        );
    }
    if let Some(token) = needles::token_in(text) {
        bail!("a ServiceAccount token is in {place}: {token}…");
    }
    Ok(())
}

/// What pods of ours and of Cluster API have printed, also before their containers were started again.
async fn logs(context: &Context, needles: &[Needle]) -> Result<()> {
    let (mut read, mut lines) = (0, 0);
    let format = r#"jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}"#;
    let list = context
        .bed
        .kubectl(&["get", "pods", "-A", "-o", format], None)
        .await?;
    let pods = list.lines().filter_map(|line| line.split_once(' '));
    for (namespace, pod) in
        pods.filter(|(namespace, _)| *namespace == NAMESPACE || namespace.starts_with("capi-"))
    {
        for previous in [false, true] {
            let mut arguments = vec!["logs", pod, "-n", namespace, "--all-containers", "--tail=-1"];
            if previous {
                arguments.push("--previous");
            }
            let text = match context.bed.kubectl(&arguments, None).await {
                Err(error) if previous && format!("{error:#}").contains("not found") => continue,
                text => text?,
            };
            is_clean(&format!("logs of {pod}"), &text, needles)?;
            read += 1;
            lines += text.lines().count();
        }
    }
    ensure!(lines > 0, "there are no pods whose logs could be read");
    context
        .progress
        .line(&format!("{read} logs of pods, {lines} lines: nothing"));
    Ok(())
}

/// The same of processes that stand for pods.
fn log_files(context: &Context, needles: &[Needle]) -> Result<()> {
    let mut read = 0;
    for entry in std::fs::read_dir(context.bed.capi_dir().join("log"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with(NAMESPACE) || name.starts_with("capi-") {
            is_clean(&name, &std::fs::read_to_string(&path)?, needles)?;
            read += 1;
        }
    }
    ensure!(read > 0, "there are no logs to read");
    context
        .progress
        .line(&format!("{read} logs of processes: nothing"));
    Ok(())
}
