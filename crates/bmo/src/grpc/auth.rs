//! Who calls, and may they, in the words of the HostService.

use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;
use metal3_kit::caller::{self, Deed, bearer};
use metal3_kit::client::brief;
use metal3_rpc::reason::Reason;
use metal3_rpc::{AUDIENCE, AUTHORIZATION_GROUP};
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The verbs of the virtual resource `hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Claim,
    Provision,
    Release,
    Power,
    Health,
    Move,
    Explain,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Claim => "claim",
            Self::Provision => "provision",
            Self::Release => "release",
            Self::Power => "power",
            Self::Health => "health",
            Self::Move => "move",
            Self::Explain => "explain",
        }
    }
}

/// Checks callers against the Kubernetes API.
pub(super) struct Authority(caller::Authority);

impl Authority {
    pub(super) fn new(client: Client) -> Self {
        Self(caller::Authority::new(client, Some(AUDIENCE)))
    }

    /// Lets who is known by now do it, or says why not. An empty namespace means all namespaces.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`; `UNAVAILABLE` when Kubernetes could not be asked.
    pub(super) async fn permit(&self, caller: &UserInfo, verb: Verb, namespace: &str) -> Result<(), Status> {
        let name = caller.username.as_deref().unwrap_or_default();
        let deed = Deed::Resource {
            group: AUTHORIZATION_GROUP,
            resource: "hosts",
            verb: verb.as_str(),
            namespace: namespace.to_owned(),
        };
        let allowed = self.0.may(caller.clone(), deed).await;
        if allowed.map_err(|error| unavailable(&error))? {
            return Ok(());
        }
        let place = if namespace.is_empty() {
            "all namespaces".into()
        } else {
            format!("namespace {namespace}")
        };
        tracing::warn!(user = name, verb = verb.as_str(), %place, "call denied");
        Err(Reason::Forbidden.status(
            format!(
                "{name} may not {} hosts in {place}: grant verb {} on resource hosts of API group {AUTHORIZATION_GROUP} \
                 by a Role or ClusterRole",
                verb.as_str(),
                verb.as_str()
            ),
            [("user", name), ("verb", verb.as_str()), ("namespace", namespace)],
        ))
    }

    /// Who calls.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`; `UNAVAILABLE` when Kubernetes could not be asked.
    pub(super) async fn caller(&self, metadata: &MetadataMap) -> Result<UserInfo, Status> {
        let header = metadata.get("authorization");
        let token = bearer(header.and_then(|value| value.to_str().ok())).ok_or_else(|| {
            Reason::TokenInvalid.status(
                "no token: send a ServiceAccount token as `authorization: Bearer <token>`",
                [],
            )
        })?;
        let user = self.0.user(token).await.map_err(|error| unavailable(&error))?;
        user.ok_or_else(|| {
            Reason::TokenInvalid.status(
                format!(
                    "Kubernetes does not accept the token: it expired, or is not for audience {AUDIENCE}"
                ),
                [],
            )
        })
    }
}

fn unavailable(error: &kube::Error) -> Status {
    tracing::warn!(error = brief(error), "cannot ask Kubernetes about a caller");
    Reason::Backend.status(
        "the Kubernetes API could not be asked about the caller; try again",
        [],
    )
}
