//! Flags that only a running provider can show to have an effect.

use k8s_openapi::api::coordination::v1::Lease;
use metal3_testkit::wait;

use crate::world::World;

#[tokio::test]
async fn times_of_the_election_are_those_of_the_flags_and_with_a_sync_period_everything_is_looked_at_anew() {
    let flags = [
        "--leader-elect=true",
        "--leader-elect-lease-duration=42s",
        "--leader-elect-renew-deadline=30s",
        "--leader-elect-retry-period=100ms",
        "--sync-period=1s",
    ];
    let world = World::with_flags("flags", &flags).await;
    let lab = &world.lab;
    let held = wait::until("a lease", wait::LONG, async || {
        let lease = lab.api::<Lease>().get("controller-leader-election-capm3").await;
        let spec = lease.map_err(|error| error.to_string())?.spec;
        spec.ok_or_else(|| "empty".to_owned())
    })
    .await;
    assert_eq!(held.lease_duration_seconds, Some(42));
    lab.free_host("h");
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.machine("m", "c").await;
    lab.becomes_a_node("m").await;
    let looks = || {
        let log = lab.hosts.with(|world| world.log.clone());
        log.iter().filter(|call| *call == "GetHost").count()
    };
    let before = looks();
    wait::until(
        "looks at a machine at which nothing changes",
        wait::LONG,
        async || {
            let since = looks() - before;
            if since >= 5 {
                Ok(())
            } else {
                Err(since.to_string())
            }
        },
    )
    .await;
}
