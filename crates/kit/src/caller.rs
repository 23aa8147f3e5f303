//! Who calls, and may they: TokenReview and SubjectAccessReview, both cached.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

/// A revoked token or role stops working after this long; the API server's own webhook caches use similar times.
const KEEP_ALLOWED: Duration = Duration::from_secs(60);
/// A new role works after this long.
const KEEP_DENIED: Duration = Duration::from_secs(5);
/// Enough for every caller of a large cluster; beyond it the caches start over.
const MAX_ENTRIES: usize = 10_000;

/// What a caller wants to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Something with resources; an empty namespace means all namespaces.
    Resource {
        /// API group.
        group: &'static str,
        /// Plural.
        resource: &'static str,
        /// For example `list`.
        verb: &'static str,
        /// Where.
        namespace: String,
    },
    /// A request to a path.
    Path {
        /// For example `/metrics`.
        path: &'static str,
        /// For example `get`.
        verb: &'static str,
    },
}

#[derive(Clone, Debug)]
struct Expiring<T> {
    value: T,
    until: Instant,
}

type Cache<K, V> = Mutex<HashMap<K, Expiring<V>>>;

/// Asks Kubernetes about callers.
pub struct Authority {
    client: Client,
    audience: Option<&'static str>,
    /// Tokens stay in memory as they are: they are looked up by themselves and never leave the process.
    users: Cache<String, UserInfo>,
    access: Cache<(String, Deed), bool>,
}

impl Authority {
    /// Tokens may be for this audience, and always for the API server, as `kubectl create token` makes them.
    pub fn new(client: Client, audience: Option<&'static str>) -> Self {
        Self {
            client,
            audience,
            users: Cache::default(),
            access: Cache::default(),
        }
    }

    /// Whose token it is; `None` when Kubernetes does not accept it.
    ///
    /// # Errors
    /// When Kubernetes could not be asked.
    pub async fn user(&self, token: &str) -> Result<Option<UserInfo>, kube::Error> {
        if let Some(user) = lookup(&self.users, token) {
            return Ok(Some(user));
        }
        let own = self.audience.map(|audience| Some(vec![audience.to_owned()]));
        for audiences in own.into_iter().chain([None]) {
            let review = TokenReview {
                spec: TokenReviewSpec {
                    audiences,
                    token: token.to_owned(),
                },
                ..Default::default()
            };
            let api: Api<TokenReview> = Api::all(self.client.clone());
            let answer = api.create(&PostParams::default(), &review).await?;
            let status = answer.status.unwrap_or_default();
            if let (Some(true), Some(user)) = (status.authenticated, status.user) {
                keep(&self.users, token.to_owned(), user.clone(), KEEP_ALLOWED);
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    /// Whether the user may do it.
    ///
    /// # Errors
    /// When Kubernetes could not be asked.
    pub async fn may(&self, user: UserInfo, deed: Deed) -> Result<bool, kube::Error> {
        let key = (user.username.clone().unwrap_or_default(), deed);
        if let Some(allowed) = lookup(&self.access, &key) {
            return Ok(allowed);
        }
        let review = SubjectAccessReview {
            spec: question(user, &key.1),
            ..Default::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let time = if allowed { KEEP_ALLOWED } else { KEEP_DENIED };
        keep(&self.access, key, allowed, time);
        Ok(allowed)
    }
}

fn question(user: UserInfo, deed: &Deed) -> SubjectAccessReviewSpec {
    let spec = SubjectAccessReviewSpec {
        user: user.username,
        groups: user.groups,
        uid: user.uid,
        extra: user
            .extra
            .map(|extra| extra.into_iter().collect::<BTreeMap<_, _>>()),
        ..Default::default()
    };
    match deed {
        Deed::Resource {
            group,
            resource,
            verb,
            namespace,
        } => SubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some((*group).to_owned()),
                resource: Some((*resource).to_owned()),
                namespace: Some(namespace.clone()),
                verb: Some((*verb).to_owned()),
                ..Default::default()
            }),
            ..spec
        },
        Deed::Path { path, verb } => SubjectAccessReviewSpec {
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some((*path).to_owned()),
                verb: Some((*verb).to_owned()),
            }),
            ..spec
        },
    }
}

/// The token in an `authorization` header.
pub fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn lookup<K, Q, V>(cache: &Cache<K, V>, key: &Q) -> Option<V>
where
    K: Borrow<Q> + Hash + Eq,
    Q: Hash + Eq + ?Sized,
    V: Clone,
{
    let cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache
        .get(key)
        .filter(|entry| entry.until > Instant::now())
        .map(|entry| entry.value.clone())
}

fn keep<K: Hash + Eq, V>(cache: &Cache<K, V>, key: K, value: V, for_: Duration) {
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
        for header in [
            None,
            Some(""),
            Some("Basic abc"),
            Some("Bearer"),
            Some("Bearer  "),
        ] {
            assert_eq!(bearer(header), None, "{header:?}");
        }
        assert_eq!(bearer(Some("bearer abc")), Some("abc"));
    }

    #[test]
    fn cached_answers_expire() {
        let cache: Cache<String, bool> = Cache::default();
        keep(&cache, "a".to_owned(), true, Duration::from_secs(60));
        keep(&cache, "b".to_owned(), true, Duration::ZERO);
        assert_eq!(lookup(&cache, "a"), Some(true));
        assert_eq!(lookup(&cache, "b"), None);
    }

    #[test]
    fn a_path_is_no_resource() {
        let deed = Deed::Path {
            path: "/metrics",
            verb: "get",
        };
        let asked = question(UserInfo::default(), &deed);
        assert_eq!(asked.resource_attributes, None);
        let attributes = asked.non_resource_attributes.unwrap();
        assert_eq!(
            (attributes.path.as_deref(), attributes.verb.as_deref()),
            (Some("/metrics"), Some("get"))
        );
    }
}
