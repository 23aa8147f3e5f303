//! Hosts that are kept for a Cluster whose Machines are gone already: they are free when it goes.

use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::Consumer;
use metal3_testkit::events;
use serde_json::json;

use crate::lab::{INFRASTRUCTURE, Lab};
use crate::world::World;

/// A host that is kept for a Machine of a Cluster.
fn kept(lab: &Lab, host: &str, cluster: &str) {
    let namespace = lab.namespace.clone();
    lab.hosts.change(host, |host| {
        host.reuse_key = "md-d".into();
        host.consumer = Some(Consumer {
            api_version: "cluster.x-k8s.io/v1beta2".into(),
            kind: "Cluster".into(),
            namespace,
            name: cluster.into(),
            uid: String::new(),
        });
    });
}

fn is_free(lab: &Lab, host: &str) -> bool {
    lab.hosts
        .with(|world| world.hosts[host].consumer.is_none() && world.hosts[host].reuse_key.is_empty())
}

/// Namespaces of Clusters whose reservations were ended, with their names.
fn ended(lab: &Lab) -> Vec<(String, String)> {
    use metal3_rpc::v1::release_reservations_request::Scope;

    let ended = lab.hosts.with(|world| world.ended_reservations.clone());
    let of = ended.into_iter().map(|request| match request.scope.unwrap() {
        Scope::Cluster(cluster) => (request.namespace, format!("{} {}", cluster.kind, cluster.name)),
        Scope::ReuseKey(key) => (request.namespace, key),
    });
    of.collect()
}

#[tokio::test]
async fn a_cluster_that_goes_without_machines_frees_the_hosts_that_are_kept_for_it() {
    let world = World::start("reservations").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.ready_cluster("alone").await;
    kept(lab, "a", "c");

    // As Cluster API does: the infrastructure goes while the Cluster is still there.
    let keep = json!({"metadata": {"finalizers": ["test/keep"]}});
    lab.patch::<Cluster>("c", keep).await;
    lab.delete::<Cluster>("c").await;
    lab.delete::<Metal3Cluster>("c").await;
    lab.is_gone::<Metal3Cluster>("c").await;
    assert!(is_free(lab, "a"), "before the Metal3Cluster is gone");
    lab.patch::<Cluster>("c", json!({"metadata": {"finalizers": null}}))
        .await;

    // And as people do: the Cluster was gone before.
    kept(lab, "b", "alone");
    lab.delete::<Cluster>("alone").await;
    lab.is_gone::<Cluster>("alone").await;
    lab.delete::<Metal3Cluster>("alone").await;
    lab.is_gone::<Metal3Cluster>("alone").await;
    assert!(is_free(lab, "b"));
    let of = |name: &str| ("reservations".to_owned(), format!("Cluster {name}"));
    assert_eq!(ended(lab), [of("c"), of("alone")]);
}

#[tokio::test]
async fn a_cluster_waits_for_the_host_service_and_says_so_and_is_woken_when_it_answers() {
    let world = World::start("reservations-away").await;
    let lab = &world.lab;
    lab.ready_cluster("c").await;
    lab.machine("m", "c").await;
    lab.free_host("m");
    lab.claimed("m").await;
    kept(lab, "a", "c");
    lab.delete::<Metal3Cluster>("c").await;
    lab.condition_saying::<Metal3Cluster>("c", [INFRASTRUCTURE, "False", "Deleting"], "1 Machines")
        .await;
    assert_eq!(ended(lab), [], "a Machine may still come back for its host");

    let refusal = Reason::Forbidden.status("not by you", []);
    lab.hosts.with(|world| {
        world.failures.insert("ReleaseReservations", refusal);
    });
    lab.delete::<Metal3Machine>("m").await;
    lab.is_gone::<Metal3Machine>("m").await;
    lab.delete::<Machine>("m").await;
    let denied = [INFRASTRUCTURE, "False", "HostServiceDenied"];
    let message = lab
        .condition_saying::<Metal3Cluster>("c", denied, "not by you")
        .await;
    assert!(
        message.contains("they are left to their timeout at ") && message.contains("grant the provider's"),
        "{message}"
    );
    events::expect(&lab.plane.client(), &lab.namespace, "c", "HostServiceDenied").await;

    // It cannot just now: said, too, and over as soon as it is back.
    lab.hosts.with(|world| {
        let away = tonic::Status::unavailable("restarting");
        world.failures.insert("ReleaseReservations", away);
    });
    let touch = json!({"metadata": {"annotations": {"touched": "yes"}}});
    lab.patch::<Metal3Cluster>("c", touch).await;
    let unavailable = [INFRASTRUCTURE, "False", "HostServiceUnavailable"];
    lab.condition_saying::<Metal3Cluster>("c", unavailable, "cannot be freed")
        .await;
    lab.hosts.with(|world| world.failures.clear());
    lab.hosts.cut();
    lab.is_gone::<Metal3Cluster>("c").await;
    assert!(is_free(lab, "a"));
}
