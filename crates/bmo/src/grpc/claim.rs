//! ClaimHost: the choice of a host and the write that reserves it.

use std::sync::{Arc, PoisonError, Weak};

use metal3_rpc::reason;
use metal3_rpc::v1;
use metal3_rpc::v1::Consumer;
use metal3_rpc::v1::claim_host_response::Reason as ClaimReason;
use tonic::Status;

use super::allocate::{self, Choice};
use super::calls::WRITE_ATTEMPTS;
use super::intent;
use super::request::{conflict, consumer, wish};
use super::service::Service;

impl Service {
    fn claim_lock(&self, consumer: &Consumer) -> Arc<tokio::sync::Mutex<()>> {
        let key = format!(
            "{}/{}/{}/{}",
            consumer.group(),
            consumer.kind,
            consumer.namespace,
            consumer.name
        );
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = claims.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        claims.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        claims.insert(key, Arc::downgrade(&lock));
        lock
    }

    pub(super) async fn claim(&self, request: v1::ClaimHostRequest) -> Result<v1::ClaimHostResponse, Status> {
        let consumer = consumer(request.consumer.as_ref())?;
        let wish = wish(&request, consumer)?;
        let lock = self.claim_lock(consumer);
        let _one_at_a_time = lock.lock().await;
        for _ in 0..WRITE_ATTEMPTS {
            let (hosts, _) = self.index.list(&request.namespace);
            let (candidates, reason) = match allocate::choose(&wish, hosts.iter()) {
                Choice::Existing(host) => (vec![host], ClaimReason::Existing),
                Choice::Candidates(hosts, reason) => (hosts, reason),
                Choice::None(rejections) => {
                    let message = allocate::explain(&request.namespace, &rejections);
                    return Err(reason::no_host_available(message, &rejections));
                }
            };
            // The best candidate only: after a conflict the index knows more, so the choice is made again.
            let Some(host) = candidates.first() else { continue };
            let patch = intent::claim(host, &request, consumer)?;
            if let Some(host) = self.store.write(host, patch).await? {
                // Before anything else: the host's controller goes on at once, and tells of it.
                tracing::info!(host = %intent::title(&host), consumer = %consumer.name, ?reason, "host claimed");
                if reason != ClaimReason::Existing {
                    self.store.tell(&host, consumer, "Claimed", "claimed").await;
                }
                self.store.label_credentials(&host, &request.cluster_name).await?;
                let failure_domain = host.failure_domain.clone();
                return Ok(v1::ClaimHostResponse {
                    host: Some(host),
                    reason: reason.into(),
                    failure_domain,
                });
            }
        }
        Err(conflict(&format!("hosts of namespace {}", request.namespace)))
    }
}
