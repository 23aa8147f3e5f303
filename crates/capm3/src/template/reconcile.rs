//! One pass over one Metal3MachineTemplate and the Metal3Machines that were cloned from it.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::runtime::reflector::Store;
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3MachineTemplate};
use metal3_capm3_core::machine::Requeue;
use metal3_capm3_core::template_sync::{Step, View, carried, changed, plan, refused};
use serde_json::json;

use crate::commit::{Committer, Failure};
use crate::objects::{Guarded, Key, Objects, selected};
use crate::queue::{Again, Reconcile};

/// Machines of one template that are written at once: it may have a thousand of them.
const AT_ONCE: usize = 8;

/// The controller of Metal3MachineTemplates.
pub(crate) struct Controller {
    /// Templates themselves are never written.
    pub(crate) committer: Committer<Metal3MachineTemplate>,
    /// That of the machines' own controller, so that each of the two knows what the other wrote.
    pub(crate) machines: Arc<Committer<Metal3Machine>>,
    pub(crate) objects: Objects,
    pub(crate) watch_filter: String,
}

impl Reconcile for Controller {
    type Object = Metal3MachineTemplate;

    const KIND: &'static str = "Metal3MachineTemplate";

    fn reader(objects: &Objects) -> &Store<Guarded<Metal3MachineTemplate>> {
        &objects.templates
    }

    fn committer(&self) -> &Committer<Metal3MachineTemplate> {
        &self.committer
    }

    async fn pass(&self, key: &Key, object: &Metal3MachineTemplate) -> Result<Again, Failure> {
        pass(self, key, object).await
    }
}

async fn pass(context: &Controller, key: &Key, template: &Metal3MachineTemplate) -> Result<Again, Failure> {
    let mode = match carried(template) {
        Ok(mode) => mode,
        Err(left) => {
            tracing::debug!(template = %key, why = left.why(), "nothing is carried to machines");
            return Ok(Requeue::OnChange.into());
        }
    };
    // All are tried: one that is refused must not hold the others up.
    let written: Vec<_> = stream::iter(behind(context, key, template))
        .map(|machine| set(context, key, machine, mode))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    match worst(written.into_iter().filter_map(Result::err)) {
        None => Ok(Requeue::OnChange.into()),
        Some(failure) => Err(failure),
    }
}

/// The machines that are to change.
fn behind(context: &Controller, key: &Key, template: &Metal3MachineTemplate) -> Vec<Arc<Metal3Machine>> {
    let mut behind = Vec::new();
    for machine in context.objects.clones_of(key) {
        let Ok(machine) = &machine.0 else { continue };
        if !selected(machine.labels(), &context.watch_filter) {
            continue;
        }
        let machine = context.machines.newest(machine);
        let cluster = context.objects.cluster_of(&machine);
        let view = View {
            template,
            machine: &machine,
            cluster: cluster.as_ref(),
        };
        match plan(&view) {
            Step::Set(_) => behind.push(machine),
            Step::Keep => {}
            Step::Leave(left) => {
                let why = left.why();
                tracing::debug!(template = %key, machine = %Key::of(&*machine), why, "machine does not follow");
            }
        }
    }
    behind
}

async fn set(
    context: &Controller,
    template: &Key,
    machine: Arc<Metal3Machine>,
    mode: &str,
) -> Result<(), Failure> {
    let machines = &context.machines;
    let key = Key::of(&*machine);
    // One field: whatever else the machine has is none of the template's any more.
    let patch = json!({"spec": {"automatedCleaningMode": mode}});
    match machines.patch(&machine, patch).await {
        Ok(_) => {
            tracing::info!(%template, machine = %key, mode, "cleaning mode changed");
            machines.publish(&machine, &[changed(&template.name, mode)]).await;
            Ok(())
        }
        Err(failure) if failure.is_not_found() => Ok(()),
        Err(failure) => {
            if let Some(error) = failure.refusal() {
                tracing::warn!(%template, machine = %key, mode, error, "cleaning mode refused");
                let event = refused(&template.name, mode, &error);
                machines.publish(&machine, &[event]).await;
            }
            Err(failure)
        }
    }
}

/// What the pass ends with: machines that changed meanwhile are looked at again at once, whatever became of others.
fn worst(failures: impl IntoIterator<Item = Failure>) -> Option<Failure> {
    let failures = failures.into_iter();
    failures.reduce(|worst, next| if next.is_conflict() { next } else { worst })
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn failure(code: u16) -> Failure {
        let status = Status {
            code,
            ..Status::default()
        };
        Failure::Kubernetes(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_machine_that_changed_meanwhile_is_not_kept_waiting_by_one_that_is_refused() {
        for codes in [[422, 409, 500], [409, 422, 422], [500, 422, 409]] {
            let worst = worst(codes.map(failure)).unwrap();
            assert!(worst.is_conflict(), "{codes:?}: {worst}");
        }
        assert!(worst([]).is_none());
        assert!(!worst([failure(422), failure(500)]).unwrap().is_conflict());
    }

    #[test]
    fn only_what_fails_however_often_it_is_tried_is_a_refusal() {
        for code in [400, 403, 422] {
            assert!(failure(code).refusal().is_some(), "{code}");
        }
        for code in [404, 409, 429, 500, 503] {
            assert!(failure(code).refusal().is_none(), "{code}");
        }
        assert!(Failure::NotLeading.refusal().is_none());
    }
}
