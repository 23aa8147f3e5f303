//! What drives the hardware: one line per backend.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use metal3_ironic::{IronicProvisioner, Settings};
use metal3_provisioner::HostKey;
use tokio::sync::mpsc;

/// The backend and the hosts it reports as changed.
pub(crate) fn open(name: &str) -> Result<(Arc<IronicProvisioner>, mpsc::Receiver<HostKey>)> {
    match name {
        "ironic" => {
            let settings =
                Settings::from_env(|name| std::env::var(name).ok()).context("Ironic is not configured")?;
            IronicProvisioner::new(settings).context("the Ironic client cannot be set up")
        }
        other => bail!("unknown provisioner {other:?}; known is: ironic"),
    }
}
