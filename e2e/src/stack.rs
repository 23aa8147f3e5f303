//! bmo and capm3: installed as a clusterctl provider, run as host processes with the identity of their pods.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::bed::{ADDRESS, Bed};
use crate::hardware::Hardware;

/// Namespace of both services.
pub const NAMESPACE: &str = "capm3-system";
/// Deployment of the baremetal-operator.
pub const BMO: &str = "baremetal-operator-controller-manager";
/// Deployment of the provider.
pub const CAPM3: &str = "capm3-controller-manager";

/// Whether the services elect a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// As in a pod.
    On,
    /// A service that was killed goes on at once, instead of waiting for its predecessor's lease to end.
    Off,
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

/// `clusterctl init` with our provider; Cluster API's managers run afterwards, ours do not yet.
///
/// # Errors
/// When a component does not come up.
pub async fn init(bed: &Bed, hardware: &Hardware) -> Result<()> {
    let variables = hardware.variables();
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    bed.capi_with(&["init", "--infrastructure", "metal3"], &variables)
        .await?;
    Ok(())
}

/// Starts bmo and capm3; the bed's supervisor restarts them from then on.
///
/// # Errors
/// When one does not become ready.
pub async fn start(bed: &Bed, election: Election) -> Result<()> {
    let elect = match election {
        Election::On => "--leader-elect=true",
        Election::Off => "--leader-elect=false",
    };
    let (bmo, capm3) = (service("metal3-bmo")?, service("metal3-capm3")?);
    let (bmo, capm3) = (bmo.to_string_lossy(), capm3.to_string_lossy());
    let grpc = format!("--grpc-bind-address={ADDRESS}:8443");
    let bmo = [
        "hostpod",
        NAMESPACE,
        BMO,
        &bmo,
        "--health-addr=127.0.0.1:@h",
        "--metrics-addr=127.0.0.1:@m",
        &grpc,
        elect,
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
        elect,
    ];
    tokio::try_join!(bed.capi(&bmo), bed.capi(&capm3))?;
    Ok(())
}

/// Process id of a service.
///
/// # Errors
/// When it does not run.
pub fn pid(bed: &Bed, deployment: &str) -> Result<u32> {
    let file = bed.capi_dir().join(format!("run/{NAMESPACE}.{deployment}.pid"));
    let text = std::fs::read_to_string(&file).with_context(|| format!("{deployment} does not run"))?;
    Ok(text.trim().parse()?)
}
