//! What each call of the HostService does to a host, seen by its caller, by kubectl and by the machine.

use kube::ResourceExt as _;
use metal3_api::names;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::hold_power_off_request::Mode;
use metal3_rpc::v1::provision_host_response::Result as Provisioned;
use metal3_rpc::v1::{
    ClaimHostRequest, CleaningMode, Consumer, ExplainHostRequest, GetInventoryRequest, HoldPowerOffRequest,
    HostRef, Image, ListHostsRequest, MarkHealthRequest, ProvisionHostRequest, ProvisionSpec,
    ReleaseHostRequest, ReleasePowerHoldRequest, SetCleaningModeRequest,
};
use metal3_testkit::wait;
use serde_json::json;
use tonic::Code;

use crate::program::Hosts;
use crate::world::{VERBS, World};

/// Host `a`, claimed by `m` of cluster `c`.
pub(crate) async fn claimed(name: &str) -> (World, Hosts) {
    let world = World::start(name).await;
    world.available(&["a"]).await;
    let hosts = world.caller("caller", &VERBS).await;
    claim(&world, &hosts).await;
    (world, hosts)
}

pub(crate) async fn claim(world: &World, hosts: &Hosts) {
    let request = ClaimHostRequest {
        namespace: world.namespace.clone(),
        consumer: consumer(world),
        cluster_name: "c".into(),
        ..Default::default()
    };
    hosts.clone().claim_host(request).await.unwrap();
}

pub(crate) fn a(world: &World) -> Option<HostRef> {
    Some(HostRef::named(&world.namespace, "a"))
}

pub(crate) fn consumer(world: &World) -> Option<Consumer> {
    Some(world.consumer("m"))
}

/// Runs an image on it.
pub(crate) async fn provisioned(world: &World, hosts: &Hosts) {
    hosts.clone().provision_host(deployment(world)).await.unwrap();
    world.reaches("a", "provisioned").await;
}

fn deployment(world: &World) -> ProvisionHostRequest {
    let image = Image {
        url: "http://images.test/a.qcow2".into(),
        checksum: "d41d8cd98f00b204e9800998ecf8427e".into(),
        ..Default::default()
    };
    ProvisionHostRequest {
        host: a(world),
        consumer: consumer(world),
        spec: Some(ProvisionSpec {
            image: Some(image),
            power_on: true,
            ..Default::default()
        }),
        expected_generation: 0,
    }
}

/// What calls write: the operator writes to the status meanwhile.
async fn written(world: &World) -> (Option<i64>, Vec<(String, String)>) {
    let host = world.get("a").await;
    let annotations = host.annotations().clone().into_iter().collect();
    (host.metadata.generation, annotations)
}

#[tokio::test]
async fn a_cleaning_mode_is_set_by_the_consumer_and_nobody_else() {
    let (world, mut hosts) = claimed("call-cleaning").await;
    let request = SetCleaningModeRequest {
        host: a(&world),
        consumer: consumer(&world),
        mode: CleaningMode::Disabled.into(),
    };
    let answer = hosts
        .set_cleaning_mode(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.host.unwrap().cleaning_mode(), CleaningMode::Disabled);
    let spec = json!(world.get("a").await.spec);
    assert_eq!(spec["automatedCleaningMode"], "disabled");
    let before = written(&world).await;
    hosts.set_cleaning_mode(request.clone()).await.unwrap();
    assert_eq!(written(&world).await, before, "a repeated call writes nothing");

    let foreign = SetCleaningModeRequest {
        consumer: Some(world.consumer("other")),
        mode: CleaningMode::Metadata.into(),
        ..request.clone()
    };
    let gone = SetCleaningModeRequest {
        host: Some(HostRef::named(&world.namespace, "b")),
        ..request.clone()
    };
    let replaced = SetCleaningModeRequest {
        host: Some(HostRef {
            uid: "of the host before".into(),
            ..a(&world).unwrap()
        }),
        ..request.clone()
    };
    let unsaid = SetCleaningModeRequest {
        mode: 0,
        ..request.clone()
    };
    for (request, code, reason) in [
        (foreign, Code::FailedPrecondition, Reason::ForeignConsumer),
        (gone, Code::NotFound, Reason::HostNotFound),
        (replaced, Code::NotFound, Reason::HostNotFound),
        (unsaid, Code::InvalidArgument, Reason::InvalidField),
    ] {
        let error = hosts.set_cleaning_mode(request).await.unwrap_err();
        assert_eq!(
            (error.code(), Reason::of(&error)),
            (code, Some(reason)),
            "{error}"
        );
    }
    assert_eq!(written(&world).await, before);
}

#[tokio::test]
async fn a_repeated_deployment_is_answered_whatever_generation_was_expected() {
    let (world, mut hosts) = claimed("call-provision").await;
    let generation = world.get("a").await.metadata.generation.unwrap();
    let request = ProvisionHostRequest {
        expected_generation: generation,
        ..deployment(&world)
    };
    for expected in [Provisioned::Accepted, Provisioned::Unchanged] {
        let answer = hosts.provision_host(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.result(), expected);
    }
}

#[tokio::test]
async fn a_host_is_off_while_it_is_held_and_on_again_afterwards() {
    let (world, mut hosts) = claimed("call-hold").await;
    provisioned(&world, &hosts).await;
    let key = "metal3-remediation-1";
    let request = HoldPowerOffRequest {
        host: a(&world),
        consumer: consumer(&world),
        key: key.into(),
        mode: Mode::Hard.into(),
    };
    let first = hosts.hold_power_off(request.clone()).await.unwrap().into_inner();
    let annotations = world.get("a").await.annotations().clone();
    assert_eq!(
        annotations["reboot.metal3.io/metal3-remediation-1"],
        r#"{"mode":"hard","force":false}"#
    );
    assert_eq!(first.host.unwrap().power_holds, [key]);
    powered(&world, false).await;
    // Long after the write: the operator has written this and that since.
    let again = hosts.hold_power_off(request.clone()).await.unwrap().into_inner();
    assert_eq!(again.held_since, first.held_since);
    assert!(again.held_since.is_some());
    let explained = hosts
        .explain_host(ExplainHostRequest { host: a(&world) })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(explained.wait.unwrap().reason, "HeldOffForReboot");
    let power = world.ironic.node("call-hold~a").await.power_state;
    assert_eq!(power.as_deref(), Some("power off"));

    let end = ReleasePowerHoldRequest {
        host: a(&world),
        consumer: consumer(&world),
        key: key.into(),
    };
    for _ in 0..2 {
        let answer = hosts.release_power_hold(end.clone()).await.unwrap().into_inner();
        assert!(answer.host.unwrap().power_holds.is_empty());
    }
    powered(&world, true).await;

    world.patch("a", json!({"spec": {"online": false}})).await;
    let error = hosts.hold_power_off(request).await.unwrap_err();
    assert_eq!(
        (error.code(), Reason::of(&error)),
        (Code::FailedPrecondition, Some(Reason::PoweredOffByUser)),
        "{error}"
    );
}

async fn powered(world: &World, on: bool) {
    wait::until(&format!("powered on: {on}"), wait::LONG, async || {
        let status = world.get("a").await.status.unwrap();
        if status.powered_on == on {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
}

#[tokio::test]
async fn an_unhealthy_host_is_not_claimed_again_until_somebody_says_that_it_is_well() {
    let (world, mut hosts) = claimed("call-health").await;
    let mark = |unhealthy| MarkHealthRequest {
        host: a(&world),
        consumer: consumer(&world),
        unhealthy,
        reason: "no fan".into(),
    };
    let answer = hosts.mark_health(mark(true)).await.unwrap().into_inner();
    assert!(answer.host.unwrap().unhealthy);
    assert_eq!(
        world.get("a").await.annotations()[names::ANNOTATION_UNHEALTHY],
        "no fan"
    );
    let before = written(&world).await;
    hosts.mark_health(mark(true)).await.unwrap();
    assert_eq!(written(&world).await, before, "a repeated call writes nothing");
    let release = ReleaseHostRequest {
        host: a(&world),
        consumer: consumer(&world),
        cluster_name: "c".into(),
        ..Default::default()
    };
    hosts.release_host(release).await.unwrap();
    let request = ClaimHostRequest {
        namespace: world.namespace.clone(),
        consumer: Some(world.consumer("next")),
        ..Default::default()
    };
    let error = hosts.claim_host(request.clone()).await.unwrap_err();
    assert!(error.message().contains("1 unhealthy"), "{error}");
    // Only its consumer may say so here; a human removes the annotation.
    let error = hosts.mark_health(mark(false)).await.unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::ForeignConsumer), "{error}");
    let well = json!({"metadata": {"annotations": {names::ANNOTATION_UNHEALTHY: null}}});
    world.patch("a", well).await;
    wait::until("the host to be claimed", wait::LONG, async || {
        hosts.clone().claim_host(request.clone()).await.map(drop)
    })
    .await;
    let well = MarkHealthRequest {
        consumer: Some(world.consumer("next")),
        ..mark(false)
    };
    hosts.mark_health(well).await.unwrap();
}

#[tokio::test]
async fn readers_find_what_they_ask_for() {
    let world = World::start("call-read").await;
    world.available(&["a", "b", "c"]).await;
    world
        .patch(
            "a",
            json!({"metadata": {"labels": {"rack": "7"}, "annotations": {"note": "x"}}}),
        )
        .await;
    // Its Secret is missing.
    let sick = world.host("sick");
    sick.create_host(&world.client(), &world.namespace).await.unwrap();
    world
        .condition("sick", "Waiting", "True", "BMCSecretMissing")
        .await;
    let mut hosts = world.caller("reader", &["get", "list", "explain"]).await;

    let request = GetInventoryRequest {
        host: a(&world),
        label_keys: vec!["rack".into()],
        annotation_keys: vec!["note".into(), "none".into()],
    };
    let answer = hosts.get_inventory(request).await.unwrap().into_inner();
    assert_eq!(
        Some(&answer.boot_mac_address),
        world.host("a").spec.boot_mac_address.as_ref()
    );
    assert!(!answer.inventory.unwrap().nics.is_empty());
    assert_eq!(answer.labels["rack"], "7");
    assert_eq!(answer.annotations, [("note".to_owned(), "x".to_owned())].into());
    let request = GetInventoryRequest {
        host: Some(HostRef::named(&world.namespace, "sick")),
        ..Default::default()
    };
    let error = hosts.get_inventory(request).await.unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::NotInspected), "{error}");

    let request = ExplainHostRequest {
        host: Some(HostRef::named(&world.namespace, "sick")),
    };
    let told = hosts.explain_host(request).await.unwrap().into_inner();
    assert_eq!(told.wait.unwrap().reason, "BMCSecretMissing");
    assert!(
        told.stuck && told.remedy.contains("create the Secret"),
        "{}",
        told.remedy
    );
    assert!(
        told.last_backend_error.contains("call-read/sick-bmc"),
        "{}",
        told.last_backend_error
    );
    let calm = hosts
        .explain_host(ExplainHostRequest { host: a(&world) })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((calm.step.as_str(), calm.stuck), ("available", false));
    assert!(calm.in_step.is_some());
    let request = ExplainHostRequest {
        host: Some(HostRef::named(&world.namespace, "nobody")),
    };
    let error = hosts.explain_host(request).await.unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::HostNotFound), "{error}");

    let all = ListHostsRequest {
        namespace: world.namespace.clone(),
        ..Default::default()
    };
    let stuck = ListHostsRequest {
        stuck: true,
        ..all.clone()
    };
    let free = ListHostsRequest {
        states: vec!["available".into()],
        page_size: 2,
        ..all
    };
    wait::until(
        "the index to know the sick host",
        wait::LONG,
        async || match listed(&hosts, stuck.clone()).await.0.as_slice() {
            [one] if one == "sick" => Ok(()),
            others => Err(format!("{others:?}")),
        },
    )
    .await;
    let (first, next) = listed(&hosts, free.clone()).await;
    assert_eq!(first, ["a", "b"]);
    let second = ListHostsRequest {
        page_token: next,
        ..free
    };
    assert_eq!(listed(&hosts, second).await, (vec!["c".into()], String::new()));
}

/// Names of a page, and the token of the next one.
async fn listed(hosts: &Hosts, request: ListHostsRequest) -> (Vec<String>, String) {
    let page = hosts.clone().list_hosts(request).await.unwrap().into_inner();
    let names = page.hosts.into_iter().map(|host| host.r#ref.unwrap().name);
    (names.collect(), page.next_page_token)
}
