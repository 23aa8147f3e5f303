//! A call of the HostService, tried on one host: its message is read, checked and decided on by what serves real calls, as
//! far as that needs neither Kubernetes nor other callers. For those who feed it with whatever there is: `fuzz/`.

use std::pin::pin;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use metal3_api::metal3::host::BareMetalHost;
use metal3_rpc::call::Call;
use metal3_rpc::reason::no_host_available;
use metal3_rpc::v1;
use metal3_rpc::v1::HostRef;
use prost::Message;
use serde_json::Value;
use tonic::Status;

use super::allocate::{self, Choice};
use super::asked::Asked;
use super::calls::{self, Change};
use super::claim::reserved;
use super::door::unreadable;
use super::index::HostIndex;
use super::intent::{self, Release, Seen};
use super::request::{consumer, host_key, not_found, same_uid, wish};
use super::watch::watch;

/// What a call would do, and tell.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Where its caller needs the right; an empty name stands for all namespaces.
    pub namespaces: Vec<String>,
    /// The JSON merge patch of the host that would be written; `None`: nothing.
    pub patch: Option<Value>,
    /// The encoded answer of a call that changes nothing; of a watch, its first message.
    pub answer: Option<Vec<u8>>,
}

/// Tries a call while there is this host and no other.
///
/// # Errors
/// As the call.
pub fn attempt(call: Call, message: &[u8], host: &BareMetalHost, now: Timestamp) -> Result<Outcome, Status> {
    let seen = Seen::of(host.clone());
    match call {
        Call::GetHost => tells(message, |asked: v1::GetHostRequest| {
            let host = Some(look(asked.host.as_ref(), seen)?.host);
            Ok(Some(v1::GetHostResponse { host }))
        }),
        Call::GetInventory => tells(message, |asked: v1::GetInventoryRequest| {
            calls::inventory(look(asked.host.as_ref(), seen)?, &asked).map(Some)
        }),
        Call::ExplainHost => tells(message, |asked: v1::ExplainHostRequest| {
            let seen = look(asked.host.as_ref(), seen)?;
            Ok(Some(calls::explanation(seen, now)))
        }),
        Call::ListHosts => tells(message, |asked: v1::ListHostsRequest| {
            calls::list(&index(&seen), &asked, now).map(Some)
        }),
        Call::WatchHosts => tells(message, |asked: v1::WatchHostsRequest| {
            let stream = watch(&Arc::new(index(&seen)), asked)?;
            // There is something to tell at once: the host, or that there is none.
            pin!(stream).next().now_or_never().flatten().transpose()
        }),
        Call::ClaimHost => writes(message, |asked| claim(asked, &seen, now)),
        Call::ReleaseHost => writes(message, |asked| release(asked, seen)),
        Call::ReleaseReservations => writes(message, |asked| free(asked, &seen)),
        Call::ProvisionHost => changes::<v1::ProvisionHostRequest>(message, seen),
        Call::SetCleaningMode => changes::<v1::SetCleaningModeRequest>(message, seen),
        Call::HoldPowerOff => changes::<v1::HoldPowerOffRequest>(message, seen),
        Call::ReleasePowerHold => changes::<v1::ReleasePowerHoldRequest>(message, seen),
        Call::MarkHealth => changes::<v1::MarkHealthRequest>(message, seen),
        Call::PrepareMove => changes::<v1::PrepareMoveRequest>(message, seen),
        Call::ResumeAfterMove => changes::<v1::ResumeAfterMoveRequest>(message, seen),
    }
}

fn tells<T, R>(message: &[u8], answer: impl FnOnce(T) -> Result<Option<R>, Status>) -> Result<Outcome, Status>
where
    T: Asked + Message + Default,
    R: Message,
{
    let (asked, namespaces) = read::<T>(message)?;
    Ok(Outcome {
        namespaces,
        answer: answer(asked)?.map(|answer| answer.encode_to_vec()),
        patch: None,
    })
}

fn writes<T: Asked + Message + Default>(
    message: &[u8],
    decide: impl FnOnce(&T) -> Result<Option<Value>, Status>,
) -> Result<Outcome, Status> {
    let (asked, namespaces) = read(message)?;
    Ok(Outcome {
        namespaces,
        patch: decide(&asked)?,
        answer: None,
    })
}

fn changes<T: Change + Message + Default>(message: &[u8], seen: Seen) -> Result<Outcome, Status> {
    writes(message, |asked: &T| {
        calls::decide(asked, &look(asked.host(), seen)?)
    })
}

/// A request of the right form, and where it acts.
fn read<T: Asked + Message + Default>(message: &[u8]) -> Result<(T, Vec<String>), Status> {
    let asked = T::decode(message).map_err(unreadable)?;
    asked.check()?;
    let namespaces = asked.namespaces().into_iter().map(str::to_owned).collect();
    Ok((asked, namespaces))
}

/// The host, if it is the one that is named.
fn look(reference: Option<&HostRef>, seen: Seen) -> Result<Seen, Status> {
    let key = host_key(reference)?;
    if key == seen.key() && same_uid(reference, &seen.host) {
        Ok(seen)
    } else {
        Err(not_found(&key))
    }
}

fn index(seen: &Seen) -> HostIndex {
    let index = HostIndex::default();
    index.upsert(seen.key(), seen.host.clone());
    index
}

/// The claim, and what is recorded once it stays.
fn claim(asked: &v1::ClaimHostRequest, seen: &Seen, now: Timestamp) -> Result<Option<Value>, Status> {
    let consumer = consumer(asked.consumer.as_ref())?;
    let wish = wish(asked, consumer)?;
    let (index, namespace) = (index(seen), asked.namespace.as_str());
    if !index.holdings(consumer).is_empty() {
        return intent::record(&seen.host, asked);
    }
    match index.choose(namespace, &wish, now, |_| false) {
        Choice::Take(host, _) | Choice::Busy(host) => intent::claim(&host, asked, consumer).map(Some),
        Choice::Wait(awaited) => Err(reserved(&wish, &awaited)),
        Choice::None => {
            let table = index.rejections(namespace, &wish, now);
            Err(no_host_available(allocate::explain(namespace, &table), &table))
        }
    }
}

fn release(asked: &v1::ReleaseHostRequest, seen: Seen) -> Result<Option<Value>, Status> {
    // One that does not exist is released.
    let Ok(seen) = look(asked.host.as_ref(), seen) else {
        return Ok(None);
    };
    match intent::release(&seen, asked, consumer(asked.consumer.as_ref())?) {
        Release::Start(patch) | Release::Finish(patch) => Ok(Some(patch)),
        Release::Wait(_) | Release::Released => Ok(None),
    }
}

fn free(asked: &v1::ReleaseReservationsRequest, seen: &Seen) -> Result<Option<Value>, Status> {
    let scope = calls::scope(asked)?;
    let reserved = seen.key().namespace == asked.namespace && intent::in_scope(&seen.host, &scope);
    Ok(reserved.then(intent::free))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use metal3_api::names;
    use metal3_rpc::reason::Reason;
    use serde_json::json;

    use super::super::intent::tests;
    use super::super::intent::tests::seen;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn spec() -> v1::ProvisionSpec {
        v1::ProvisionSpec {
            image: Some(v1::Image {
                url: "http://i".into(),
                checksum: "c".into(),
                format: "raw".into(),
                ..Default::default()
            }),
            user_data: Some(v1::SecretRef {
                name: "s".into(),
                namespace: "ns".into(),
            }),
            cleaning_mode: v1::CleaningMode::Disabled.into(),
            power_on: true,
            ..Default::default()
        }
    }

    /// A request that is served.
    #[expect(clippy::too_many_lines, reason = "a table with a row for each call")]
    fn right(call: Call) -> Vec<u8> {
        let host = Some(HostRef::named("ns", "a"));
        let consumer = Some(tests::consumer());
        let token = names::PAUSED_BY_CAPM3.to_owned();
        match call {
            Call::GetHost => v1::GetHostRequest { host }.encode_to_vec(),
            Call::ListHosts => v1::ListHostsRequest {
                namespace: "ns".into(),
                selector: Some(v1::Selector {
                    expressions: vec![v1::SelectorExpression {
                        key: "rack".into(),
                        operator: "NotIn".into(),
                        values: vec!["b".into()],
                    }],
                    ..Default::default()
                }),
                states: vec!["available".into()],
                page_size: 7,
                page_token: "ns/0".into(),
                ..Default::default()
            }
            .encode_to_vec(),
            Call::WatchHosts => v1::WatchHostsRequest {
                namespaces: vec!["ns".into()],
                consumer_kind: "Metal3Machine".into(),
                label_prefixes: vec!["cluster.x-k8s.io/".into()],
                ..Default::default()
            }
            .encode_to_vec(),
            Call::GetInventory => v1::GetInventoryRequest {
                host,
                label_keys: vec!["rack".into()],
                annotation_keys: vec!["note".into()],
            }
            .encode_to_vec(),
            Call::ClaimHost => v1::ClaimHostRequest {
                namespace: "ns".into(),
                consumer,
                cluster_name: "c".into(),
                selector: Some(v1::Selector {
                    match_labels: [("rack".to_owned(), "a".to_owned())].into(),
                    ..Default::default()
                }),
                failure_domain: Some(v1::FailureDomain {
                    name: "d".into(),
                    policy: v1::failure_domain::Policy::Prefer.into(),
                }),
                reuse_key: "md-x".into(),
                provision: Some(spec()),
                seen_revision: "1".into(),
            }
            .encode_to_vec(),
            Call::ProvisionHost => v1::ProvisionHostRequest {
                host,
                consumer,
                spec: Some(spec()),
                expected_generation: 1,
            }
            .encode_to_vec(),
            Call::SetCleaningMode => v1::SetCleaningModeRequest {
                host,
                consumer,
                mode: v1::CleaningMode::Disabled.into(),
            }
            .encode_to_vec(),
            Call::ReleaseHost => v1::ReleaseHostRequest {
                host,
                consumer,
                cluster_name: "c".into(),
                power_policy: v1::release_host_request::PowerPolicy::FastTrack.into(),
                reservation: Some(v1::release_host_request::Reservation {
                    reuse_key: "md-x".into(),
                    cluster: Some(v1::Consumer {
                        api_version: "cluster.x-k8s.io/v1beta2".into(),
                        kind: "Cluster".into(),
                        name: "c".into(),
                        ..tests::consumer()
                    }),
                    expires: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
                }),
            }
            .encode_to_vec(),
            Call::ReleaseReservations => v1::ReleaseReservationsRequest {
                namespace: "ns".into(),
                scope: Some(v1::release_reservations_request::Scope::ReuseKey("md-x".into())),
            }
            .encode_to_vec(),
            Call::HoldPowerOff => v1::HoldPowerOffRequest {
                host,
                consumer,
                key: "k".into(),
                mode: v1::hold_power_off_request::Mode::Hard.into(),
            }
            .encode_to_vec(),
            Call::ReleasePowerHold => v1::ReleasePowerHoldRequest {
                host,
                consumer,
                key: "k".into(),
            }
            .encode_to_vec(),
            Call::MarkHealth => v1::MarkHealthRequest {
                host,
                consumer,
                unhealthy: true,
                reason: "fan".into(),
            }
            .encode_to_vec(),
            Call::PrepareMove => v1::PrepareMoveRequest {
                host,
                consumer,
                token,
            }
            .encode_to_vec(),
            Call::ResumeAfterMove => v1::ResumeAfterMoveRequest {
                host,
                consumer,
                cluster_name: "c".into(),
                token,
            }
            .encode_to_vec(),
            Call::ExplainHost => v1::ExplainHostRequest { host }.encode_to_vec(),
        }
    }

    /// A host on which each call has something to do, or to tell.
    fn host(call: Call) -> BareMetalHost {
        let machine = json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "Metal3Machine",
            "namespace": "ns", "name": "m",
        });
        let reserved = call == Call::ReleaseReservations;
        let owner = (!reserved && call != Call::ClaimHost).then_some(machine);
        let given = json!({
            "metadata": {
                "labels": {
                    "rack": "a", names::LABEL_CLUSTER_NAME: "c",
                    names::LABEL_NODE_REUSE: reserved.then_some("md-x"),
                },
                "annotations": {"reboot.metal3.io/k": (call == Call::ReleasePowerHold).then_some("")},
            },
            "spec": {"consumerRef": owner},
            "status": {"hardware": {"hostname": "h"}},
        });
        seen(&given).object
    }

    #[test]
    fn each_call_can_be_tried() {
        for call in Call::ALL {
            let name = call.name();
            let outcome = attempt(call, &right(call), &host(call), NOW).unwrap();
            assert_eq!(outcome.namespaces, ["ns"], "{name}");
            assert_eq!(outcome.patch.is_some(), call.changes(), "{name}");
            let told = outcome.answer.is_some_and(|told| !told.is_empty());
            assert_eq!(told, !call.changes(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_is_of_another_host_goes_no_further() {
        for call in Call::ALL {
            let status = attempt(call, &[0xff], &host(call), NOW).unwrap_err();
            assert_eq!(Reason::of(&status), Some(Reason::InvalidField), "{status}");
        }
        let host = host(Call::GetHost);
        let another = HostRef {
            uid: "another".into(),
            ..HostRef::named("ns", "a")
        };
        for (reference, reason) in [
            (HostRef::named("other", "a"), Reason::HostNotFound),
            (another, Reason::HostNotFound),
            (HostRef::named("ns", "no name"), Reason::InvalidField),
        ] {
            let message = v1::GetHostRequest {
                host: Some(reference),
            };
            let status = attempt(Call::GetHost, &message.encode_to_vec(), &host, NOW).unwrap_err();
            assert_eq!(Reason::of(&status), Some(reason), "{status}");
        }
    }

    /// What the fuzz target `call` starts with: which call, which host, and a request that is served.
    #[test]
    fn the_seeds_of_the_fuzzer_are_requests_that_are_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/call");
        let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
        for (number, call) in Call::ALL.into_iter().enumerate() {
            let free = u8::from(call == Call::ClaimHost);
            let mut seed = vec![u8::try_from(number).unwrap(), free, 0b1000_0101];
            seed.extend(right(call));
            let path = folder.join(call.name());
            if update {
                std::fs::write(&path, &seed).unwrap();
            }
            let stored = std::fs::read(&path).unwrap_or_default();
            let hint = "UPDATE_SNAPSHOTS=1 cargo test -p metal3-bmo --lib seeds_of_the_fuzzer writes it anew";
            assert!(stored == seed, "{}: {hint}", path.display());
        }
    }
}
