//! Who calls, and may they: TokenReview and SubjectAccessReview, both cached.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use metal3_kit::client::brief;
use metal3_rpc::reason::Reason;
use metal3_rpc::{AUDIENCE, AUTHORIZATION_GROUP};
use tonic::Status;
use tonic::metadata::MetadataMap;

/// A revoked token or role stops working after this long; the API server's own webhook caches use similar times.
const KEEP_ALLOWED: Duration = Duration::from_secs(60);
/// A new role works after this long.
const KEEP_DENIED: Duration = Duration::from_secs(5);
/// Enough for every caller of a large cluster; beyond it the caches start over.
const MAX_ENTRIES: usize = 10_000;

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

#[derive(Clone, Debug)]
struct Expiring<T> {
    value: T,
    until: Instant,
}

type Cache<K, V> = Mutex<HashMap<K, Expiring<V>>>;

/// Checks callers against the Kubernetes API.
pub(super) struct Authority {
    client: Client,
    /// Tokens stay in memory as they are: they are looked up by themselves and never leave the process.
    users: Cache<String, UserInfo>,
    access: Cache<(String, String, Verb), bool>,
}

impl Authority {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            users: Cache::default(),
            access: Cache::default(),
        }
    }

    /// Lets the call pass, or says why not. An empty namespace means all namespaces.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` or `PERMISSION_DENIED`; `UNAVAILABLE` when Kubernetes could not be asked.
    pub(super) async fn check(
        &self,
        metadata: &MetadataMap,
        verb: Verb,
        namespace: &str,
    ) -> Result<(), Status> {
        let user = self.authenticate(metadata).await?;
        let name = user.username.clone().unwrap_or_default();
        let key = (name.clone(), namespace.to_owned(), verb);
        let allowed = match lookup(&self.access, &key) {
            Some(allowed) => allowed,
            None => {
                let allowed = self.authorise(user, verb, namespace).await?;
                keep(
                    &self.access,
                    key,
                    allowed,
                    if allowed { KEEP_ALLOWED } else { KEEP_DENIED },
                );
                allowed
            }
        };
        if allowed {
            return Ok(());
        }
        let place = if namespace.is_empty() {
            "all namespaces".into()
        } else {
            format!("namespace {namespace}")
        };
        tracing::warn!(user = %name, verb = verb.as_str(), %place, "call denied");
        Err(Reason::Forbidden.status(
            format!(
                "{name} may not {} hosts in {place}: grant verb {} on resource hosts of API group {AUTHORIZATION_GROUP} \
                 by a Role or ClusterRole",
                verb.as_str(),
                verb.as_str()
            ),
            [("user", name.as_str()), ("verb", verb.as_str()), ("namespace", namespace)],
        ))
    }

    async fn authenticate(&self, metadata: &MetadataMap) -> Result<UserInfo, Status> {
        let token = bearer(metadata)?;
        if let Some(user) = lookup(&self.users, token) {
            return Ok(user);
        }
        // A token made for this service first; then one for the API server, which `kubectl create token` makes.
        for audiences in [Some(vec![AUDIENCE.to_owned()]), None] {
            let review = TokenReview {
                spec: TokenReviewSpec {
                    audiences,
                    token: token.to_owned(),
                },
                ..Default::default()
            };
            let api: Api<TokenReview> = Api::all(self.client.clone());
            let answer = api
                .create(&PostParams::default(), &review)
                .await
                .map_err(|error| unavailable(&error))?;
            let status = answer.status.unwrap_or_default();
            if let (Some(true), Some(user)) = (status.authenticated, status.user) {
                keep(&self.users, token.to_owned(), user.clone(), KEEP_ALLOWED);
                return Ok(user);
            }
        }
        Err(Reason::TokenInvalid.status(
            format!("Kubernetes does not accept the token: it expired, or is not for audience {AUDIENCE}"),
            [],
        ))
    }

    async fn authorise(&self, user: UserInfo, verb: Verb, namespace: &str) -> Result<bool, Status> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                groups: user.groups,
                uid: user.uid,
                extra: user
                    .extra
                    .map(|extra| extra.into_iter().collect::<BTreeMap<_, _>>()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(AUTHORIZATION_GROUP.into()),
                    resource: Some("hosts".into()),
                    namespace: Some(namespace.to_owned()),
                    verb: Some(verb.as_str().into()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

fn bearer(metadata: &MetadataMap) -> Result<&str, Status> {
    metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
        .map(|(_, token)| token.trim())
        .ok_or_else(|| {
            Reason::TokenInvalid.status(
                "no token: send a ServiceAccount token as `authorization: Bearer <token>`",
                [],
            )
        })
}

fn unavailable(error: &kube::Error) -> Status {
    tracing::warn!(error = brief(error), "cannot ask Kubernetes about a caller");
    Reason::Backend.status(
        "the Kubernetes API could not be asked about the caller; try again",
        [],
    )
}

fn lookup<K, Q, V>(cache: &Cache<K, V>, key: &Q) -> Option<V>
where
    K: std::borrow::Borrow<Q> + std::hash::Hash + Eq,
    Q: std::hash::Hash + Eq + ?Sized,
    V: Clone,
{
    let cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache
        .get(key)
        .filter(|entry| entry.until > Instant::now())
        .map(|entry| entry.value.clone())
}

fn keep<K: std::hash::Hash + Eq, V>(cache: &Cache<K, V>, key: K, value: V, for_: Duration) {
    let now = Instant::now();
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= MAX_ENTRIES {
        cache.retain(|_, entry| entry.until > now);
    }
    if cache.len() >= MAX_ENTRIES {
        cache.clear();
    }
    cache.insert(
        key,
        Expiring {
            value,
            until: now + for_,
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_counts() {
        for header in ["", "Basic abc", "Bearer", "Bearer  "] {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", header.parse().unwrap());
            assert_eq!(
                Reason::of(&bearer(&metadata).unwrap_err()),
                Some(Reason::TokenInvalid),
                "{header:?}"
            );
        }
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", "bearer abc".parse().unwrap());
        assert_eq!(bearer(&metadata).unwrap(), "abc");
    }

    #[test]
    fn cached_answers_expire() {
        let cache: Cache<String, bool> = Cache::default();
        keep(&cache, "a".to_owned(), true, Duration::from_secs(60));
        keep(&cache, "b".to_owned(), true, Duration::ZERO);
        assert_eq!(lookup(&cache, "a"), Some(true));
        assert_eq!(lookup(&cache, "b"), None);
    }
}
