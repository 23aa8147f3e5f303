//! The control plane itself.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::build::host;
use metal3_testkit::{ControlPlane, Rules};

fn named(name: &str) -> ConfigMap {
    let metadata = ObjectMeta {
        name: Some(name.into()),
        ..ObjectMeta::default()
    };
    ConfigMap {
        metadata,
        ..ConfigMap::default()
    }
}

#[tokio::test]
async fn two_control_planes_run_side_by_side_and_know_nothing_of_each_other() {
    let (one, other) = tokio::join!(ControlPlane::start(), ControlPlane::start());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.url(), other.url());
    let of = |plane: &ControlPlane| Api::<ConfigMap>::namespaced(plane.client(), "default");
    of(&one)
        .create(&PostParams::default(), &named("mark"))
        .await
        .unwrap();
    assert!(of(&one).get_opt("mark").await.unwrap().is_some());
    assert!(of(&other).get_opt("mark").await.unwrap().is_none());
}

#[tokio::test]
async fn a_control_plane_that_was_killed_comes_back_with_its_objects() {
    let plane = ControlPlane::start().await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(plane.client(), "default");
    maps.create(&PostParams::default(), &named("mark")).await.unwrap();
    plane.kill_etcd();
    plane.kill_apiserver();
    assert!(maps.get_opt("mark").await.is_err());
    plane.revive().unwrap();
    plane.ready().await.unwrap();
    assert!(maps.get_opt("mark").await.unwrap().is_some());
}

#[tokio::test]
async fn an_account_may_do_what_its_rules_say_and_nothing_else() {
    let plane = ControlPlane::shared().await;
    let rules = Rules::default()
        .everywhere("metal3.io", "baremetalhosts", &["list"])
        .inside("", "configmaps", &["create"]);
    let account = plane.account("rights", "reader", &rules).await.unwrap();
    let client = account.client();
    Api::<BareMetalHost>::all(client.clone())
        .list(&Default::default())
        .await
        .unwrap();
    Api::<ConfigMap>::namespaced(client.clone(), "rights")
        .create(&PostParams::default(), &named("mine"))
        .await
        .unwrap();
    let elsewhere = Api::<ConfigMap>::namespaced(client.clone(), "default");
    let secrets = Api::<Secret>::namespaced(client, "rights");
    for error in [
        elsewhere
            .create(&PostParams::default(), &named("mine"))
            .await
            .unwrap_err(),
        secrets.list(&Default::default()).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, kube::Error::Api(status) if status.code == 403),
            "{error}"
        );
    }
    let denied = plane.denied_to(&account.user()).unwrap();
    assert_eq!(denied.len(), 2, "{denied:?}");
    assert!(
        denied[1].starts_with("list /api/v1/namespaces/rights/secrets"),
        "{denied:?}"
    );
}

#[tokio::test]
async fn the_crds_of_metal3_are_served_and_validated() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("crds").await.unwrap();
    assert!(plane.serves_crd("baremetalhosts.metal3.io").await.unwrap());
    assert!(plane.serves_crd("machines.cluster.x-k8s.io").await.unwrap());
    let client = plane.client();
    let created = host("a")
        .bmc("redfish://bmc.test/redfish/v1/Systems/1")
        .create(&client, &namespace)
        .await
        .unwrap();
    assert_eq!(created.name_any(), "a");
    assert!(created.uid().is_some());
    let refused = host("b")
        .mac("not a mac")
        .create_host(&client, &namespace)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("bootMACAddress"), "{refused}");
}

#[tokio::test]
async fn tokens_carry_the_audience_that_was_asked_for() {
    let plane = ControlPlane::shared().await;
    plane
        .account("tokens", "caller", &Rules::default())
        .await
        .unwrap();
    let token = plane
        .token("tokens", "caller", &["metal3-host-service"])
        .await
        .unwrap();
    let review = serde_json::from_value(serde_json::json!({
        "metadata": {},
        "spec": {"token": token, "audiences": ["metal3-host-service"]},
    }))
    .unwrap();
    let api: Api<k8s_openapi::api::authentication::v1::TokenReview> = Api::all(plane.client());
    let status = api
        .create(&PostParams::default(), &review)
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(status.authenticated, Some(true), "{status:?}");
    assert_eq!(status.audiences.unwrap(), ["metal3-host-service"]);
}
