//! Who calls, how often, and may they, in the words of the HostService.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;
use metal3_kit::caller::{self, Deed, Reviews, bearer};
use metal3_kit::client::brief;
use metal3_rpc::call::Verb;
use metal3_rpc::reason::Reason;
use metal3_rpc::{AUDIENCE, AUTHORIZATION_GROUP};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::args::GuardArgs;
use super::limits::{Buckets, Hush, Place, Rate, Watchers};

/// Tokens that Kubernetes does not know, from one address: each costs it two reviews.
const STRANGERS: Rate = Rate {
    per_second: 10.0,
    burst: 100.0,
};

/// A denial: who, what, where.
type Denial = (String, Verb, String);

/// Checks callers against the Kubernetes API.
pub(super) struct Authority {
    kube: caller::Authority,
    /// How often open streams are looked at again.
    period: Duration,
    calls: Option<Mutex<Buckets<String>>>,
    strangers: Mutex<Buckets<IpAddr>>,
    watchers: Watchers,
    denials: Mutex<Hush<Denial>>,
}

impl Authority {
    pub(super) fn new(client: Client, args: &GuardArgs) -> Self {
        let keep = args.keep();
        Self {
            kube: caller::Authority::new(client, Some(AUDIENCE)).keeping(keep),
            period: keep.allowed / 2,
            calls: args.rate().map(|rate| Mutex::new(Buckets::new(rate))),
            strangers: Mutex::new(Buckets::new(STRANGERS)),
            watchers: Watchers::new(args.grpc_watch_limit.into()),
            denials: Mutex::default(),
        }
    }

    /// What is counted of questions to Kubernetes.
    pub(super) fn reviews(&self) -> Reviews {
        self.kube.reviews()
    }

    /// How often to look at the caller of an open stream.
    pub(super) const fn period(&self) -> Duration {
        self.period
    }

    /// Who calls, if there is room for one more call.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`; `RESOURCE_EXHAUSTED` when the caller calls too often; `UNAVAILABLE` when Kubernetes could not be
    /// asked.
    pub(super) async fn caller<T>(&self, request: &Request<T>) -> Result<UserInfo, Status> {
        let token = token(request.metadata())?;
        let user = match self.kube.known(token) {
            Some(user) => user,
            None => {
                self.stranger(token, request.remote_addr().map(|peer| peer.ip()))
                    .await?
            }
        };
        let Some(calls) = &self.calls else { return Ok(user) };
        let name = user.username.clone().unwrap_or_default();
        let taken = locked(calls).take(&name, Instant::now());
        match taken {
            Ok(()) => Ok(user),
            Err(wait) => Err(Reason::RateLimited.status_until(
                format!("{name} calls the HostService too often; see --grpc-rate-limit of bmo"),
                [("user", name.as_str())],
                wait,
            )),
        }
    }

    async fn stranger(&self, token: &str, peer: Option<IpAddr>) -> Result<UserInfo, Status> {
        if let Some(peer) = peer
            && let Err(wait) = locked(&self.strangers).look(&peer, Instant::now())
        {
            return Err(Reason::RateLimited.status_until(
                format!("{peer} sends too many tokens that Kubernetes does not accept"),
                [],
                wait,
            ));
        }
        if let Some(user) = self.identify(token).await? {
            return Ok(user);
        }
        if let Some(peer) = peer {
            locked(&self.strangers).take(&peer, Instant::now()).ok();
        }
        Err(Reason::TokenInvalid.status(
            format!("Kubernetes does not accept the token: it expired, or is not for audience {AUDIENCE}"),
            [],
        ))
    }

    async fn identify(&self, token: &str) -> Result<Option<UserInfo>, Status> {
        self.kube.user(token).await.map_err(|error| unavailable(&error))
    }

    /// Whether the token and the rights that a stream was opened with are still good. While Kubernetes cannot be asked they
    /// are: what streams tell comes from there, too.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` or `PERMISSION_DENIED`.
    pub(super) async fn look_again(
        &self,
        token: &str,
        verb: Verb,
        namespaces: &[String],
    ) -> Result<(), Status> {
        let looked = async {
            let Some(user) = self.identify(token).await? else {
                return Err(Reason::TokenInvalid.status(
                    "Kubernetes does not accept the token any more; open the stream again with a new one",
                    [],
                ));
            };
            for namespace in namespaces {
                self.permit(&user, verb, namespace).await?;
            }
            Ok(())
        };
        match looked.await {
            Err(status) if Reason::of(&status) == Some(Reason::Backend) => Ok(()),
            other => other,
        }
    }

    /// A place for one more stream of the caller.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when it has as many as it may.
    pub(super) fn place(&self, caller: &UserInfo) -> Result<Place, Status> {
        let name = caller.username.as_deref().unwrap_or_default();
        self.watchers.enter(name).ok_or_else(|| {
            Reason::TooManyWatches.status_until(
                format!(
                    "{name} has as many watches open as it may: share one; see --grpc-watch-limit of bmo"
                ),
                [("user", name)],
                Duration::from_secs(10),
            )
        })
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
        let allowed = self.kube.may(caller.clone(), deed).await;
        if allowed.map_err(|error| unavailable(&error))? {
            return Ok(());
        }
        let place = if namespace.is_empty() {
            "all namespaces".into()
        } else {
            format!("namespace {namespace}")
        };
        let denial = (name.to_owned(), verb, namespace.to_owned());
        if let Some(kept_back) = locked(&self.denials).say(denial, Instant::now()) {
            tracing::warn!(
                target: "audit",
                user = name,
                verb = verb.as_str(),
                namespace,
                kept_back,
                "call denied; the same is not told again for a minute",
            );
        }
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
}

/// The token that came with a call.
///
/// # Errors
/// `UNAUTHENTICATED` when there is none.
pub(super) fn token(metadata: &MetadataMap) -> Result<&str, Status> {
    let header = metadata.get("authorization");
    bearer(header.and_then(|value| value.to_str().ok())).ok_or_else(|| {
        Reason::TokenInvalid.status(
            "no token: send a ServiceAccount token as `authorization: Bearer <token>`",
            [],
        )
    })
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(error: &kube::Error) -> Status {
    tracing::warn!(error = brief(error), "cannot ask Kubernetes about a caller");
    Reason::Backend.status(
        "the Kubernetes API could not be asked about the caller; try again",
        [],
    )
}
