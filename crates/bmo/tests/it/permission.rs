//! Who may call the HostService.

use metal3_rpc::reason::Reason;
use metal3_rpc::v1::{ClaimHostRequest, GetHostRequest, HostRef, ListHostsRequest, WatchHostsRequest};
use metal3_rpc::{AUDIENCE, AUTHORIZATION_GROUP};
use metal3_testkit::Rules;
use tonic::{Code, Request};

use crate::world::World;

fn get(world: &World) -> GetHostRequest {
    GetHostRequest {
        host: Some(HostRef::named(&world.namespace, "a")),
    }
}

#[tokio::test]
async fn a_call_needs_a_token_that_kubernetes_knows() {
    let world = World::start("token").await;
    for token in [None, Some("rubbish"), Some("")] {
        let error = world.bmo.hosts(token).get_host(get(&world)).await.unwrap_err();
        assert_eq!(
            (error.code(), Reason::of(&error)),
            (Code::Unauthenticated, Some(Reason::TokenInvalid)),
            "{token:?}"
        );
    }
    // A token that was made for somebody else must not open this door.
    world.caller("reader", &["get"]).await;
    let other = world
        .plane
        .token(&world.namespace, "reader", &["vault"])
        .await
        .unwrap();
    let error = world
        .bmo
        .hosts(Some(&other))
        .get_host(get(&world))
        .await
        .unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::TokenInvalid), "{error}");
    for audiences in [&[AUDIENCE][..], &[]] {
        let token = world
            .plane
            .token(&world.namespace, "reader", audiences)
            .await
            .unwrap();
        let error = world
            .bmo
            .hosts(Some(&token))
            .get_host(get(&world))
            .await
            .unwrap_err();
        assert_eq!(
            Reason::of(&error),
            Some(Reason::HostNotFound),
            "{audiences:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_caller_may_do_what_its_role_says_where_it_says() {
    let world = World::start("role").await;
    let mut reader = world.caller("reader", &["get", "list"]).await;
    reader
        .list_hosts(ListHostsRequest {
            namespace: "role".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    let claim = ClaimHostRequest {
        namespace: "role".into(),
        consumer: Some(world.consumer("m")),
        ..Default::default()
    };
    let error = reader.claim_host(claim).await.unwrap_err();
    assert_eq!(
        (error.code(), Reason::of(&error)),
        (Code::PermissionDenied, Some(Reason::Forbidden))
    );
    // Who, what, where, and the remedy.
    for part in [
        "system:serviceaccount:role:reader",
        "claim",
        "namespace role",
        AUTHORIZATION_GROUP,
        "Role",
    ] {
        assert!(
            error.message().contains(part),
            "{part} is missing in {:?}",
            error.message()
        );
    }
    for namespace in ["default", ""] {
        let request = ListHostsRequest {
            namespace: namespace.into(),
            ..Default::default()
        };
        assert_eq!(
            Reason::of(&reader.list_hosts(request).await.unwrap_err()),
            Some(Reason::Forbidden),
            "{namespace:?}"
        );
    }
    let everything = Rules::default().everywhere(AUTHORIZATION_GROUP, "hosts", &["list", "watch"]);
    let account = world
        .plane
        .account("role", "overseer", &everything)
        .await
        .unwrap();
    let mut overseer = world.bmo.hosts(Some(&account.token));
    overseer.list_hosts(ListHostsRequest::default()).await.unwrap();
    overseer.watch_hosts(WatchHostsRequest::default()).await.unwrap();
    let error = reader
        .watch_hosts(WatchHostsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(Reason::of(&error), Some(Reason::Forbidden));
}

#[tokio::test]
async fn the_real_objects_stay_closed_to_callers() {
    let world = World::start("closed").await;
    let rules = Rules::default().inside(AUTHORIZATION_GROUP, "hosts", &crate::world::VERBS);
    let account = world.plane.account("closed", "caller", &rules).await.unwrap();
    let hosts: kube::Api<metal3_api::metal3::host::BareMetalHost> =
        kube::Api::namespaced(account.client(), "closed");
    let error = hosts.list(&Default::default()).await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 403),
        "{error}"
    );
    let mut caller = world.bmo.hosts(Some(&account.token));
    caller
        .list_hosts(ListHostsRequest {
            namespace: "closed".into(),
            ..Default::default()
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_plain_text_connection_is_refused() {
    let world = World::start("plain").await;
    let address = format!("http://{}", world.bmo.address());
    let channel = tonic::transport::Endpoint::from_shared(address)
        .unwrap()
        .connect_lazy();
    let mut hosts = metal3_rpc::v1::host_service_client::HostServiceClient::new(channel);
    let error = hosts.get_host(Request::new(get(&world))).await.unwrap_err();
    assert!(
        matches!(error.code(), Code::Unavailable | Code::Unknown | Code::Internal),
        "{error:?}"
    );
}
