//! A close look at what runs after `quickstart up`. Each check finds out by itself and says what it saw; none changes what
//! the others see.
//!
//! * [`story`]: events, logs, conditions and states of a host tell one story
//! * [`metrics`]: what is scraped is well formed and bounded
//! * [`secrets`]: nothing secret is shown, pods are confined, TLS is what it promises
//! * [`grpc`]: the recipes of `docs/grpc.md` do what the page says
//! * [`rights`]: each right is used, and none is missing

mod grpc;
mod metrics;
mod rights;
mod secrets;
mod story;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};

use crate::bed::Bed;
use crate::progress::Progress;
use crate::stack::NAMESPACE;
use crate::tour::{self, Plan};

/// Label value of bmo's pods.
const BMO_PODS: &str = "metal3-bmo";
/// Label value of capm3's pods.
const CAPM3_PODS: &str = "metal3-capm3";

/// What can be looked at; in this order, so that rights are judged after the most has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// Events, logs, conditions and states agree.
    Story,
    /// `/metrics` of both services.
    Metrics,
    /// Secrets, confinement of pods, TLS.
    Secrets,
    /// The commands of docs/grpc.md.
    Grpc,
    /// Rights granted against rights used.
    Rights,
}

/// What a check may use.
pub struct Context {
    /// The bed.
    pub bed: Bed,
    /// What `up` was told.
    pub plan: Plan,
    /// The management cluster, as its administrator.
    pub client: Client,
    /// Where findings go.
    pub progress: Arc<Progress>,
}

impl Context {
    /// The pods of one of our services; none when it runs as a process.
    async fn pods(&self, name: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let selected = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
        Ok(pods.list(&selected).await?.items)
    }

    /// All objects of a kind in the namespace of hosts and Cluster.
    async fn objects(&self, group: &str, version: &str, kind: &str) -> Result<Vec<DynamicObject>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), tour::NAMESPACE, &resource);
        let found = api.list(&ListParams::default()).await;
        Ok(found.with_context(|| format!("cannot list {kind}"))?.items)
    }
}

/// Runs the checks, all when none is named.
///
/// # Errors
/// The first finding that is wrong.
pub async fn run(bed: &Bed, what: &[Check]) -> Result<()> {
    let context = Context {
        bed: bed.clone(),
        plan: Plan::of(bed)?,
        client: tour::client(&bed.kubeconfig()).await?,
        progress: Arc::new(Progress::default()),
    };
    let all = if what.is_empty() {
        Check::value_variants()
    } else {
        what
    };
    for check in all {
        context.progress.step(&format!("{check:?}"));
        one(&context, *check)
            .await
            .with_context(|| format!("check {check:?}"))?;
    }
    Ok(())
}

async fn one(context: &Context, check: Check) -> Result<()> {
    match check {
        Check::Story => story::check(context).await,
        Check::Metrics => metrics::check(context).await,
        Check::Secrets => secrets::check(context).await,
        Check::Grpc => grpc::check(context).await,
        Check::Rights => rights::check(context).await,
    }
}
