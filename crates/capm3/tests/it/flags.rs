//! Flags that only a running provider can show to have an effect.

use std::collections::BTreeSet;

use k8s_openapi::api::coordination::v1::Lease;
use metal3_testkit::{http, port, wait};

use crate::lab::Lab;
use crate::world::World;

/// Passes over Metal3Machines so far.
async fn passes(metrics: &str) -> u64 {
    let (_, text) = http::get(metrics).await.unwrap();
    let lines = text.lines();
    let counts = lines
        .filter(|line| line.starts_with(r#"controller_runtime_reconcile_total{controller="metal3machine""#));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

async fn lease(lab: &Lab) -> Lease {
    wait::until("a lease", wait::LONG, async || {
        let lease = lab.api::<Lease>().get("controller-leader-election-capm3").await;
        let lease = lease.map_err(|error| error.to_string())?;
        let held = lease.spec.is_some();
        held.then_some(lease).ok_or_else(|| "empty".to_owned())
    })
    .await
}

#[tokio::test]
async fn times_of_the_election_are_those_of_the_flags_and_with_a_sync_period_everything_is_looked_at_anew() {
    let address = format!("127.0.0.1:{}", port::free().unwrap());
    let flags = [
        "--leader-elect=true",
        "--leader-elect-lease-duration=42s",
        "--leader-elect-renew-deadline=30s",
        "--leader-elect-retry-period=100ms",
        "--sync-period=1s",
        "--diagnostics-address",
        &address,
        "--insecure-diagnostics",
    ];
    let world = World::with_flags("flags", &flags).await;
    let lab = &world.lab;
    let held = lease(lab).await.spec.unwrap();
    assert_eq!(held.lease_duration_seconds, Some(42));
    lab.free_host("h");
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.machine("m", "c").await;
    lab.becomes_a_node("m").await;

    let metrics = format!("http://{address}/metrics");
    let before = passes(&metrics).await;
    let mut renewals = BTreeSet::new();
    wait::until(
        "looks at a machine at which nothing changes",
        wait::LONG,
        async || {
            renewals.insert(lease(lab).await.metadata.resource_version);
            let since = passes(&metrics).await - before;
            if since >= 5 {
                Ok(())
            } else {
                Err(since.to_string())
            }
        },
    )
    .await;
    // By default it would be renewed at each second of them.
    assert!(renewals.len() > 5, "{renewals:?}");
}
