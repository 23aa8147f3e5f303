//! What drives the hardware: one line per backend.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use kube::Client;
use kube::runtime::reflector::{ObjectRef, Store};
use metal3_ironic::{AgentImages, IronicProvisioner, Known, Settings};
use metal3_kit::shutdown::TaskSet;
use metal3_kit::telemetry;
use metal3_provisioner::HostKey;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Args;
use crate::grpc::HostIndex;
use crate::ironic_resource::Follower;
use crate::watch::Guarded;

/// The backend and the hosts it reports as changed.
pub(crate) fn open(
    args: &Args,
    client: &Client,
    tasks: &mut TaskSet,
    shutdown: &CancellationToken,
) -> Result<(Arc<IronicProvisioner>, mpsc::Receiver<HostKey>)> {
    if args.provisioner != "ironic" {
        bail!("unknown provisioner {:?}; known is: ironic", args.provisioner);
    }
    let images = if args.build_preprov_image {
        AgentImages::Built
    } else {
        AgentImages::Given
    };
    let mut settings = Settings::from_env_with(images, |name| std::env::var(name).ok())
        .context("Ironic is not configured")?;
    if let Some(resource) = &settings.resource {
        let (follower, target) = Follower::new(client.clone(), resource.clone());
        let following = follower.run(shutdown.clone());
        tasks.spawn("ironic resource", async move {
            following.await;
            Ok(())
        });
        settings.target = Some(target);
    }
    settings.propagate = telemetry::inject;
    IronicProvisioner::new(settings).context("the Ironic client cannot be set up")
}

/// Whether there is a host. What is not watched, or not known yet, counts as there.
pub(crate) fn known(hosts: Store<Guarded>, index: Arc<HostIndex>, namespaces: Vec<String>) -> Known {
    Arc::new(move |key| {
        let watched = namespaces.is_empty() || namespaces.contains(&key.namespace);
        !watched
            || !index.synced()
            || hosts
                .get(&ObjectRef::new(&key.name).within(&key.namespace))
                .is_some()
    })
}
