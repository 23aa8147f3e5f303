//! Replicas that share the clusters among them: none is looked at by two, and none is left alone when a replica dies.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::ListParams;
use metal3_testkit::{ControlPlane, wait};

use crate::hosts::Hosts;
use crate::lab::Lab;
use crate::leader::Replica;
use crate::program::Place;

const FLAGS: [&str; 3] = [
    "--leader-elect=true",
    "--shards=4",
    "--leader-elect-retry-period=200ms",
];
const CLUSTERS: usize = 8;

/// How many shards each replica has, by its name in the Leases.
async fn shares(lab: &Lab) -> Result<BTreeMap<String, usize>, String> {
    let leases = lab.api::<Lease>().list(&ListParams::default()).await;
    let mut shares = BTreeMap::new();
    for lease in leases.map_err(|error| error.to_string())? {
        let name = lease.name_any();
        assert!(
            name.starts_with("controller-leader-election-capm3-") && name.ends_with("-of-4"),
            "{name}"
        );
        let holder = lease
            .spec
            .and_then(|spec| spec.holder_identity)
            .unwrap_or_default();
        *shares.entry(holder).or_default() += 1;
    }
    Ok(shares)
}

/// Waits until the replicas have so many each; answers who has.
async fn shared(lab: &Lab, wanted: &[usize]) -> Vec<String> {
    wait::until(&format!("shares of {wanted:?}"), wait::LONG, async || {
        let shares = shares(lab).await?;
        if shares.values().eq(wanted) && !shares.contains_key("") {
            Ok(shares.into_keys().collect())
        } else {
            Err(format!("{shares:?}"))
        }
    })
    .await
}

/// Machines of a generation, one in each cluster, until all have a host.
async fn machines(lab: &Lab, generation: &str) {
    let names: Vec<_> = (0..CLUSTERS)
        .map(|n| (format!("{generation}-{n}"), format!("c{n}")))
        .collect();
    for (name, cluster) in &names {
        lab.free_host(name);
        lab.machine(name, cluster).await;
    }
    for (name, _) in &names {
        lab.claimed(name).await;
    }
}

/// The Metal3Machines of a generation that a replica wrote.
fn wrote(plane: &ControlPlane, replica: &Replica, generation: &str) -> BTreeSet<String> {
    let names = (0..CLUSTERS).map(|n| format!("{generation}-{n}"));
    let acts = replica.acts(plane);
    let written = |name: &String| {
        acts.iter()
            .any(|act| act.contains(&format!("/metal3machines/{name}")))
    };
    names.filter(written).collect()
}

#[tokio::test]
async fn replicas_share_the_clusters_and_stand_in_for_one_that_dies() {
    let plane = ControlPlane::shared().await;
    plane.namespace("shards").await.unwrap();
    let (place, hosts) = (Place::new(), Hosts::new("shards"));
    let _serving = place.open(&hosts).await;
    let lab = Lab::new(plane, "shards", hosts);
    let first = Replica::start(&lab, "first", &place, &FLAGS).await;
    let alone = shared(&lab, &[4]).await;
    for n in 0..CLUSTERS {
        lab.ready_cluster(&format!("c{n}")).await;
    }
    machines(&lab, "alone").await;
    assert_eq!(wrote(plane, &first, "alone").len(), CLUSTERS);

    // One that comes gets its share.
    let second = Replica::start(&lab, "second", &place, &FLAGS).await;
    let both = shared(&lab, &[2, 2]).await;
    assert!(both.contains(&alone[0]), "{both:?} {alone:?}");
    machines(&lab, "both").await;
    let (by_first, by_second) = (wrote(plane, &first, "both"), wrote(plane, &second, "both"));
    assert!(
        !by_first.is_empty() && !by_second.is_empty(),
        "{by_first:?} {by_second:?}"
    );
    assert_eq!(
        by_first.intersection(&by_second).count(),
        0,
        "{by_first:?} {by_second:?}"
    );
    assert_eq!(by_first.len() + by_second.len(), CLUSTERS);

    // One that dies is stood in for, and one that comes back gets its share again.
    first.capm3.process.kill();
    machines(&lab, "other").await;
    assert_eq!(wrote(plane, &second, "other").len(), CLUSTERS);
    let other = shared(&lab, &[4]).await;
    assert!(both.contains(&other[0]) && other != alone, "{other:?} {alone:?}");
    first.capm3.process.restart().unwrap();
    first.capm3.ready().await;
    shared(&lab, &[2, 2]).await;
    machines(&lab, "again").await;

    // Asked to end, a replica gives all that it has back.
    let ended = second.capm3.process.terminate(wait::LONG).await.unwrap();
    assert!(ended.success(), "{ended}\n{}", second.capm3.process.log_end(10));
    shared(&lab, &[4]).await;
    let mut granted = lab.hosts.with(|hosts| hosts.granted.clone());
    granted.sort();
    granted.dedup_by(|a, b| a.1 == b.1);
    assert_eq!(
        granted.len(),
        4 * CLUSTERS,
        "one host for each, whoever looks at it"
    );
    for replica in [&first, &second] {
        replica.capm3.was_well(plane, &replica.account);
    }
}
