//! What a mutation writes to the BareMetalHost: pure functions from a host and a request to a JSON merge patch, to nothing,
//! or to a refusal.
//!
//! The written fields are those that upstream's provider writes (image, references, `online`, `consumerRef`, labels,
//! annotations), so that `kubectl`, `clusterctl` and other tools see the same objects. A decision on what it wrote itself
//! is to write nothing: `twice.rs` holds all of them to that.

mod claim;
mod health;
mod moving;
mod power;
mod provision;
mod release;
mod reservation;
#[cfg(test)]
mod twice;

use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_provisioner::HostKey;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::{Consumer, Host};
use serde_json::{Map, Value, json};
use tonic::Status;

pub(super) use claim::{claim, is_used, record, retract};
pub(super) use health::mark;
pub(super) use moving::{prepare, resume};
pub(super) use power::{held_since, hold, hold_manager, unhold};
pub(super) use provision::{provision, set_cleaning_mode};
pub(super) use release::{Release, release};
pub(super) use reservation::{Scope, free, in_scope, is_over};

use super::project::project;

/// A host to decide on.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// As it is told.
    pub(super) host: Host,
    /// As it is.
    pub(super) object: BareMetalHost,
}

impl Seen {
    pub(super) fn of(object: BareMetalHost) -> Self {
        Self {
            host: project(&object),
            object,
        }
    }

    /// Where it is.
    pub(super) fn key(&self) -> HostKey {
        let metadata = &self.object.metadata;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        HostKey::new(part(&metadata.namespace), part(&metadata.name))
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        let annotations = self.object.metadata.annotations.as_ref()?;
        annotations.get(name).map(String::as_str)
    }

    /// Came by `clusterctl move`, and the operator has not taken over its status yet: what it runs is known from an
    /// annotation alone.
    pub(super) fn arriving(&self) -> bool {
        let status = self.object.status.as_ref();
        let began = status.is_some_and(|status| status.last_updated.is_some());
        !began && self.annotation(names::ANNOTATION_STATUS).is_some()
    }
}

/// Refuses what is of no use to a host that goes.
fn stays(host: &Host) -> Result<(), Status> {
    if !host.deleting {
        return Ok(());
    }
    let title = title(host);
    Err(Reason::HostDeleting.status(
        format!("host {title} is being deleted: release it and claim another"),
        [("host", title.as_str())],
    ))
}

/// A patch of annotations alone; `None` when there are none.
fn annotate(annotations: Map<String, Value>) -> Option<Value> {
    if annotations.is_empty() {
        return None;
    }
    Some(json!({"metadata": {"annotations": Value::Object(annotations)}}))
}

fn reference(consumer: &Consumer) -> Value {
    json!({
        "apiVersion": consumer.api_version,
        "kind": consumer.kind,
        "namespace": consumer.namespace,
        "name": consumer.name,
    })
}

/// `namespace/name` of a host.
pub(super) fn title(host: &Host) -> String {
    host.r#ref
        .as_ref()
        .map(|host| format!("{}/{}", host.namespace, host.name))
        .unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host of namespace `ns` with what is given; it is available.
    pub(in super::super) fn seen(given: &Value) -> Seen {
        let mut object = json!({
            "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "metadata": {"namespace": "ns", "name": "a", "uid": "u", "resourceVersion": "1", "generation": 1},
            "spec": {"online": true, "automatedCleaningMode": "metadata"},
            "status": {
                "operationalStatus": "OK", "errorMessage": "", "errorCount": 0, "provisioningFailCount": 0,
                "poweredOn": true, "lastUpdated": "2026-01-01T00:00:00Z",
                "provisioning": {"state": "available", "ID": "i"},
            },
        });
        json_patch::merge(&mut object, given);
        Seen::of(serde_json::from_value(object).unwrap())
    }

    pub(in super::super) fn consumer() -> Consumer {
        Consumer {
            api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
            kind: "Metal3Machine".into(),
            namespace: "ns".into(),
            name: "m".into(),
            uid: "u".into(),
        }
    }

    /// What the host is after the patch.
    pub(in super::super) fn after(seen: &Seen, patch: &Value) -> Seen {
        let mut object = serde_json::to_value(&seen.object).unwrap();
        json_patch::merge(&mut object, patch);
        Seen::of(serde_json::from_value(object).unwrap())
    }
}
