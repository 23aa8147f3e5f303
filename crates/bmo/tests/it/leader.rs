//! Two replicas: one acts, both answer, and the other goes on when one dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use metal3_api::metal3::host::BareMetalHost;
use metal3_rpc::AUTHORIZATION_GROUP;
use metal3_rpc::v1::ListHostsRequest;
use metal3_testkit::audit::Request;
use metal3_testkit::gate::{Fate, Gate, Keeper, Passing};
use metal3_testkit::{Account, ControlPlane, Rules, wait, workspace};
use serde_json::json;

use crate::ironic::Ironic;
use crate::program::{Bmo, Launch};
use crate::world::{new_host, reaches};

const HOME: &str = "metal3";

struct Replica {
    account: Account,
    bmo: Bmo,
}

impl Replica {
    async fn start(plane: &ControlPlane, name: &str, ironic: &Ironic, gate: Option<&Gate>) -> Self {
        let account = plane
            .account(HOME, name, &Rules::of_chart("metal3-bmo").unwrap())
            .await
            .unwrap();
        let kubeconfig = gate.map(|gate| account.kubeconfig_by(gate.url()).unwrap());
        let kubeconfig = kubeconfig.unwrap_or_else(|| account.kubeconfig.clone());
        let endpoint = ironic.endpoint();
        let launch = Launch {
            kubeconfig: &kubeconfig,
            watch: "",
            home: HOME,
            ironic: &endpoint,
            leader_election: true,
        };
        let bmo = launch.start();
        bmo.ready().await;
        Self { account, bmo }
    }

    /// What it changed, apart from the lease.
    fn acts(&self, plane: &ControlPlane) -> Vec<String> {
        let changes = |request: &Request| {
            let resource = request
                .object_ref
                .as_ref()
                .map_or("", |object| object.resource.as_str());
            request.user_agent.starts_with("metal3-bmo/")
                && ["create", "update", "patch", "delete"].contains(&request.verb.as_str())
                && !["leases", "tokenreviews", "subjectaccessreviews"].contains(&resource)
        };
        let requests = plane.requests_of(&self.account.user()).unwrap();
        requests
            .iter()
            .filter(|request| changes(request))
            .map(|request| request.uri.clone())
            .collect()
    }
}

async fn holder(leases: &Api<Lease>) -> Result<String, String> {
    let lease = leases
        .get("baremetal-operator")
        .await
        .map_err(|error| error.to_string())?;
    let holder = lease
        .spec
        .and_then(|spec| spec.holder_identity)
        .unwrap_or_default();
    if holder.is_empty() {
        Err("nobody".to_owned())
    } else {
        Ok(holder)
    }
}

#[tokio::test]
async fn one_replica_acts_and_the_other_goes_on_when_it_dies() {
    let plane = ControlPlane::start().await.unwrap();
    plane
        .install_crds(&workspace().join("charts/metal3-crds/templates"))
        .await
        .unwrap();
    let namespace = plane.namespace("hosts").await.unwrap();
    let ironic = Ironic::start().await;
    let leases: Api<Lease> = Api::namespaced(plane.client(), HOME);
    let hosts: Api<BareMetalHost> = Api::namespaced(plane.client(), &namespace);
    let create = async |name: &str| {
        new_host(&namespace, name)
            .create(&plane.client(), &namespace)
            .await
            .unwrap();
    };
    let patch = async |name: &str, patch: serde_json::Value| {
        let patch = kube::api::Patch::Merge(patch);
        hosts.patch(name, &Default::default(), &patch).await.unwrap();
    };

    let first = Replica::start(&plane, "first", &ironic, None).await;
    let leader = wait::until("a leader", wait::LONG, async || holder(&leases).await).await;
    let second = Replica::start(&plane, "second", &ironic, None).await;
    create("a").await;
    reaches(&hosts, "a", "available").await;
    assert!(!first.acts(&plane).is_empty());
    assert_eq!(
        second.acts(&plane),
        Vec::<String>::new(),
        "the one without the lease only watches"
    );
    let everything = Rules::default().everywhere(AUTHORIZATION_GROUP, "hosts", &["list"]);
    let token = plane.account(HOME, "caller", &everything).await.unwrap().token;
    for replica in [&first, &second] {
        let listed = replica
            .bmo
            .hosts(Some(&token))
            .list_hosts(ListHostsRequest::default())
            .await
            .unwrap();
        assert_eq!(listed.into_inner().hosts.len(), 1, "any replica answers");
    }

    first.bmo.process.kill();
    let image = json!({"url": "http://images.test/a.qcow2", "checksum": "d41d8cd98f00b204e9800998ecf8427e"});
    patch("a", json!({"spec": {"image": image}})).await;
    create("b").await;
    reaches(&hosts, "a", "provisioned").await;
    reaches(&hosts, "b", "available").await;
    assert_ne!(holder(&leases).await.unwrap(), leader);
    assert_eq!(ironic.nodes().await.len(), 2);

    let acts = first.acts(&plane).len();
    first.bmo.process.restart().unwrap();
    first.bmo.ready().await;
    create("c").await;
    reaches(&hosts, "c", "available").await;
    assert_eq!(
        first.acts(&plane).len(),
        acts,
        "the one that came back does not interfere"
    );

    // Asked to end, a leader gives the lease back.
    let acts = second.bmo.process.terminate(wait::LONG).await.unwrap();
    assert!(acts.success(), "{acts}\n{}", second.bmo.process.log_end(10));
    patch("a", json!({"spec": {"image": null}})).await;
    reaches(&hosts, "a", "available").await;
    for replica in [&first, &second] {
        assert_eq!(
            plane.denied_to(&replica.account.user()).unwrap(),
            Vec::<String>::new()
        );
    }
}

/// Swallows what is about leases once it is told to.
#[derive(Default)]
struct Swallow(AtomicBool);

impl Keeper for Swallow {
    fn judge(&self, passing: &Passing) -> Fate {
        let lease = passing.target.contains("/leases");
        if lease && self.0.load(Ordering::SeqCst) {
            Fate::Vanish
        } else {
            Fate::Pass
        }
    }

    fn strike(&self, _: &Passing) {}
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_another_begins() {
    let plane = ControlPlane::start().await.unwrap();
    plane
        .install_crds(&workspace().join("charts/metal3-crds/templates"))
        .await
        .unwrap();
    let namespace = plane.namespace("hosts").await.unwrap();
    let ironic = Ironic::start().await;
    let leases: Api<Lease> = Api::namespaced(plane.client(), HOME);
    let hosts: Api<BareMetalHost> = Api::namespaced(plane.client(), &namespace);

    let swallow = Arc::new(Swallow::default());
    let ca = std::fs::read_to_string(plane.ca_file()).unwrap();
    let keeper = Arc::clone(&swallow) as Arc<dyn Keeper>;
    let gate = Gate::open(plane.address().unwrap(), Some(&ca), keeper)
        .await
        .unwrap();
    let first = Replica::start(&plane, "first", &ironic, Some(&gate)).await;
    let leader = wait::until("a leader", wait::LONG, async || holder(&leases).await).await;
    let _second = Replica::start(&plane, "second", &ironic, None).await;
    swallow.0.store(true, Ordering::SeqCst);
    wait::until("another leader", wait::LONG, async || {
        match holder(&leases).await {
            Ok(now) if now != leader => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // Everything but its lease still works for the former leader; it must not use it.
    let acts = first.acts(&plane);
    new_host(&namespace, "a")
        .create(&plane.client(), &namespace)
        .await
        .unwrap();
    reaches(&hosts, "a", "available").await;
    assert_eq!(first.acts(&plane), acts);
    wait::until("the former leader to end", wait::LONG, async || {
        first.bmo.process.ended()
    })
    .await;
}
