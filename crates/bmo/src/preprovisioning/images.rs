//! The side of the host: keeps its PreprovisioningImage and reads what a builder made of it.

use futures::stream::BoxStream;
use futures::{StreamExt as _, future};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::metal3::preprovisioning_image::PreprovisioningImage;
use metal3_host_core::Built;
use metal3_provisioner::HostKey;

use super::built::{NetworkData, built};
use super::keep::{Keep, keep, release, spec};
use crate::follow::{Followed, follow};
use crate::host::{Failure, Secrets};
use crate::metrics::HostMetrics;
use crate::watch::Guarded;

/// The PreprovisioningImages of hosts.
pub(crate) struct Images {
    client: Client,
    metrics: HostMetrics,
    followed: Followed<PreprovisioningImage>,
}

impl Images {
    /// The keeper, and the hosts to look at because a builder, or a user, did something.
    pub(crate) fn new(
        client: Client,
        metrics: HostMetrics,
        namespaces: &[String],
    ) -> (Self, BoxStream<'static, ObjectRef<Guarded>>) {
        let (followed, changed) =
            follow::<PreprovisioningImage>(&client, namespaces, &watcher::Config::default());
        let images = Self {
            client,
            metrics,
            followed,
        };
        let woken = changed.filter_map(|image| {
            // One that nobody has looked at yet is what the host just created.
            let told = image.status.is_some() || image.metadata.deletion_timestamp.is_some();
            let namespace = image.namespace().unwrap_or_default();
            future::ready(told.then(|| ObjectRef::new(&image.name_any()).within(&namespace)))
        });
        (images, woken.boxed())
    }

    /// Whether the ramdisk of a host can be used. Each write ends the attempt: the builder answers it first.
    pub(crate) async fn of(
        &self,
        host: &BareMetalHost,
        architecture: Option<String>,
        secrets: &Secrets,
    ) -> Result<Built, Failure> {
        let key = HostKey::new(host.namespace().unwrap_or_default(), host.name_any());
        let wait = |detail: &str| {
            Ok(Built::NotYet {
                detail: format!("PreprovisioningImage {key}: {detail}"),
            })
        };
        let spec = match spec(host, architecture) {
            Ok(spec) => spec,
            Err(problem) => return wait(&problem),
        };
        let network = match &spec.network_data_name {
            None => NetworkData::Unused,
            Some(name) => match secrets.version(host, name).await? {
                Some(version) => NetworkData::Version(version),
                None => NetworkData::Missing,
            },
        };
        let current = self.followed.get(&key);
        match keep(current.as_deref(), host, spec.clone()) {
            Keep::Fine => match current {
                Some(image) => Ok(built(&image, &spec, &network)),
                None => wait("it is not there"),
            },
            Keep::Wait => wait("it is being deleted"),
            Keep::Create(image) => {
                self.metrics.wrote("preprovisioningimage");
                match self.api(&key).create(&PostParams::default(), &image).await {
                    Ok(image) => {
                        tracing::info!(host = %key, "preprovisioning image asked for");
                        Ok(built(&image, &spec, &network))
                    }
                    // Our watch is behind, and will wake the host.
                    Err(kube::Error::Api(error)) if error.reason == "AlreadyExists" => {
                        wait("it is there already")
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Keep::Patch(patch) => {
                self.metrics.wrote("preprovisioningimage");
                let image = self
                    .api(&key)
                    .patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch))
                    .await?;
                tracing::info!(host = %key, "preprovisioning image changed");
                Ok(built(&image, &spec, &network))
            }
        }
    }

    /// Takes our finalizer off the image of a host that goes.
    pub(crate) async fn release(&self, host: &BareMetalHost) -> Result<(), Failure> {
        let key = HostKey::new(host.namespace().unwrap_or_default(), host.name_any());
        let api = self.api(&key);
        let image = api.get_metadata_opt(&key.name).await?;
        let Some(patch) = image.and_then(|image| release(&image.metadata)) else {
            return Ok(());
        };
        self.metrics.wrote("preprovisioningimage");
        match api
            .patch_metadata(&key.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn api(&self, key: &HostKey) -> Api<PreprovisioningImage> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}
