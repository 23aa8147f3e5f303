//! The default builder: performs what `decide.rs` says.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::future;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use metal3_api::metal3::preprovisioning_image::PreprovisioningImage;
use metal3_api::names;
use metal3_kit::backoff::Backoff;
use metal3_kit::lease::Leadership;
use metal3_provisioner::HostKey;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::decide::{Life, decide, life};
use super::sources::Sources;
use crate::host::{Beside, Claim, Failure, claim};
use crate::metrics::HostMetrics;

const CONFLICT_RETRY: Duration = Duration::from_millis(50);

/// Builds images from what the environment names.
pub(crate) struct Builder {
    client: Client,
    namespaces: Vec<String>,
    leadership: Leadership,
    metrics: HostMetrics,
    sources: Sources,
}

struct Context {
    builder: Builder,
    backoff: Backoff<HostKey>,
}

impl Builder {
    /// `None` when the environment names no ramdisk: then somebody else builds.
    pub(crate) fn from_env(
        client: Client,
        namespaces: Vec<String>,
        leadership: &Leadership,
        metrics: &HostMetrics,
    ) -> Option<Self> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let sources = Sources::from_env(std::env::vars_os().filter_map(text));
        if sources.is_none() {
            tracing::info!(
                "no DEPLOY_*_URL names a ramdisk: somebody else is to build preprovisioning images"
            );
        }
        Some(Self {
            client,
            namespaces,
            leadership: leadership.clone(),
            metrics: metrics.clone(),
            sources: sources?,
        })
    }

    /// Waits for leadership, then works until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let mut leadership = self.leadership.clone();
        tokio::select! {
            () = leadership.acquired() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let client = self.client.clone();
        let scopes: Vec<(Api<PreprovisioningImage>, Api<PartialObjectMeta<Secret>>)> =
            if self.namespaces.is_empty() {
                vec![(Api::all(client.clone()), Api::all(client))]
            } else {
                let apis = |namespace: &String| {
                    (
                        Api::namespaced(client.clone(), namespace),
                        Api::namespaced(client.clone(), namespace),
                    )
                };
                self.namespaces.iter().map(apis).collect()
            };
        let context = Arc::new(Context {
            builder: self,
            backoff: Backoff::default(),
        });
        let running = scopes.into_iter().map(|(images, secrets)| {
            let labels = format!("{}={}", names::LABEL_ENVIRONMENT, names::LABEL_ENVIRONMENT_VALUE);
            let changed = watcher(secrets, watcher::Config::default().labels(&labels))
                .default_backoff()
                .touched_objects();
            let controller = kube::runtime::Controller::new(images, watcher::Config::default());
            let known = controller.store();
            // Of a Secret that was missing nobody is the owner yet.
            let using = move |secret: PartialObjectMeta<Secret>| {
                let (namespace, name) = (secret.namespace(), secret.metadata.name);
                let images = known.state_filter(|image| {
                    image.namespace() == namespace && image.spec.network_data_name == name
                });
                images
                    .iter()
                    .map(|image| ObjectRef::from_obj(image.as_ref()))
                    .collect::<Vec<_>>()
            };
            controller
                .watches_stream(changed, using)
                .graceful_shutdown_on(shutdown.clone().cancelled_owned())
                .run(reconcile, error_policy, Arc::clone(&context))
                .for_each(|_| future::ready(()))
        });
        stream::iter(running).for_each_concurrent(None, |one| one).await;
        Ok(())
    }
}

async fn reconcile(image: Arc<PreprovisioningImage>, context: Arc<Context>) -> Result<Action, Failure> {
    let builder = &context.builder;
    if !builder.leadership.held() {
        return Err(Failure::NotLeading);
    }
    let key = key(&image);
    let again = match life(&image) {
        Life::New => {
            let finalizers = image.finalizers().iter().map(String::as_str);
            let all: Vec<_> = finalizers.chain([names::FINALIZER_IMAGE_BUILDER]).collect();
            builder.set_finalizers(&image, &all).await?;
            None
        }
        Life::Lives => builder.build(&image).await?,
        Life::Free => {
            builder.set_finalizers(&image, &[]).await?;
            tracing::info!(image = %key, "preprovisioning image dropped");
            None
        }
        Life::Held | Life::Gone => None,
    };
    context.backoff.forget(&key);
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

impl Builder {
    async fn build(&self, image: &PreprovisioningImage) -> Result<Option<Duration>, Failure> {
        let network = self.network_data(image).await?;
        let decision = decide(image, &self.sources, network.as_deref(), Timestamp::now());
        if image.status.as_ref() != Some(&decision.status) {
            let mut changed = image.clone();
            changed.status = Some(decision.status);
            self.metrics.wrote("preprovisioningimage");
            let name = image.name_any();
            self.api(image)
                .replace_status(&name, &PostParams::default(), &changed)
                .await?;
            let conditions = changed.status.map(|status| status.conditions).unwrap_or_default();
            if let Some(ready) = conditions.first() {
                tracing::info!(image = %key(image), ready = ready.status, because = ready.message, "preprovisioning image");
            }
        }
        Ok(decision.again)
    }

    /// The version of the Secret with network data; it gets our label, and the image as an owner, so that its changes are
    /// seen. Its content does not matter: these ramdisks are the same for all.
    async fn network_data(&self, image: &PreprovisioningImage) -> Result<Option<String>, Failure> {
        let Some(name) = image
            .spec
            .network_data_name
            .as_deref()
            .filter(|name| !name.is_empty())
        else {
            return Ok(None);
        };
        let beside = Beside::of(&self.client, image);
        let Some(secret) = beside.metadata(name).await? else {
            return Ok(None);
        };
        let wanted = Claim {
            owner: image.owner_ref(&()),
            protected: false,
        };
        let Some(patch) = claim(&secret.metadata, &wanted) else {
            return Ok(secret.resource_version());
        };
        self.metrics.wrote("secret");
        Ok(beside.patch_metadata(name, &patch).await?.resource_version())
    }

    async fn set_finalizers(&self, image: &PreprovisioningImage, finalizers: &[&str]) -> Result<(), Failure> {
        let patch =
            json!({"metadata": {"finalizers": finalizers, "resourceVersion": image.resource_version()}});
        self.metrics.wrote("preprovisioningimage");
        let api = self.api(image);
        match api
            .patch_metadata(&image.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn api(&self, image: &PreprovisioningImage) -> Api<PreprovisioningImage> {
        Api::namespaced(self.client.clone(), &image.namespace().unwrap_or_default())
    }
}

fn key(image: &PreprovisioningImage) -> HostKey {
    HostKey::new(image.namespace().unwrap_or_default(), image.name_any())
}

#[expect(clippy::needless_pass_by_value, reason = "signature of kube's error policy")]
fn error_policy(image: Arc<PreprovisioningImage>, failure: &Failure, context: Arc<Context>) -> Action {
    if failure.is_conflict() {
        return Action::requeue(CONFLICT_RETRY);
    }
    let jitter = f64::from(Timestamp::now().subsec_nanosecond()) / 1e9;
    let delay = context.backoff.next(key(&image), jitter);
    tracing::warn!(image = %key(&image), error = %failure, ?delay, "the preprovisioning image cannot be looked at");
    Action::requeue(delay)
}
