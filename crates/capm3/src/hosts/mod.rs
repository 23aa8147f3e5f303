//! The HostService, the only way to a host.
//!
//! `translate.rs` turns the core's words into those of the contract and back; `watch.rs` follows the hosts and `track.rs`
//! says who is to be woken; `freed.rs` knows what a replica must know that finds no host, `view.rs` the hosts themselves;
//! `link.rs` knows whether anybody answers; `observe.rs` counts.

pub(crate) mod args;
mod care;
mod freed;
mod link;
mod observe;
mod track;
mod translate;
mod view;
mod watch;

use std::pin::Pin;
use std::time::Instant;

use metal3_api::names;
use metal3_capm3_core::host::{Consumer, HostKey, HostSummary};
use metal3_capm3_core::machine::{Answer, Claimed, Provisioned, Released, Trouble};
use metal3_capm3_core::machine::{ClaimRequest, ProvisionSpec, Reservation, Reservations};
use metal3_rpc::client::{HostClient, describe};
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::claim_host_response::Reason as Why;
use metal3_rpc::v1::release_host_request::PowerPolicy;
use metal3_rpc::v1::release_host_response::Phase;
use metal3_rpc::v1::{self, HostRef};
use tonic::{Code, Status};

pub(crate) use args::HostServiceArgs;
use freed::Freed;
pub(crate) use link::Link;
pub(crate) use observe::Counting;
pub(crate) use view::HostView;
pub(crate) use watch::follow;

use crate::commit::Failure;
use crate::objects::Key;

/// Hosts in one answer; a consumer has one host, seldom two.
const PAGE: i32 = 100;

/// Performs what the core asks of the host service.
#[derive(Clone)]
pub(crate) struct Hosts {
    pub(crate) client: HostClient,
    pub(crate) link: Link,
    freed: Freed,
    pub(crate) view: HostView,
}

impl Hosts {
    pub(crate) fn new(client: HostClient, link: Link) -> Self {
        Self {
            client,
            link,
            freed: Freed::default(),
            view: HostView::default(),
        }
    }

    pub(crate) async fn claim(&self, request: ClaimRequest) -> Result<Answer, Failure> {
        // Another replica may answer than the one that told of free hosts.
        let seen = self.freed.newest(&request.consumer.namespace, Instant::now());
        let request = translate::claim(request, seen);
        self.answer(Box::pin(async {
            match self.client.claim_host(request).await {
                Ok(response) => {
                    let reused = response.reason() == Why::Reused;
                    let host = Box::new(self.summary(response.host)?);
                    Ok(Answer::Claim(if reused {
                        Claimed::Reused(host)
                    } else {
                        Claimed::Host(host)
                    }))
                }
                Err(status) => match translate::unclaimed(&status) {
                    Some(claimed) => Ok(Answer::Claim(claimed)),
                    None => Err(status),
                },
            }
        }))
        .await
    }

    /// Whether an answer that there is no host stays true until the stream tells otherwise: it is there, and no host came so
    /// lately that whoever answered may not know of it.
    pub(crate) fn tells_all(&self, namespace: &str) -> bool {
        self.link.is_up() && self.freed.newest(namespace, Instant::now()).is_none()
    }

    /// The host of a machine. It is asked for only when the stream does not tell.
    pub(crate) async fn get(&self, host: HostKey, machine: &Key) -> Result<Answer, Failure> {
        let told = self.view.used_by(&host, machine);
        if let Some(told) = told.filter(|_| self.link.is_up()) {
            return Ok(Answer::Host(Some(Box::new(told))));
        }
        let request = v1::GetHostRequest {
            host: Some(reference(host)),
        };
        self.answer(Box::pin(async {
            match self.client.get_host(request).await {
                Ok(response) => Ok(Answer::Host(Some(Box::new(self.summary(response.host)?)))),
                Err(status) if status.code() == Code::NotFound => Ok(Answer::Host(None)),
                Err(status) => Err(status),
            }
        }))
        .await
    }

    pub(crate) async fn provision(
        &self,
        host: HostKey,
        consumer: &Consumer,
        spec: ProvisionSpec,
    ) -> Result<Answer, Failure> {
        let request = v1::ProvisionHostRequest {
            host: Some(reference(host)),
            consumer: Some(translate::consumer(consumer, "")),
            spec: Some(translate::provision_spec(spec)),
            // The call fails by itself when the host belongs to somebody else or runs something else.
            expected_generation: 0,
        };
        self.answer(Box::pin(async {
            let answer = match self.client.provision_host(request).await {
                Ok(response) => Provisioned::Accepted(Box::new(self.summary(response.host)?)),
                Err(status) => match Reason::of(&status) {
                    Some(Reason::HostNotFound | Reason::HostDeleting) => Provisioned::Missing,
                    Some(Reason::ForeignConsumer) => Provisioned::Foreign(status.message().to_owned()),
                    Some(Reason::AlreadyProvisionedDifferently) => {
                        Provisioned::Different(status.message().to_owned())
                    }
                    _ => return Err(status),
                },
            };
            Ok(Answer::Provision(answer))
        }))
        .await
    }

    pub(crate) async fn release(
        &self,
        host: HostKey,
        consumer: &Consumer,
        cluster_name: String,
        fast_track: bool,
        reservation: Option<Reservation>,
    ) -> Result<Answer, Failure> {
        let power_policy = if fast_track {
            PowerPolicy::FastTrack
        } else {
            PowerPolicy::PowerOff
        };
        let request = v1::ReleaseHostRequest {
            host: Some(reference(host.clone())),
            consumer: Some(translate::consumer(consumer, "")),
            cluster_name,
            power_policy: power_policy.into(),
            reservation: reservation.map(translate::reservation),
        };
        self.answer(Box::pin(async {
            let released = match self.client.release_host(request).await {
                Ok(response) => match response.phase() {
                    Phase::Released => Released::Done,
                    Phase::WaitingPowerOff => Released::Waiting("it is powering off".into()),
                    Phase::Deprovisioning if paused_for_move(response.host.as_ref()) => {
                        Released::PausedForMove
                    }
                    Phase::Deprovisioning | Phase::Unspecified => {
                        Released::Waiting(translate::progress(response.host))
                    }
                },
                Err(status) if status.code() == Code::NotFound => Released::Done,
                Err(status) => return Err(status),
            };
            Ok(Answer::Release(host, released))
        }))
        .await
    }

    /// Changes the cleaning mode of a host. A host that is gone or somebody else's is found out by the next look at it.
    pub(crate) async fn cleaning(
        &self,
        host: HostKey,
        consumer: &Consumer,
        mode: &str,
    ) -> Result<Answer, Failure> {
        let request = v1::SetCleaningModeRequest {
            host: Some(reference(host)),
            consumer: Some(translate::consumer(consumer, "")),
            mode: translate::cleaning_mode(mode).into(),
        };
        self.answer(Box::pin(async {
            match self.client.set_cleaning_mode(request).await {
                Ok(response) => {
                    self.summary(response.host)?;
                    Ok(Answer::Cleaning)
                }
                Err(status) if is_not_ours(&status) => Ok(Answer::Cleaning),
                Err(status) => Err(status),
            }
        }))
        .await
    }

    /// Pauses a host until it was moved. One that is gone or somebody else's is none of the machine's to be moved.
    pub(crate) async fn prepare_move(&self, host: HostKey, consumer: &Consumer) -> Result<Answer, Failure> {
        let request = v1::PrepareMoveRequest {
            host: Some(reference(host.clone())),
            consumer: Some(translate::consumer(consumer, "")),
            token: names::PAUSED_BY_CAPM3.to_owned(),
        };
        self.answer(Box::pin(async {
            match self.client.prepare_move(request).await {
                Ok(response) => {
                    self.summary(response.host)?;
                    Ok(Answer::MovePrepared(host))
                }
                Err(status) if is_not_ours(&status) => Ok(Answer::MovePrepared(host)),
                Err(status) => Err(status),
            }
        }))
        .await
    }

    /// Ends that pause. A host that is gone or somebody else's is found out by the next look at it.
    pub(crate) async fn resume_after_move(
        &self,
        host: HostKey,
        consumer: &Consumer,
        cluster_name: String,
    ) -> Result<Answer, Failure> {
        let request = v1::ResumeAfterMoveRequest {
            host: Some(reference(host.clone())),
            consumer: Some(translate::consumer(consumer, "")),
            cluster_name,
            token: names::PAUSED_BY_CAPM3.to_owned(),
        };
        self.answer(Box::pin(async {
            let refused = match self.client.resume_after_move(request).await {
                Ok(response) => {
                    self.summary(response.host)?;
                    None
                }
                Err(status) if is_not_ours(&status) => None,
                Err(status) if Reason::of(&status) == Some(Reason::ForeignCluster) => {
                    Some(status.message().to_owned())
                }
                Err(status) => return Err(status),
            };
            Ok(Answer::Resumed(host, refused))
        }))
        .await
    }

    /// Frees hosts that are kept for machines that will not come.
    pub(crate) async fn end_reservations(
        &self,
        reservations: Reservations,
    ) -> Result<Result<(), Trouble>, Failure> {
        let request = translate::reservations(reservations);
        self.answer(Box::pin(async {
            self.client.release_reservations(request).await?;
            Ok(Ok(()))
        }))
        .await
    }

    /// All hosts of a consumer in its own namespace.
    pub(crate) async fn held(&self, consumer: &Consumer) -> Result<Answer, Failure> {
        self.answer(Box::pin(async {
            let mut held = Vec::new();
            let mut page_token = String::new();
            loop {
                let request = v1::ListHostsRequest {
                    namespace: consumer.namespace.clone(),
                    consumer: Some(translate::consumer(consumer, "")),
                    page_size: PAGE,
                    page_token,
                    ..v1::ListHostsRequest::default()
                };
                let response = self.client.list_hosts(request).await?;
                held.extend(response.hosts.into_iter().filter_map(|host| {
                    let reference = host.r#ref?;
                    Some(HostKey {
                        namespace: reference.namespace,
                        name: reference.name,
                    })
                }));
                if response.next_page_token.is_empty() {
                    return Ok(Answer::Held(held));
                }
                page_token = response.next_page_token;
            }
        }))
        .await
    }

    /// A host that was answered; the stream may not have told it yet.
    fn summary(&self, host: Option<v1::Host>) -> Result<HostSummary, Status> {
        let revision = host.as_ref().and_then(|host| host.revision.parse().ok());
        let summary = host
            .and_then(translate::summary)
            .ok_or_else(|| Status::internal("the host service answered without a host"))?;
        self.view.answered(&summary, revision.unwrap_or_default());
        Ok(summary)
    }

    /// Turns what is not the host's fault into trouble. While the stream cannot even be opened,
    /// nothing is asked: thousands of machines that each wait for a dead address would hold up all others.
    async fn answer<A: care::Told>(
        &self,
        call: Pin<Box<dyn Future<Output = Result<A, Status>> + Send + '_>>,
    ) -> Result<A, Failure> {
        if let Some(message) = self.link.down() {
            return Ok(A::trouble(Trouble::Unavailable(message)));
        }
        let answered = call
            .await
            .map_err(|status| (status.code(), translate::trouble(&status), status));
        match answered {
            Ok(answer) => {
                self.link.answered();
                Ok(answer)
            }
            Err((Code::Aborted, _, status)) => Err(Failure::Contended(status.message().to_owned())),
            Err((_, Trouble::Unavailable(_), status)) => {
                let told = self.link.unanswered(&describe(&status));
                Ok(A::trouble(Trouble::Unavailable(told)))
            }
            Err((_, trouble, _)) => Ok(A::trouble(trouble)),
        }
    }
}

/// The machine has no such host, or no longer.
fn is_not_ours(status: &Status) -> bool {
    matches!(
        Reason::of(status),
        Some(Reason::HostNotFound | Reason::HostDeleting | Reason::ForeignConsumer)
    )
}

fn paused_for_move(host: Option<&v1::Host>) -> bool {
    host.is_some_and(|host| host.paused_by.as_deref() == Some(names::PAUSED_BY_CAPM3))
}

fn reference(host: HostKey) -> HostRef {
    HostRef::named(host.namespace, host.name)
}
