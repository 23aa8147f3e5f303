//! Writing a verdict: finalizer and annotations, status, events; the finalizer goes last. Each step can be repeated.

use metal3_api::infra::v1beta2::Metal3Remediation;
use metal3_capm3_core::machine::Finalizer;
use metal3_capm3_core::remediation::{FINALIZER, Verdict};
use serde_json::{Map, Value, json};

use crate::commit::{Committer, Failure};

/// Writes a verdict.
///
/// # Errors
/// A conflict means that the object changed since it was read; the next pass decides anew.
pub(super) async fn commit(
    committer: &Committer<Metal3Remediation>,
    remediation: &Metal3Remediation,
    verdict: Verdict,
) -> Result<(), Failure> {
    let mut current = remediation.clone();
    if let Some(patch) = patch(remediation, &verdict) {
        current = committer.patch(&current, patch).await?;
    }
    let Verdict {
        finalizer,
        annotations: _,
        status,
        events,
        waiting: _,
        requeue: _,
    } = verdict;
    if finalizer != Finalizer::Drop && remediation.status.clone().unwrap_or_default() != status {
        current.status = Some(status);
        current = committer.status(&current).await?;
    }
    committer.publish(remediation, &events).await;
    if finalizer == Finalizer::Drop {
        committer.drop_finalizer(&current, FINALIZER).await?;
    }
    Ok(())
}

/// What to merge into metadata, if anything.
fn patch(remediation: &Metal3Remediation, verdict: &Verdict) -> Option<Value> {
    let mut metadata = Map::new();
    if verdict.finalizer == Finalizer::Add {
        let finalizers = Committer::with_finalizer(remediation, FINALIZER);
        metadata.insert("finalizers".into(), json!(finalizers));
    }
    if !verdict.annotations.is_empty() {
        // Null removes one.
        metadata.insert("annotations".into(), json!(verdict.annotations));
    }
    (!metadata.is_empty()).then(|| json!({"metadata": metadata}))
}
