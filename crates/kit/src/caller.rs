//! Who calls, and may they: TokenReview and SubjectAccessReview, both cached.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use ring::digest::{SHA256, digest};

use crate::cache::Cache;

/// Longer than any token of Kubernetes.
const MAX_TOKEN: usize = 8192;

/// How long answers about callers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// A revoked token or role stops working after this long; the API server's own webhook caches use similar times.
    pub allowed: Duration,
    /// A new role works after this long.
    pub denied: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self::up_to(Duration::from_secs(60))
    }
}

impl Keep {
    /// What is allowed for this long, what is denied for some seconds at most.
    pub fn up_to(allowed: Duration) -> Self {
        Self {
            allowed,
            denied: allowed.min(Duration::from_secs(5)),
        }
    }
}

/// A question about a caller, and where its answer came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Review {
    /// `token` or `access`.
    pub review: &'static str,
    /// `cached`, `allowed`, `denied` or `failed`.
    pub result: &'static str,
}

/// How often Kubernetes was asked about callers, and how often it was not necessary.
pub type Reviews = Family<Review, Counter>;

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

/// Asks Kubernetes about callers.
pub struct Authority {
    client: Client,
    audience: Option<&'static str>,
    keep: Keep,
    /// By the digest of the token: no token stays in memory, and one of any length takes the same room.
    users: Cache<[u8; 32], Option<UserInfo>>,
    access: Cache<(String, Deed), bool>,
    reviews: Reviews,
}

impl Authority {
    /// Tokens may be for this audience, and always for the API server, as `kubectl create token` makes them.
    pub fn new(client: Client, audience: Option<&'static str>) -> Self {
        Self {
            client,
            audience,
            keep: Keep::default(),
            users: Cache::default(),
            access: Cache::default(),
            reviews: Reviews::default(),
        }
    }

    /// Keeps answers for another time.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// What it counts, to be registered under a name.
    pub fn reviews(&self) -> Reviews {
        self.reviews.clone()
    }

    /// Whose token it is, if that is known without a question.
    pub fn known(&self, token: &str) -> Option<UserInfo> {
        let user = self.users.known(&key(token)).flatten()?;
        self.count("token", "cached");
        Some(user)
    }

    /// Whose token it is; `None` when Kubernetes does not accept it.
    ///
    /// # Errors
    /// When Kubernetes could not be asked.
    pub async fn user(&self, token: &str) -> Result<Option<UserInfo>, kube::Error> {
        if token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let mut result = "cached";
        let user = self.users.get(key(token), async || {
            result = "failed";
            let user = self.review(token).await?;
            result = if user.is_some() { "allowed" } else { "denied" };
            let time = if user.is_some() {
                self.keep.allowed
            } else {
                self.keep.denied
            };
            Ok((user, time))
        });
        let user = user.await;
        self.count("token", result);
        user
    }

    async fn review(&self, token: &str) -> Result<Option<UserInfo>, kube::Error> {
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
        let review = SubjectAccessReview {
            spec: question(user, &key.1),
            ..Default::default()
        };
        let mut result = "cached";
        let allowed = self.access.get(key, async || {
            result = "failed";
            let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
            let answer = api.create(&PostParams::default(), &review).await?;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            result = if allowed { "allowed" } else { "denied" };
            let time = if allowed {
                self.keep.allowed
            } else {
                self.keep.denied
            };
            Ok((allowed, time))
        });
        let allowed = allowed.await;
        self.count("access", result);
        allowed
    }

    fn count(&self, review: &'static str, result: &'static str) {
        self.reviews.get_or_create(&Review { review, result }).inc();
    }
}

fn key(token: &str) -> [u8; 32] {
    let mut key = [0; 32];
    // Both are as long.
    for (to, from) in key.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()) {
        *to = *from;
    }
    key
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use kube::client::Body;
    use serde_json::json;

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

    type Handle = tower_test::mock::Handle<http::Request<Body>, http::Response<Body>>;

    /// An API server that accepts the token "good" and allows everything; it counts what it is asked.
    async fn serve(mut handle: Handle, asked: Arc<AtomicUsize>) {
        while let Some((request, send)) = handle.next_request().await {
            asked.fetch_add(1, Ordering::Relaxed);
            let body = request.into_body().collect_bytes().await.unwrap();
            let mut review: serde_json::Value = serde_json::from_slice(&body).unwrap();
            review["status"] = match review["spec"]["token"].as_str() {
                Some("good") => json!({"authenticated": true, "user": {"username": "eve"}}),
                Some(_) => json!({"authenticated": false}),
                None => json!({"allowed": true}),
            };
            let body = Body::from(serde_json::to_vec(&review).unwrap());
            send.send_response(http::Response::new(body));
        }
    }

    fn authority(keep: Keep) -> (Authority, Arc<AtomicUsize>) {
        let (service, handle) = tower_test::mock::pair();
        let asked = Arc::new(AtomicUsize::new(0));
        tokio::spawn(serve(handle, Arc::clone(&asked)));
        let authority = Authority::new(Client::new(service, "default"), Some("ours"));
        (authority.keeping(keep), asked)
    }

    fn count(authority: &Authority, review: &'static str, result: &'static str) -> u64 {
        authority.reviews.get_or_create(&Review { review, result }).get()
    }

    #[tokio::test]
    async fn kubernetes_is_asked_once_about_many_calls() {
        let (authority, asked) = authority(Keep::default());
        assert!(authority.known("good").is_none());
        let users = join_all((0..50).map(|_| authority.user("good"))).await;
        assert!(users.into_iter().all(|user| user.unwrap().is_some()));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let user = authority.known("good").unwrap();
        let list = || Deed::Path {
            path: "/a",
            verb: "get",
        };
        let may = join_all((0..50).map(|_| authority.may(user.clone(), list()))).await;
        assert!(may.into_iter().all(Result::unwrap));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        for (review, cached) in [("token", 50), ("access", 49)] {
            assert_eq!(count(&authority, review, "allowed"), 1);
            assert_eq!(count(&authority, review, "cached"), cached, "{review}");
        }
    }

    #[tokio::test]
    async fn a_bad_token_is_asked_about_for_both_audiences_once() {
        let (authority, asked) = authority(Keep::default());
        for _ in 0..3 {
            assert!(authority.user("bad").await.unwrap().is_none());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(authority.known("bad").is_none());
        assert_eq!(count(&authority, "token", "denied"), 1);
        // This one is no token at all.
        assert!(
            authority
                .user(&"a".repeat(MAX_TOKEN + 1))
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_was_allowed_is_asked_about_again_after_its_time() {
        let (authority, asked) = authority(Keep::up_to(Duration::ZERO));
        for _ in 0..2 {
            assert!(authority.user("good").await.unwrap().is_some());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
