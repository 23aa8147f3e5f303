//! Cluster API, bmo and capm3: installed by Helm or by clusterctl, as a user does it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bed::{Bed, Mode};
use crate::hardware::{Hardware, Kind};
use crate::progress::Progress;
use crate::tour::Plan;

/// Namespace of both services.
pub const NAMESPACE: &str = "capm3-system";
/// Deployment of the baremetal-operator.
pub const BMO: &str = "baremetal-operator-controller-manager";
/// Deployment of the provider.
pub const CAPM3: &str = "capm3-controller-manager";
/// Name of the Helm release.
pub const RELEASE: &str = "metal3";
/// Secret that bmo takes the certificate of Ironic's authority from.
const IRONIC_CA: &str = "ironic-cacert";

/// How our services are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Install {
    /// `helm install` of the umbrella chart.
    Helm,
    /// `clusterctl init --infrastructure metal3`.
    Clusterctl,
}

/// Where the certificates of our services come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// From cert-manager.
    CertManager,
    /// From the services themselves; with Helm only.
    SelfSigned,
}

/// Installs everything; both services run and are ready when this returns.
///
/// # Errors
/// When a component does not come up.
pub async fn install(bed: &Bed, plan: &Plan, hardware: &Hardware, progress: &Progress) -> Result<()> {
    let common = "clusterctl init --core cluster-api --bootstrap kubeadm --control-plane kubeadm";
    match plan.install {
        Install::Helm => {
            progress.step(common);
            bed.capi(&["init"]).await?;
            namespace(bed, hardware).await?;
            progress.step(&format!("helm install {RELEASE} charts/metal3"));
            helm(bed, plan, hardware, "install").await?;
        }
        Install::Clusterctl => {
            namespace(bed, hardware).await?;
            progress.step(&format!("{common} --infrastructure metal3"));
            clusterctl(bed, hardware, &["init", "--infrastructure", "metal3"]).await?;
        }
    }
    match plan.mode {
        Mode::Processes => {
            progress.step("Starting bmo and capm3 as processes");
            start_processes(bed, plan.chaos.is_none()).await?;
        }
        Mode::Pods if plan.install == Install::Clusterctl => {
            scale(bed, BMO, plan.bmo).await?;
            scale(bed, CAPM3, plan.capm3).await?;
        }
        Mode::Pods => {}
    }
    Ok(())
}

/// A call of the bed's script in which clusterctl reads what bmo has to know about Ironic.
///
/// # Errors
/// When a component does not come up.
pub async fn clusterctl(bed: &Bed, hardware: &Hardware, arguments: &[&str]) -> Result<()> {
    let variables = hardware.variables();
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    bed.capi_with(arguments, &variables).await?;
    Ok(())
}

/// `helm install` or `upgrade` of the umbrella chart, with values in a file: arguments can be read by everyone.
///
/// # Errors
/// With what Helm printed.
pub async fn helm(bed: &Bed, plan: &Plan, hardware: &Hardware, verb: &str) -> Result<()> {
    let file = bed.dir.join("values.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&values(plan, hardware))?)?;
    let (chart, file) = (chart(bed), file.to_string_lossy().into_owned());
    let chart = chart.to_string_lossy().into_owned();
    let mut arguments = vec![verb, RELEASE, &chart, "--namespace", NAMESPACE];
    arguments.extend(["--values", &file, "--timeout", "3m"]);
    if plan.mode == Mode::Pods {
        arguments.push("--wait");
    }
    bed.helm(&arguments).await?;
    Ok(())
}

/// The values of the umbrella chart.
fn values(plan: &Plan, hardware: &Hardware) -> Value {
    let mut ironic = json!({"provisioningLimit": hardware.servers.max(20)});
    let mut set = |value: &str, fact: &str| {
        let fact = hardware.fact(fact);
        if !fact.is_empty() {
            ironic[value] = json!(fact);
        }
    };
    set("deployKernelUrl", "DEPLOY_KERNEL_URL");
    set("deployRamdiskUrl", "DEPLOY_RAMDISK_URL");
    set("username", "IRONIC_USERNAME");
    set("password", "IRONIC_PASSWORD");
    if hardware.kind != Kind::SimPod {
        set("endpoint", "IRONIC_ENDPOINT");
    }
    json!({
        "global": {"tls": {"source": plan.tls}},
        "metal3-bmo": {
            "replicas": plan.bmo,
            "ironic": ironic,
            "ironicSim": {"enabled": hardware.kind == Kind::SimPod},
        },
        "metal3-capm3": {"replicas": plan.capm3},
    })
}

/// The package of the umbrella chart, made by `xtask dist`.
fn chart(bed: &Bed) -> PathBuf {
    bed.dir
        .join("dist/charts")
        .join(concat!("metal3-", env!("CARGO_PKG_VERSION"), ".tgz"))
}

/// The namespace, which takes restricted pods only, and in it, by upstream's convention, a Secret with who signs for Ironic.
async fn namespace(bed: &Bed, hardware: &Hardware) -> Result<()> {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let mut objects = vec![json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    })];
    let file = hardware.fact("IRONIC_CACERT_FILE");
    if !file.is_empty() {
        let pem = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": IRONIC_CA, "namespace": NAMESPACE},
            "stringData": {"tls.crt": pem},
        }));
    }
    let texts: Vec<String> = objects.iter().map(ToString::to_string).collect();
    bed.kubectl(
        &["apply", "--server-side", "-f", "-"],
        Some(&texts.join("\n---\n")),
    )
    .await?;
    Ok(())
}

/// Sets how many pods a Deployment has, and waits for them.
///
/// # Errors
/// When they do not become ready.
pub async fn scale(bed: &Bed, deployment: &str, replicas: u16) -> Result<()> {
    let (name, replicas) = (
        format!("deployment/{deployment}"),
        format!("--replicas={replicas}"),
    );
    bed.kubectl(&["scale", &name, "-n", NAMESPACE, &replicas], None)
        .await?;
    let wait = ["rollout", "status", &name, "-n", NAMESPACE, "--timeout=120s"];
    bed.kubectl(&wait, None).await?;
    Ok(())
}

/// A program of this repository, beside the one that runs.
///
/// # Errors
/// When it was not built.
pub fn service(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("the path of this program is unknown")?;
    let mut folders = here.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    match folders.find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => {
            bail!("{name} is not built: run cargo build -p metal3-bmo -p metal3-capm3 -p metal3-ironic-sim")
        }
    }
}

/// The bed's supervisor restarts them from then on. Without an election, a service that was killed goes on at once instead
/// of waiting for its predecessor's lease to end.
async fn start_processes(bed: &Bed, election: bool) -> Result<()> {
    let elect = format!("--leader-elect={election}");
    let (bmo, capm3) = (service("metal3-bmo")?, service("metal3-capm3")?);
    let (bmo, capm3) = (bmo.to_string_lossy(), capm3.to_string_lossy());
    let grpc = format!("--grpc-bind-address={}:8443", bed.address);
    // Two management clusters in one network namespace share its hosts file.
    let service = format!("--host-service-address=https://{}:8443", bed.address);
    let bmo = [
        "hostpod",
        NAMESPACE,
        BMO,
        &bmo,
        "--health-addr=127.0.0.1:@h",
        "--metrics-addr=127.0.0.1:@m",
        "--webhook-port=@w",
        &grpc,
        &elect,
    ];
    let capm3 = [
        "hostpod",
        NAMESPACE,
        CAPM3,
        &capm3,
        "--health-addr=127.0.0.1:@h",
        "--diagnostics-address=127.0.0.1:@m",
        "--insecure-diagnostics=true",
        "--webhook-port=@w",
        &service,
        &elect,
    ];
    tokio::try_join!(bed.capi(&bmo), bed.capi(&capm3))?;
    Ok(())
}
