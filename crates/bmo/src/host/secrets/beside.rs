//! The only way to a Secret: from an object, and in its namespace.

use k8s_openapi::api::core::v1::{Secret, SecretReference};
use kube::api::{ListParams, Patch, PatchParams, VersionMatch};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt as _};
use metal3_provisioner::HostKey;
use serde_json::Value;

/// The Secrets beside an object. It is made from the object itself, so that no Secret of another namespace can be named.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    api: Api<Secret>,
    namespace: String,
    /// The object, for messages.
    object: String,
}

impl Beside {
    pub(crate) fn of<K>(client: &Client, object: &K) -> Self
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let namespace = object.namespace().unwrap_or_default();
        Self {
            api: Api::namespaced(client.clone(), &namespace),
            object: format!("{namespace}/{}", object.name_any()),
            namespace,
        }
    }

    pub(crate) fn key(&self, name: &str) -> HostKey {
        HostKey::new(&self.namespace, name)
    }

    /// The name that a field of the object refers to.
    ///
    /// # Errors
    /// When it refers to another namespace.
    pub(super) fn named<'a>(
        &self,
        field: &str,
        reference: Option<&'a SecretReference>,
    ) -> Result<Option<&'a str>, String> {
        let Some(reference) = reference else {
            return Ok(None);
        };
        let foreign = reference.namespace.as_deref().unwrap_or_default();
        if !foreign.is_empty() && foreign != self.namespace {
            return Err(format!(
                "{field} secret must be in same namespace as host {}",
                self.object
            ));
        }
        Ok(reference.name.as_deref().filter(|name| !name.is_empty()))
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Secret>, kube::Error> {
        self.api.get_opt(name).await
    }

    pub(crate) async fn metadata(
        &self,
        name: &str,
    ) -> Result<Option<PartialObjectMeta<Secret>>, kube::Error> {
        self.api.get_metadata_opt(name).await
    }

    pub(super) async fn patch(&self, name: &str, patch: &Value) -> Result<Secret, kube::Error> {
        self.api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }

    /// Changes metadata; the content does not come back.
    pub(crate) async fn patch_metadata(
        &self,
        name: &str,
        patch: &Value,
    ) -> Result<PartialObjectMeta<Secret>, kube::Error> {
        self.api
            .patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }

    /// The Secret as it was before this version, as long as the API server remembers: some minutes.
    pub(super) async fn before(&self, name: &str, version: u64) -> Result<Option<Secret>, kube::Error> {
        let then = ListParams::default()
            .fields(&format!("metadata.name={name}"))
            .at(&version.saturating_sub(1).to_string())
            .matching(VersionMatch::Exact);
        Ok(self.api.list(&then).await?.items.into_iter().next())
    }
}

#[cfg(test)]
mod tests {
    use metal3_api::metal3::host::BareMetalHost;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn another_namespace_cannot_be_named() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(
                kube::client::Body::empty(),
            )))
        });
        let host: BareMetalHost = serde_json::from_value(
            json!({"metadata": {"name": "a", "namespace": "metal3"}, "spec": {"online": true}}),
        )
        .unwrap();
        let beside = Beside::of(&Client::new(service, "default"), &host);
        let named = |namespace: Option<&str>, name: Option<&str>| {
            let reference = SecretReference {
                name: name.map(str::to_owned),
                namespace: namespace.map(str::to_owned),
            };
            beside
                .named("userData", Some(&reference))
                .map(|name| name.map(str::to_owned))
        };
        assert_eq!(named(None, Some("s")), Ok(Some("s".into())));
        assert_eq!(named(Some(""), Some("s")), Ok(Some("s".into())));
        assert_eq!(named(Some("metal3"), Some("s")), Ok(Some("s".into())));
        assert_eq!(named(Some("metal3"), Some("")), Ok(None));
        assert_eq!(
            named(Some("kube-system"), Some("s")),
            Err("userData secret must be in same namespace as host metal3/a".into())
        );
        assert_eq!(beside.named("userData", None), Ok(None));
    }
}
