//! `/metrics` of both services: well formed, named as Prometheus wants it, bounded, and the names that dashboards know.

mod exposition;
mod lint;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, ResourceExt as _};

use self::exposition::Exposition;
use super::{BMO_PODS, CAPM3_PODS, Context};
use crate::bed::Mode;
use crate::stack::{BMO, CAPM3, NAMESPACE};

/// Series that depend on neither hosts nor machines: methods, routes, codes, states.
const SLACK: usize = 50;

/// Upstream's names and ours, as they are announced; families with labels are there as soon as something happened, and in
/// a run up to a provisioned host all of these did.
const BMO_NAMES: &[&str] = &[
    "metal3_reconcile",
    "metal3_reconcile_error",
    "metal3_provisioning_state_change",
    "metal3_provisioner_not_ready",
    "metal3_operation_register_duration_seconds",
    "metal3_operation_inspect_duration_seconds",
    "metal3_operation_provision_duration_seconds",
    "metal3_waiting_for_preprov_image",
    "metal3_delete_without_powering_off",
    "metal3_credentials_missing",
    "metal3_host_state_duration_seconds",
    "metal3_hosts",
    "metal3_kubernetes_writes",
    "metal3_ironic_requests",
    "metal3_ironic_request_duration_seconds",
    "metal3_ironic_orphan_nodes",
    "metal3_ironic_queue_limit",
    "controller_runtime_reconcile",
    "controller_runtime_reconcile_time_seconds",
    "controller_runtime_max_concurrent_reconciles",
    "leader_election_master_status",
    "rest_client_requests",
    "process_cpu_seconds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];
/// As [`BMO_NAMES`].
const CAPM3_NAMES: &[&str] = &[
    "controller_runtime_reconcile",
    "controller_runtime_reconcile_time_seconds",
    "controller_runtime_max_concurrent_reconciles",
    "leader_election_master_status",
    "metal3_host_service_connected",
    "metal3_kubernetes_writes",
    "process_cpu_seconds",
    "process_resident_memory_bytes",
];

pub(super) async fn check(context: &Context) -> Result<()> {
    let services = [
        (BMO, "baremetal-operator-metrics", BMO_NAMES),
        (CAPM3, "capm3-metrics", CAPM3_NAMES),
    ];
    for (deployment, service, expected) in services {
        let mut seen = BTreeSet::new();
        for (name, scraped) in scrapes(context, deployment).await? {
            judge(context, &name, &scraped)?;
            seen.extend(scraped.families.into_iter().map(|family| family.name));
        }
        // Of several pods one leads; together they know everything.
        let missing: Vec<_> = expected.iter().filter(|name| !seen.contains(**name)).collect();
        ensure!(missing.is_empty(), "{deployment} does not tell {missing:?}");
        by_service(context, service).await?;
    }
    Ok(())
}

fn judge(context: &Context, pod: &str, scraped: &Exposition) -> Result<()> {
    let problems = lint::problems(scraped);
    ensure!(problems.is_empty(), "metrics of {pod}: {}", problems.join("; "));
    let (values, widest) = scraped.widest();
    let bound = context.plan.hosts + SLACK;
    ensure!(
        values <= bound,
        "metrics of {pod}: {widest} has {values} values, more than {bound}: it will grow without end"
    );
    context.progress.line(&format!(
        "{pod}: {} families, {} series, at most {values} values of one label ({widest})",
        scraped.families.len(),
        scraped.samples().count()
    ));
    Ok(())
}

/// What Prometheus finds by the Service, where the charts bring one.
async fn by_service(context: &Context, name: &str) -> Result<()> {
    let services: Api<Service> = Api::namespaced(context.client.clone(), NAMESPACE);
    let Some(service) = services.get_opt(name).await? else {
        context.progress.line(&format!("Service {name} is not installed"));
        return Ok(());
    };
    let port = service
        .spec
        .and_then(|spec| Some(spec.ports?.first()?.port))
        .context("a Service without ports")?;
    let scraped = get(&format!("http://{name}.{NAMESPACE}.svc:{port}/metrics")).await?;
    judge(context, &format!("Service {name}"), &scraped)
}

/// What each pod of a Deployment tells, or the process that stands for it.
///
/// # Errors
/// When there is none, or its metrics cannot be had or read.
pub(super) async fn scrapes(context: &Context, deployment: &str) -> Result<Vec<(String, Exposition)>> {
    if context.plan.mode == Mode::Processes {
        let file = format!("pods/{NAMESPACE}.{deployment}/metrics-port");
        let port = std::fs::read_to_string(context.bed.capi_dir().join(&file)).context(file)?;
        let scraped = get(&format!("http://127.0.0.1:{}/metrics", port.trim())).await?;
        return Ok(vec![(deployment.to_owned(), scraped)]);
    }
    let label = if deployment == BMO { BMO_PODS } else { CAPM3_PODS };
    let mut scrapes = Vec::new();
    for pod in context.pods(label).await? {
        scrapes.push((pod.name_any(), scrape(&pod).await?));
    }
    ensure!(!scrapes.is_empty(), "{deployment} has no pods");
    Ok(scrapes)
}

async fn scrape(pod: &Pod) -> Result<Exposition> {
    let name = pod.name_any();
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let address = address.with_context(|| format!("pod {name} has no address"))?;
    let port = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| port.name.as_deref() == Some("metrics"))
        .with_context(|| format!("pod {name} has no port named metrics"))?
        .container_port;
    let scraped = get(&format!("http://{address}:{port}/metrics")).await;
    scraped.with_context(|| format!("metrics of pod {name}"))
}

async fn get(url: &str) -> Result<Exposition> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()?;
    let answer = client.get(url).send().await?.error_for_status()?;
    let kind = answer
        .headers()
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let openmetrics = kind.starts_with("application/openmetrics-text");
    ensure!(
        openmetrics || kind.starts_with("text/plain"),
        "{url} answers {kind:?}, which Prometheus does not read"
    );
    Exposition::parse(&answer.text().await?, openmetrics).with_context(|| url.to_owned())
}
