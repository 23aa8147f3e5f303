//! Requests that are wrong in each way that the contract lets them be wrong: every field of every call is found in the
//! descriptor, so that a new one is tried, too, and a new call without a row here fails.

mod wire;
mod wrong;

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::api::ListParams;
use metal3_rpc::DESCRIPTOR;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::HostRef;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde_json::{Value, json};
use tonic::Code;

pub(crate) use self::wire::Raw;
use self::wrong::Contract;
use crate::world::{VERBS, World};

/// A call, and a request that it would serve.
pub(crate) struct Row {
    pub(crate) call: &'static str,
    pub(crate) right: Vec<u8>,
    /// What it says to a request without anything in it.
    empty: Reason,
}

/// In an order in which each is served.
#[expect(clippy::too_many_lines, reason = "a table with a row for each call")]
pub(crate) fn rows(world: &World) -> Vec<Row> {
    let host = || Some(HostRef::named(&*world.namespace, "a"));
    let consumer = || Some(world.consumer("machine"));
    let namespace = || world.namespace.clone();
    let row = |call, right, empty| Row { call, right, empty };
    let required = |call, right| row(call, right, Reason::InvalidField);
    vec![
        required(
            "ClaimHost",
            v1::ClaimHostRequest {
                namespace: namespace(),
                consumer: consumer(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        required("GetHost", v1::GetHostRequest { host: host() }.encode_to_vec()),
        required(
            "ExplainHost",
            v1::ExplainHostRequest { host: host() }.encode_to_vec(),
        ),
        required(
            "GetInventory",
            v1::GetInventoryRequest {
                host: host(),
                label_keys: vec!["rack".into()],
                annotation_keys: vec!["note".into()],
            }
            .encode_to_vec(),
        ),
        row(
            "ListHosts",
            v1::ListHostsRequest {
                namespace: namespace(),
                ..Default::default()
            }
            .encode_to_vec(),
            Reason::Forbidden,
        ),
        row(
            "WatchHosts",
            v1::WatchHostsRequest {
                namespaces: vec![namespace()],
                ..Default::default()
            }
            .encode_to_vec(),
            Reason::Forbidden,
        ),
        required(
            "SetCleaningMode",
            v1::SetCleaningModeRequest {
                host: host(),
                consumer: consumer(),
                mode: v1::CleaningMode::Disabled.into(),
            }
            .encode_to_vec(),
        ),
        required(
            "MarkHealth",
            v1::MarkHealthRequest {
                host: host(),
                consumer: consumer(),
                unhealthy: true,
                reason: "fan".into(),
            }
            .encode_to_vec(),
        ),
        required(
            "HoldPowerOff",
            v1::HoldPowerOffRequest {
                host: host(),
                consumer: consumer(),
                key: "test".into(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        required(
            "ReleasePowerHold",
            v1::ReleasePowerHoldRequest {
                host: host(),
                consumer: consumer(),
                key: "test".into(),
            }
            .encode_to_vec(),
        ),
        required(
            "PrepareMove",
            v1::PrepareMoveRequest {
                host: host(),
                consumer: consumer(),
                token: "metal3.io/capm3".into(),
            }
            .encode_to_vec(),
        ),
        required(
            "ResumeAfterMove",
            v1::ResumeAfterMoveRequest {
                host: host(),
                consumer: consumer(),
                cluster_name: String::new(),
                token: "metal3.io/capm3".into(),
            }
            .encode_to_vec(),
        ),
        required(
            "ProvisionHost",
            v1::ProvisionHostRequest {
                host: host(),
                consumer: consumer(),
                spec: Some(v1::ProvisionSpec {
                    custom_deploy_method: "install_everything".into(),
                    ..Default::default()
                }),
                expected_generation: 0,
            }
            .encode_to_vec(),
        ),
        required(
            "ReleaseHost",
            v1::ReleaseHostRequest {
                host: host(),
                consumer: consumer(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        required(
            "ReleaseReservations",
            v1::ReleaseReservationsRequest {
                namespace: namespace(),
                scope: Some(v1::release_reservations_request::Scope::ReuseKey("md-a".into())),
            }
            .encode_to_vec(),
        ),
    ]
}

/// What calls could change, of all hosts and Secrets of the namespace. The status of hosts is the controller's, which
/// notices only a moment later that a host was claimed.
async fn content(world: &World) -> BTreeMap<String, Value> {
    let (hosts, secrets) = (world.hosts(), world.secrets());
    let all = ListParams::default();
    let hosts = hosts.list(&all).await.unwrap().into_iter().map(|host| {
        let meta = &host.metadata;
        let own = json!([
            meta.generation,
            meta.labels,
            meta.annotations,
            meta.finalizers,
            host.spec
        ]);
        (format!("host {}", host.name_any()), own)
    });
    let secrets = secrets.list(&all).await.unwrap().into_iter();
    let secrets = secrets.map(|one| {
        (
            format!("secret {}", one.name_any()),
            json!(one.resource_version()),
        )
    });
    hosts.chain(secrets).collect()
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_said_and_nothing_changes() {
    let world = World::start_with("bad-input", &["--grpc-rate-limit=0"]).await;
    world.available(&["a"]).await;
    world.caller("caller", &VERBS).await;
    let token = world.plane.token(&world.namespace, "caller", &[]).await.unwrap();
    let mut raw = Raw::new(world.bmo.channel(), &token);
    let set = FileDescriptorSet::decode(DESCRIPTOR).unwrap();
    let contract = Contract::of(&set);
    let rows = rows(&world);
    let mut here: Vec<&str> = rows.iter().map(|row| row.call).collect();
    here.sort_unstable();
    assert_eq!(
        here,
        contract.calls(),
        "each call of the contract needs a row, and no other has one"
    );
    // It must be somebody's, so that each call would find it in order.
    raw.call("ClaimHost", rows[0].right.clone()).await.unwrap();
    let before = content(&world).await;

    let mut tried = 0;
    for row in &rows {
        let status = raw.call(row.call, Vec::new()).await.unwrap_err();
        assert_eq!(
            Reason::of(&status),
            Some(row.empty),
            "empty {}: {status}",
            row.call
        );
        for wrong in contract.wrongs(row.call) {
            let what = format!("{} with {}", row.call, wrong.what);
            let mut message = row.right.clone();
            message.extend(&wrong.bytes);
            let Err(status) = raw.call(row.call, message).await else {
                panic!("{what} was served");
            };
            assert_eq!(
                Reason::of(&status),
                Some(Reason::InvalidField),
                "{what}: {status}"
            );
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
            assert!(status.message().len() < 400, "{what}: {status}");
            tried += 1;
        }
        let cut = row.right[..row.right.len() - 1].to_vec();
        for (what, bytes) in [("cut", cut), ("noise", vec![0xff; 32]), ("deep", vec![0x0b; 500])] {
            let status = raw.call(row.call, bytes).await.unwrap_err();
            assert_eq!(
                Reason::of(&status),
                Some(Reason::InvalidField),
                "{what} {}: {status}",
                row.call
            );
        }
    }
    println!("{tried} wrong fields in {} calls", rows.len());
    assert!(tried > 300, "the descriptor was not followed: {tried}");
    assert_eq!(content(&world).await, before);

    // Each was refused for what was wrong with it: without that it is served, and what is unknown in it is passed over.
    for row in &rows {
        let mut message = row.right.clone();
        message.extend(wire::text(15_000, "unknown"));
        if let Err(status) = raw.call(row.call, message).await {
            panic!("{}: {status}", row.call);
        }
    }
    assert_ne!(content(&world).await, before);
}
