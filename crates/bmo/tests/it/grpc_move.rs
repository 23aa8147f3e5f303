//! What `clusterctl move` needs of a host, and what it does to one.

use kube::ResourceExt as _;
use kube::api::{ObjectMeta, PostParams};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::release_host_response::Phase;
use metal3_rpc::v1::{PrepareMoveRequest, ReleaseHostRequest, ResumeAfterMoveRequest};
use metal3_testkit::wait;
use serde_json::{Value, json};

use crate::grpc_calls::{a, claimed, consumer, provisioned};
use crate::program::Hosts;
use crate::world::World;

const TOKEN: &str = "metal3.io/capm3";

async fn prepare(world: &World, hosts: &Hosts) {
    let request = PrepareMoveRequest {
        host: a(world),
        consumer: consumer(world),
        token: TOKEN.into(),
    };
    hosts.clone().prepare_move(request).await.unwrap();
}

fn resumption(world: &World) -> ResumeAfterMoveRequest {
    ResumeAfterMoveRequest {
        host: a(world),
        consumer: consumer(world),
        cluster_name: "c".into(),
        token: TOKEN.into(),
    }
}

async fn resume(world: &World, hosts: &Hosts) {
    hosts.clone().resume_after_move(resumption(world)).await.unwrap();
}

/// As clusterctl does it: the object is taken away without its finalizers, and made again without a status.
async fn moved(world: &World) -> BareMetalHost {
    let source = world.get("a").await;
    world.patch("a", json!({"metadata": {"finalizers": null}})).await;
    world.delete("a").await;
    world.is_gone("a").await;
    let target = BareMetalHost {
        metadata: ObjectMeta {
            name: source.metadata.name,
            labels: source.metadata.labels,
            annotations: source.metadata.annotations,
            ..ObjectMeta::default()
        },
        spec: source.spec,
        status: None,
    };
    world
        .hosts()
        .create(&PostParams::default(), &target)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_moved_host_goes_on_with_what_it_runs() {
    let (world, hosts) = claimed("move").await;
    provisioned(&world, &hosts).await;
    let node = world.ironic.node("move~a").await;
    assert_eq!(
        world.get("a").await.annotations()[names::ANNOTATION_BLOCK_MOVE],
        "",
        "guarded since it was claimed"
    );

    for _ in 0..2 {
        prepare(&world, &hosts).await;
    }
    let ready = world.get("a").await;
    let annotations = ready.annotations();
    assert_eq!(annotations[names::ANNOTATION_PAUSED], TOKEN);
    assert!(!annotations.contains_key(names::ANNOTATION_BLOCK_MOVE));
    let stored: Value = serde_json::from_str(&annotations[names::ANNOTATION_STATUS]).unwrap();
    assert_eq!(stored["provisioning"]["state"], "provisioned");
    assert_eq!(stored.get("hardware"), None);

    let states = world.record();
    let arrived = moved(&world).await;
    assert_ne!(arrived.uid(), ready.uid());
    // Released before it has its status again, it would be given to somebody else with a machine that runs.
    let request = ReleaseHostRequest {
        host: a(&world),
        consumer: consumer(&world),
        ..Default::default()
    };
    let released = moved_release(&world, &hosts, request).await;
    assert_eq!(released, Phase::Deprovisioning);
    for _ in 0..2 {
        resume(&world, &hosts).await;
    }
    let host = world.reaches("a", "provisioned").await;
    wait::until(
        "the stored status to be used up",
        wait::LONG,
        async || match world.get("a").await.annotations().get(names::ANNOTATION_STATUS) {
            Some(_) => Err("it is there"),
            None => Ok(()),
        },
    )
    .await;
    assert_eq!(host.annotations()[names::ANNOTATION_BLOCK_MOVE], "");
    assert!(!host.annotations().contains_key(names::ANNOTATION_PAUSED));
    let after = world.ironic.node("move~a").await;
    assert_eq!(
        (after.uuid, after.provision_state),
        (node.uuid, "active".to_owned())
    );
    assert_eq!(world.ironic.deployments(&world.host("a")), 1);
    let mut states = states.of("a");
    // Before the move and after it, if the record began early enough.
    states.dedup();
    assert_eq!(states, ["provisioned"], "never anything else");
}

/// What a release says of it; what it took off the host is put back, so that the move goes on.
async fn moved_release(world: &World, hosts: &Hosts, request: ReleaseHostRequest) -> Phase {
    let before = world.get("a").await.spec;
    let answer = hosts.clone().release_host(request).await.unwrap();
    world.patch("a", json!({"spec": before})).await;
    answer.into_inner().phase()
}

#[tokio::test]
async fn what_a_user_paused_stays_paused_over_a_move_and_goes_on_with_what_it_runs() {
    let (world, hosts) = claimed("move-paused").await;
    provisioned(&world, &hosts).await;
    let pause = |by: Option<&str>| json!({"metadata": {"annotations": {names::ANNOTATION_PAUSED: by}}});
    world.patch("a", pause(Some("maintenance"))).await;
    for _ in 0..2 {
        prepare(&world, &hosts).await;
    }
    let ready = world.get("a").await;
    assert!(!ready.annotations().contains_key(names::ANNOTATION_BLOCK_MOVE));
    assert!(ready.annotations().contains_key(names::ANNOTATION_STATUS));

    let states = world.record();
    moved(&world).await;
    resume(&world, &hosts).await;
    let arrived = world.get("a").await;
    assert_eq!(
        arrived.annotations(),
        ready.annotations(),
        "the pause is the user's"
    );
    world.patch("a", pause(None)).await;
    world.reaches("a", "provisioned").await;
    assert_eq!(world.ironic.deployments(&world.host("a")), 1);
    let mut states = states.of("a");
    states.dedup();
    assert_eq!(states, ["provisioned"], "never anything else");
}

#[tokio::test]
async fn a_host_of_another_cluster_stays_paused() {
    let (world, mut hosts) = claimed("move-cluster").await;
    prepare(&world, &hosts).await;
    let request = ResumeAfterMoveRequest {
        cluster_name: "other".into(),
        ..resumption(&world)
    };
    let error = hosts.resume_after_move(request).await.unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::ForeignCluster), "{error}");
    assert_eq!(
        world.get("a").await.annotations()[names::ANNOTATION_PAUSED],
        TOKEN
    );
    let request = PrepareMoveRequest {
        host: a(&world),
        consumer: consumer(&world),
        token: String::new(),
    };
    let error = hosts.prepare_move(request).await.unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::InvalidField), "{error}");
}
