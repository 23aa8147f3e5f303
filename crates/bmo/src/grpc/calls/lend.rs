//! What a consumer does with its host until it has given it back.

use metal3_rpc::v1;
use metal3_rpc::v1::CleaningMode;
use metal3_rpc::v1::provision_host_response::Result as ProvisionResult;
use metal3_rpc::v1::release_host_request::Reservation;
use metal3_rpc::v1::release_host_response::Phase;
use tonic::Status;

use super::super::intent::{self, Release, Seen};
use super::super::request::{conflict, consumer, host_key, invalid, missing};
use super::super::service::Service;
use super::{Change, WRITE_ATTEMPTS};

impl Service {
    pub(in super::super) async fn provision(
        &self,
        request: v1::ProvisionHostRequest,
    ) -> Result<v1::ProvisionHostResponse, Status> {
        let spec = request.spec.as_ref().ok_or_else(|| missing("spec"))?;
        let change = Change {
            host: request.host.as_ref(),
            consumer: request.consumer.as_ref(),
            deed: "provisioning requested",
            manager: None,
        };
        let expected = request.expected_generation;
        let (seen, wrote) = self
            .change(change, |seen| {
                let patch = intent::provision(seen, spec)?;
                // What was written by the first of two calls is a generation that the second one does not know.
                if patch.is_some() && expected != 0 && expected != seen.host.generation {
                    return Err(conflict(&format!("host {}", intent::title(&seen.host))));
                }
                Ok(patch)
            })
            .await?;
        let result = if wrote {
            ProvisionResult::Accepted
        } else {
            ProvisionResult::Unchanged
        };
        Ok(v1::ProvisionHostResponse {
            result: result.into(),
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn set_cleaning_mode(
        &self,
        request: v1::SetCleaningModeRequest,
    ) -> Result<v1::SetCleaningModeResponse, Status> {
        let mode = request.mode();
        if mode == CleaningMode::Unspecified {
            return Err(missing("mode"));
        }
        let change = Change {
            host: request.host.as_ref(),
            consumer: request.consumer.as_ref(),
            deed: "cleaning mode changed",
            manager: None,
        };
        let decide = |seen: &Seen| Ok(intent::set_cleaning_mode(seen, mode));
        let (seen, _) = self.change(change, decide).await?;
        Ok(v1::SetCleaningModeResponse {
            host: Some(seen.host),
        })
    }

    pub(in super::super) async fn release(
        &self,
        request: v1::ReleaseHostRequest,
    ) -> Result<v1::ReleaseHostResponse, Status> {
        let consumer = consumer(request.consumer.as_ref())?;
        let key = host_key(request.host.as_ref())?;
        check_reservation(request.reservation.as_ref(), &key.namespace)?;
        let answer = |phase: Phase, host| v1::ReleaseHostResponse {
            phase: phase.into(),
            host,
        };
        for _ in 0..WRITE_ATTEMPTS {
            let Some(seen) = self.store.read(&key, request.host.as_ref()).await? else {
                return Ok(answer(Phase::Released, None));
            };
            match intent::release(&seen, &request, consumer) {
                Release::Released => return Ok(answer(Phase::Released, Some(seen.host))),
                Release::Wait(phase) => return Ok(answer(phase, Some(seen.host))),
                Release::Start(patch) => {
                    if self.store.write(&seen.host, patch).await?.is_some() {
                        tracing::info!(host = %key, consumer = %consumer.name, "release requested");
                        // It may be free at once when nothing ran on it: look again.
                    }
                }
                Release::Finish(patch) => {
                    self.store
                        .unlabel_credentials(&seen, &request.cluster_name)
                        .await?;
                    if let Some(free) = self.store.write(&seen.host, patch).await? {
                        tracing::info!(host = %key, consumer = %consumer.name, "host released");
                        self.store.tell(&free.host, consumer, "Released", "released");
                        return Ok(answer(Phase::Released, Some(free.host)));
                    }
                }
            }
        }
        Err(conflict(&format!("host {key}")))
    }
}

/// A reservation that says too little would be none, and the host somebody else's.
fn check_reservation(reservation: Option<&Reservation>, namespace: &str) -> Result<(), Status> {
    let Some(reservation) = reservation else {
        return Ok(());
    };
    if reservation.reuse_key.is_empty() {
        return Err(missing("reservation.reuse_key"));
    }
    let cluster = consumer(reservation.cluster.as_ref())
        .map_err(|_| missing("reservation.cluster with api_version, kind, namespace and name"))?;
    if cluster.kind != "Cluster" || cluster.group() != "cluster.x-k8s.io" {
        return Err(invalid(
            "reservation.cluster",
            "a host is reserved for a Cluster of cluster.x-k8s.io",
        ));
    }
    if cluster.namespace != namespace {
        return Err(invalid(
            "reservation.cluster.namespace",
            &format!("a host of namespace {namespace} is reserved for a Cluster of that namespace"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::Consumer;

    use super::*;

    #[test]
    fn a_reservation_names_key_and_cluster() {
        let cluster = Consumer {
            api_version: "cluster.x-k8s.io/v1beta2".into(),
            kind: "Cluster".into(),
            namespace: "ns".into(),
            name: "c".into(),
            uid: String::new(),
        };
        let reservation = |key: &str, cluster| Reservation {
            reuse_key: key.into(),
            cluster,
            expires: None,
        };
        assert!(check_reservation(None, "ns").is_ok());
        assert!(check_reservation(Some(&reservation("md-x", Some(cluster.clone()))), "ns").is_ok());
        for (wrong, namespace) in [
            (reservation("", Some(cluster.clone())), "ns"),
            (reservation("md-x", None), "ns"),
            (reservation("md-x", Some(cluster.clone())), "other"),
            (
                reservation(
                    "md-x",
                    Some(Consumer {
                        kind: "Metal3Machine".into(),
                        ..cluster.clone()
                    }),
                ),
                "ns",
            ),
            (
                reservation(
                    "md-x",
                    Some(Consumer {
                        name: String::new(),
                        ..cluster
                    }),
                ),
                "ns",
            ),
        ] {
            let status = check_reservation(Some(&wrong), namespace).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{wrong:?}");
        }
    }
}
