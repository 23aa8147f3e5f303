//! What the role of the chart allows: all that the provider does, and nothing else.

use std::collections::BTreeSet;

use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine, Metal3Remediation};
use metal3_api::metal3;
use metal3_rpc::AUDIENCE;
use metal3_testkit::audit::Request;
use metal3_testkit::{ControlPlane, Rules, wait};
use serde_json::json;

use crate::parents::Parent;
use crate::world::{World, account};

const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// What the API server says about a right of this client.
async fn allowed(client: &Client, group: &str, resource: &str, verb: &str, namespace: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.into()),
                resource: Some(resource.into()),
                subresource: Some(subresource.into()),
                verb: Some(verb.into()),
                namespace: Some(namespace.into()),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}

#[tokio::test]
async fn nothing_of_metal3_io_is_open_to_the_provider() {
    let plane = ControlPlane::shared().await;
    let provider = account(plane, "closed", "capm3").await;
    let client = provider.client();
    // What is asked here has an answer only if such questions do in general.
    assert!(
        allowed(
            &client,
            "infrastructure.cluster.x-k8s.io",
            "metal3machines",
            "patch",
            "closed"
        )
        .await
    );
    let crds = metal3::crds();
    assert!(crds.len() > 10);
    for crd in crds {
        let names = &crd.spec.names;
        for resource in [names.plural.clone(), format!("{}/status", names.plural)] {
            for verb in VERBS {
                for namespace in ["", "closed"] {
                    let open = allowed(&client, "metal3.io", &resource, verb, namespace).await;
                    assert!(!open, "{verb} {resource}.metal3.io is allowed in {namespace:?}");
                }
            }
        }
        refused(&client, &names.kind, &names.plural).await;
    }
    for verb in ["list", "watch", "create", "update", "patch", "delete"] {
        assert!(
            !allowed(&client, "", "secrets", verb, "closed").await,
            "{verb} secrets"
        );
    }

    let review: SelfSubjectRulesReview =
        serde_json::from_value(json!({"metadata": {}, "spec": {"namespace": "closed"}})).unwrap();
    let reviews: Api<SelfSubjectRulesReview> = Api::all(client);
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    let rules = answer.status.unwrap();
    assert!(!rules.incomplete && !rules.resource_rules.is_empty());
    let groups: BTreeSet<String> = rules
        .resource_rules
        .into_iter()
        .flat_map(|rule| rule.api_groups.unwrap_or_default())
        .collect();
    assert!(
        !groups.contains("metal3.io") && !groups.contains("*"),
        "{groups:?}"
    );
}

/// Asks for real.
async fn refused(client: &Client, kind: &str, plural: &str) {
    let resource = kube::api::ApiResource {
        group: "metal3.io".into(),
        version: "v1alpha1".into(),
        api_version: "metal3.io/v1alpha1".into(),
        kind: kind.into(),
        plural: plural.into(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "closed", &resource);
    let everywhere: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let object = DynamicObject::new("x", &resource);
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let (params, list, delete) = (
        PostParams::default(),
        ListParams::default(),
        DeleteParams::default(),
    );
    for (verb, answer) in [
        ("get", api.get("x").await.map(drop)),
        ("list", api.list(&list).await.map(drop)),
        ("list everywhere", everywhere.list(&list).await.map(drop)),
        ("create", api.create(&params, &object).await.map(drop)),
        ("update", api.replace("x", &params, &object).await.map(drop)),
        (
            "patch",
            api.patch("x", &PatchParams::default(), &patch).await.map(drop),
        ),
        ("delete", api.delete("x", &delete).await.map(drop)),
        (
            "deletecollection",
            api.delete_collection(&delete, &list).await.map(drop),
        ),
    ] {
        let error = answer.unwrap_err();
        assert!(
            matches!(&error, kube::Error::Api(status) if status.code == 403),
            "{verb} {plural}: {error}"
        );
    }
}

/// A right: group, resource and verb.
type Right = (String, String, String);

fn granted() -> BTreeSet<Right> {
    let rules = Rules::of_chart("metal3-capm3").unwrap();
    let mut rights = BTreeSet::new();
    for rule in rules.cluster.into_iter().chain(rules.namespace) {
        assert_eq!(rule.resource_names, None);
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    rights.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    rights
}

/// The right that a request needed.
fn right(request: Request) -> Option<Right> {
    let object = request.object_ref?;
    let resource = match object.subresource.as_str() {
        "" => object.resource,
        subresource => format!("{}/{subresource}", object.resource),
    };
    Some((object.api_group, resource, request.verb))
}

/// The verb on hosts.host.metal3.io that the operator asks Kubernetes about when a method is called.
fn host_verb(line: &str) -> &'static str {
    match line.split(' ').next().unwrap() {
        "GetHost" => "get",
        "ListHosts" => "list",
        "WatchHosts" => "watch",
        "ClaimHost" => "claim",
        "ProvisionHost" => "provision",
        "SetCleaningMode" => "provision",
        "HoldPowerOff" | "ReleasePowerHold" => "power",
        "MarkHealth" => "health",
        "ReleaseHost" | "ReleaseReservations" => "release",
        "PrepareMove" | "ResumeAfterMove" => "move",
        other => panic!("{other} is not granted"),
    }
}

#[tokio::test]
async fn each_right_of_the_role_is_needed_and_none_is_missing() {
    let world = World::with_flags("rights", &["--leader-elect=true"]).await;
    let lab = &world.lab;
    lab.free_host("a");
    lab.hosts.with(|hosts| hosts.bare_claims = true);
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.machine("m", "c").await;
    lab.becomes_a_node("m").await;
    lab.switched_on("a");
    lab.is_sick("m").await;
    for retries in [0, 1] {
        lab.phase("m", "Waiting", retries).await;
        lab.time_passes("m").await;
    }
    lab.phase("m", "Deleting machine", 1).await;
    lab.delete::<Metal3Remediation>("m").await;
    lab.is_gone::<Metal3Remediation>("m").await;
    for (paused, status, reason) in [(true, "True", "Paused"), (false, "False", "NotPaused")] {
        lab.patch::<Cluster>("c", json!({"spec": {"paused": paused}}))
            .await;
        lab.condition::<Metal3Machine>("m", "Paused", status, reason)
            .await;
    }
    lab.delete::<Metal3Machine>("m").await;
    lab.is_gone::<Metal3Machine>("m").await;
    lab.delete::<Machine>("m").await;
    // The hosts of these may be kept for others: their parents are asked.
    lab.reusing_template("t").await;
    lab.deployment("d", "t", 1).await;
    lab.control_plane("p", "t", 1).await;
    for (name, parent) in [("w", Parent::Deployment("d")), ("x", Parent::ControlPlane("p"))] {
        lab.child(name, "c", parent).await;
        lab.claimed(name).await;
        lab.delete::<Metal3Machine>(name).await;
        lab.is_gone::<Metal3Machine>(name).await;
        lab.delete::<Machine>(name).await;
        lab.free_host("b");
    }
    lab.delete::<Metal3Cluster>("c").await;
    lab.is_gone::<Metal3Cluster>("c").await;

    let user = world.account.user();
    wait::until("each right to be used", wait::LONG, async || {
        let requests = lab.plane.requests_of(&user).map_err(|error| error.to_string())?;
        // Reviews are the test's own question whether the role is in force.
        let mut used: BTreeSet<Right> = requests
            .into_iter()
            .filter(|request| !request.user_agent.is_empty())
            .filter_map(right)
            .filter(|(group, _, _)| group != "authorization.k8s.io")
            .collect();
        let log = lab.hosts.with(|hosts| hosts.log.clone());
        used.extend(
            log.iter()
                .map(|line| ("host.metal3.io".into(), "hosts".into(), host_verb(line).into())),
        );
        let unused: Vec<_> = granted().difference(&used).cloned().collect();
        let missing: Vec<_> = used.difference(&granted()).cloned().collect();
        assert!(missing.is_empty(), "used and not granted: {missing:?}");
        if unused.is_empty() {
            Ok(())
        } else {
            Err(format!("granted and not used: {unused:?}"))
        }
    })
    .await;
    assert_eq!(lab.plane.denied_to(&user).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn calls_of_the_host_service_carry_the_token_of_the_provider() {
    let world = World::start("bearer").await;
    let lab = &world.lab;
    lab.free_host("a");
    lab.ready_cluster("c").await;
    lab.machine("m", "c").await;
    lab.claimed("m").await;
    let bearers = lab.hosts.with(|hosts| hosts.bearers.clone());
    assert_eq!(bearers.len(), 1);
    let token = bearers.first().unwrap().strip_prefix("Bearer ").unwrap();
    // What the operator asks Kubernetes.
    let review: TokenReview =
        serde_json::from_value(json!({"metadata": {}, "spec": {"token": token, "audiences": [AUDIENCE]}}))
            .unwrap();
    let reviews: Api<TokenReview> = Api::all(lab.plane.client());
    let status = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(status.user.unwrap().username, Some(world.account.user()));
    let log = world.capm3.process.log();
    assert!(!log.contains(token), "the token is in the log");
}
