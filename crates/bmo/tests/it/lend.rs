//! What a consumer does with the host it claimed, until it gives it back.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{ObjectMeta, PostParams};
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::provision_host_response::Result as Provisioned;
use metal3_rpc::v1::release_host_response::Phase;
use metal3_rpc::v1::{ClaimHostRequest, HostRef, ProvisionHostRequest, ReleaseHostRequest, SecretRef};
use metal3_testkit::{events, wait};
use tonic::Status;

use crate::program::Hosts;
use crate::world::{VERBS, World};

const CLUSTER_LABEL: &str = "cluster.x-k8s.io/cluster-name";

/// Host `a`, claimed by `m` of cluster `c`, and a Secret with user data.
async fn claimed(name: &str) -> (World, Hosts) {
    let world = World::start(name).await;
    world.available(&["a"]).await;
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some("user-data".into()),
            ..Default::default()
        },
        string_data: Some([("userData".to_owned(), "#cloud-config of m".to_owned())].into()),
        ..Default::default()
    };
    world
        .secrets()
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let mut hosts = world.caller("caller", &VERBS).await;
    let request = ClaimHostRequest {
        namespace: world.namespace.clone(),
        consumer: Some(world.consumer("m")),
        cluster_name: "c".into(),
        ..Default::default()
    };
    hosts.claim_host(request).await.unwrap();
    (world, hosts)
}

fn release(world: &World) -> ReleaseHostRequest {
    ReleaseHostRequest {
        host: Some(HostRef::named(&world.namespace, "a")),
        consumer: Some(world.consumer("m")),
        cluster_name: "c".into(),
        ..Default::default()
    }
}

async fn phase(hosts: &mut Hosts, request: ReleaseHostRequest) -> Result<Phase, Status> {
    Ok(hosts.release_host(request).await?.into_inner().phase())
}

#[tokio::test]
async fn a_claim_labels_what_has_to_move_with_the_cluster() {
    let (world, _) = claimed("lend-labels").await;
    assert_eq!(world.get("a").await.labels()[CLUSTER_LABEL], "c");
    assert_eq!(
        world.secrets().get("a-bmc").await.unwrap().labels()[CLUSTER_LABEL],
        "c"
    );
    // The label is a new version of the Secret, not new credentials.
    let version = world.secrets().get("a-bmc").await.unwrap().resource_version();
    wait::until("the host to know the labelled Secret", wait::LONG, async || {
        let known = world.get("a").await.status.unwrap().good_credentials;
        if known.credentials_version == version {
            Ok(())
        } else {
            Err(format!("{known:?}, not {version:?}"))
        }
    })
    .await;
    assert_eq!(told(&world, "BMCAccessValidated").await.len(), 1);
}

/// What events with this reason say about the host.
async fn told(world: &World, reason: &str) -> Vec<String> {
    let events = events::about(&world.client(), &world.namespace, "a")
        .await
        .unwrap();
    let named = events
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some(reason));
    named.filter_map(|event| event.message).collect()
}

#[tokio::test]
async fn the_host_tells_whose_it_was() {
    let (world, mut hosts) = claimed("lend-told").await;
    let again = ClaimHostRequest {
        namespace: world.namespace.clone(),
        consumer: Some(world.consumer("m")),
        cluster_name: "c".into(),
        ..Default::default()
    };
    hosts.claim_host(again).await.unwrap();
    wait::until("the host to be released", wait::LONG, async || {
        match phase(&mut hosts.clone(), release(&world)).await {
            Ok(Phase::Released) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(phase(&mut hosts, release(&world)).await.unwrap(), Phase::Released);
    for (reason, message) in [
        ("Claimed", "claimed by Metal3Machine lend-told/m"),
        ("Released", "released by Metal3Machine lend-told/m"),
    ] {
        // The calls do not wait for their Events.
        let messages = wait::until("the event", wait::LONG, async || {
            Some(told(&world, reason).await).filter(|told| !told.is_empty())
        })
        .await;
        assert_eq!(messages, [message]);
    }
}

#[tokio::test]
async fn a_consumer_provisions_its_own_host_with_one_image() {
    let (world, mut hosts) = claimed("lend-provision").await;
    let request = world.provision("http://images.test/a.qcow2");
    let foreign = ProvisionHostRequest {
        consumer: Some(world.consumer("other")),
        ..request.clone()
    };
    let refused = hosts.provision_host(foreign).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::ForeignConsumer), "{refused}");
    let stale = ProvisionHostRequest {
        expected_generation: 4711,
        ..request.clone()
    };
    let refused = hosts.provision_host(stale).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::Conflict), "{refused}");
    for expected in [Provisioned::Accepted, Provisioned::Unchanged] {
        let answer = hosts.provision_host(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.result(), expected);
    }
    let refused = hosts
        .provision_host(world.provision("http://images.test/b.qcow2"))
        .await
        .unwrap_err();
    let different = Some(Reason::AlreadyProvisionedDifferently);
    assert_eq!(Reason::of(&refused), different, "{refused}");
    world.reaches("a", "provisioned").await;
    let disk = world.ironic.disk(&world.host("a"));
    assert_eq!(disk.image, "http://images.test/a.qcow2");
    assert!(
        disk.configdrive.to_string().contains("#cloud-config of m"),
        "{}",
        disk.configdrive
    );
}

#[tokio::test]
async fn a_secret_of_another_namespace_is_refused() {
    let (world, mut hosts) = claimed("lend-foreign").await;
    let mut request = world.provision("http://images.test/a.qcow2");
    let stolen = SecretRef {
        name: "user-data".into(),
        namespace: "kube-system".into(),
    };
    request.spec.as_mut().unwrap().user_data = Some(stolen);
    let refused = hosts.provision_host(request).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::InvalidField), "{refused}");
    assert!(
        refused.message().contains("kube-system/user-data"),
        "{}",
        refused.message()
    );
    assert!(world.get("a").await.spec.user_data.is_none());
}

#[tokio::test]
async fn a_released_host_keeps_no_trace_of_its_consumer() {
    let (world, mut hosts) = claimed("lend-release").await;
    hosts
        .provision_host(world.provision("http://images.test/a.qcow2"))
        .await
        .unwrap();
    world.reaches("a", "provisioned").await;
    let foreign = ReleaseHostRequest {
        consumer: Some(world.consumer("other")),
        ..release(&world)
    };
    assert_eq!(phase(&mut hosts, foreign).await.unwrap(), Phase::Released);
    assert!(
        world.get("a").await.spec.image.is_some(),
        "somebody else's release changes nothing"
    );
    assert_eq!(
        phase(&mut hosts, release(&world)).await.unwrap(),
        Phase::Deprovisioning
    );
    wait::until("the host to be released", wait::LONG, async || {
        match phase(&mut hosts, release(&world)).await {
            Ok(Phase::Released) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let host = world.reaches("a", "available").await;
    let spec = &host.spec;
    let clean = spec.image.is_none() && spec.user_data.is_none() && spec.consumer_ref.is_none();
    assert!(clean && !spec.online, "{spec:?}");
    assert!(!host.labels().contains_key(CLUSTER_LABEL));
    assert!(
        !world
            .secrets()
            .get("a-bmc")
            .await
            .unwrap()
            .labels()
            .contains_key(CLUSTER_LABEL)
    );
    assert_eq!(phase(&mut hosts, release(&world)).await.unwrap(), Phase::Released);
    // Free again for somebody else.
    let request = ClaimHostRequest {
        namespace: world.namespace.clone(),
        consumer: Some(world.consumer("next")),
        ..Default::default()
    };
    let next = hosts
        .claim_host(request)
        .await
        .unwrap()
        .into_inner()
        .host
        .unwrap();
    assert_eq!(next.consumer.unwrap().name, "next");
}
