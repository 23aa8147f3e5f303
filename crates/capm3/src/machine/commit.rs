//! Writing a verdict: finalizer, metadata and spec, status, events; the finalizer goes last. Each step can be repeated.

use metal3_api::infra::v1beta2::{Metal3Machine, Metal3MachineStatus};
use metal3_api::names;
use metal3_capm3_core::machine::{Changes, Finalizer, Verdict};
use serde_json::{Map, Value, json};

use crate::commit::{Committer, Failure};
use crate::objects::Key;

/// Writes a verdict.
///
/// # Errors
/// A conflict means that the machine changed since it was read; the next pass decides anew.
pub(super) async fn commit(
    committer: &Committer<Metal3Machine>,
    machine: &Metal3Machine,
    verdict: Verdict,
) -> Result<(), Failure> {
    let Verdict {
        finalizer,
        changes,
        status,
        events,
        waiting: _,
        requeue: _,
    } = verdict;
    let mut current = machine.clone();
    if let Some(patch) = patch(machine, finalizer, changes) {
        current = committer.patch(&current, patch).await?;
    }
    if finalizer != Finalizer::Drop && differs(machine.status.as_ref(), &status) {
        current.status = Some(status);
        current = committer.status(&current).await?;
        report(machine, &current);
    }
    committer.publish(machine, &events).await;
    if finalizer == Finalizer::Drop {
        committer
            .drop_finalizer(&current, names::FINALIZER_METAL3_MACHINE)
            .await?;
    }
    Ok(())
}

/// What to merge into metadata and spec, if anything.
fn patch(machine: &Metal3Machine, finalizer: Finalizer, changes: Changes) -> Option<Value> {
    let (mut metadata, mut spec) = (Map::new(), Map::new());
    if finalizer == Finalizer::Add {
        let finalizers = Committer::with_finalizer(machine, names::FINALIZER_METAL3_MACHINE);
        metadata.insert("finalizers".into(), json!(finalizers));
    }
    let Changes {
        host,
        provider_id,
        failure_domain,
    } = changes;
    if let Some(host) = host {
        metadata.insert("annotations".into(), json!({names::ANNOTATION_HOST: host}));
    }
    if let Some(provider_id) = provider_id {
        spec.insert("providerID".into(), json!(provider_id));
    }
    if let Some(failure_domain) = failure_domain {
        // Null removes it.
        spec.insert("failureDomain".into(), json!(failure_domain));
    }
    if metadata.is_empty() && spec.is_empty() {
        return None;
    }
    let mut patch = json!({"metadata": metadata});
    if !spec.is_empty() {
        patch["spec"] = Value::Object(spec);
    }
    Some(patch)
}

/// An empty status and none are the same.
fn differs(stored: Option<&Metal3MachineStatus>, wanted: &Metal3MachineStatus) -> bool {
    stored.map_or_else(
        || *wanted != Metal3MachineStatus::default(),
        |stored| stored != wanted,
    )
}

/// One line when the machine is there.
fn report(before: &Metal3Machine, after: &Metal3Machine) {
    let provisioned = |machine: &Metal3Machine| {
        let status = machine.status.as_ref();
        let initialization = status.and_then(|status| status.initialization.as_ref());
        initialization.and_then(|initialization| initialization.provisioned) == Some(true)
    };
    if provisioned(after) && !provisioned(before) {
        let provider_id = after.spec.provider_id.as_deref().unwrap_or_default();
        tracing::info!(machine = %Key::of(after), provider_id, "machine provisioned");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_written() {
        let machine = Metal3Machine::default();
        assert_eq!(patch(&machine, Finalizer::Keep, Changes::default()), None);
        let changes = Changes {
            host: Some("ns/h".into()),
            provider_id: Some("metal3://ns/h/m".into()),
            failure_domain: Some(None),
        };
        let written = patch(&machine, Finalizer::Keep, changes).unwrap();
        assert_eq!(
            written,
            json!({
                "metadata": {"annotations": {"metal3.io/BareMetalHost": "ns/h"}},
                "spec": {"providerID": "metal3://ns/h/m", "failureDomain": null},
            })
        );
    }

    #[test]
    fn our_finalizer_is_added_to_those_of_others() {
        let mut machine = Metal3Machine::default();
        machine.metadata.finalizers = Some(vec!["other".into()]);
        let written = patch(&machine, Finalizer::Add, Changes::default()).unwrap();
        assert_eq!(
            written,
            json!({"metadata": {"finalizers": ["other", names::FINALIZER_METAL3_MACHINE]}})
        );
    }

    #[test]
    fn an_empty_status_is_not_written() {
        assert!(!differs(None, &Metal3MachineStatus::default()));
        assert!(!differs(
            Some(&Metal3MachineStatus::default()),
            &Metal3MachineStatus::default()
        ));
    }
}
