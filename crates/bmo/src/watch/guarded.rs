//! A host as it arrives.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::core::error_boundary::InvalidObject;
use metal3_api::metal3::host::BareMetalHost;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// As big as the rest of an object, and none of our business.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A host, or what is wrong with it: one that cannot be read must not stop the others.
///
/// Clones share the host. It does what kube's `DeserializeGuard` does, but keeps the text of the object for a second
/// look instead of building, and copying, a tree of everything in it: that was most of the work of a watch.
#[derive(Clone, Debug)]
pub(crate) struct Guarded(pub(crate) Result<Arc<BareMetalHost>, InvalidObject>);

impl<'de> Deserialize<'de> for Guarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str::<BareMetalHost>(text.get()) {
            Ok(mut host) => {
                trim(&mut host.metadata);
                Ok(Self(Ok(Arc::new(host))))
            }
            Err(error) => {
                let PartialObjectMeta { mut metadata, .. } =
                    serde_json::from_str::<PartialObjectMeta<BareMetalHost>>(text.get())
                        .map_err(D::Error::custom)?;
                trim(&mut metadata);
                Ok(Self(Err(InvalidObject {
                    error: error.to_string(),
                    metadata,
                })))
            }
        }
    }
}

/// Drops what nobody here reads. The API server keeps both: it takes missing managed fields for unchanged, and neither
/// is in what we write.
fn trim(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

impl Resource for Guarded {
    type DynamicType = <BareMetalHost as Resource>::DynamicType;
    type Scope = <BareMetalHost as Resource>::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        BareMetalHost::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        BareMetalHost::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        BareMetalHost::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        BareMetalHost::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(host) => &host.metadata,
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(host) => &mut Arc::make_mut(host).metadata,
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use kube::core::WatchEvent;

    use super::*;

    const METADATA: &str = r#"{"name": "a", "namespace": "ns", "managedFields": [{"manager": "kubectl"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": ""}}"#;

    fn seen(spec: &str) -> Guarded {
        // As the API server writes a line of a watch.
        let line = format!(r#"{{"type": "ADDED", "object": {{"metadata": {METADATA}, "spec": {spec}}}}}"#);
        match serde_json::from_str(&line).unwrap() {
            WatchEvent::Added(host) => host,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_host_comes_without_what_nobody_reads() {
        let host = seen(r#"{"online": true}"#).0.unwrap();
        assert!(host.spec.online && host.metadata.managed_fields.is_none());
        assert_eq!(host.annotations().keys().collect::<Vec<_>>(), ["mine"]);
    }

    #[test]
    fn a_host_that_cannot_be_read_still_has_a_name_and_a_reason() {
        let host = seen(r#"{"online": "perhaps"}"#);
        assert_eq!(
            (host.name_any().as_str(), host.namespace().as_deref()),
            ("a", Some("ns"))
        );
        assert!(host.0.unwrap_err().error.contains("perhaps"));
    }
}
