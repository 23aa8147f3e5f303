//! What many hosts cost, and who is told of changes.

use std::collections::BTreeSet;

use metal3_ironic::client::Client;
use metal3_ironic::mirror::Mirror;
use metal3_ironic_sim::{Config, Latencies};
use metal3_provisioner::{HostKey, InspectArgs, PowerTarget, Provisioner as _};
use metal3_testkit::wait::{LONG, until};
use serde_json::json;

use crate::bed::{Bed, Machine};
use crate::host::{Adapter, Host, power};

async fn fill(bed: &Bed, count: usize) {
    let http = reqwest::Client::new();
    for index in 0..count {
        let body = json!({"driver": "redfish", "name": format!("many~{index}")});
        let url = format!("{}/nodes", bed.as_sim().endpoint);
        let answer = http.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success());
    }
}

fn lists(bed: &Bed) -> u64 {
    let stats = bed.as_sim().stats();
    stats
        .iter()
        .filter(|requests| (requests.method.as_str(), requests.route) == ("GET", "nodes"))
        .map(|requests| requests.count)
        .sum()
}

#[tokio::test]
async fn a_reading_costs_a_request_per_page_and_not_per_host() {
    for (hosts, pages) in [(0, 1), (10, 1), (999, 1), (1001, 2)] {
        let bed = Bed::sim().await;
        fill(&bed, hosts).await;
        let client = Client::new(&bed.settings()).unwrap();
        let (mirror, _changes) = Mirror::new();
        client.ready().await.unwrap();
        bed.as_sim().reset_stats();
        mirror.read(&client).await.unwrap();
        assert_eq!(bed.as_sim().requests(), pages, "{hosts} hosts");
        assert_eq!(lists(&bed), pages);
    }
}

#[tokio::test]
async fn waiting_hosts_are_served_from_the_mirror() {
    let bed = Bed::sim_with(Config {
        latencies: Latencies::ZERO,
        faults: vec![("hang".into(), "hang:inspect".parse().unwrap())],
        ..Config::default()
    })
    .await;
    let adapter = Adapter::new(bed.settings());
    let mut hosts: Vec<Host> = (1..=20)
        .map(|machine| Host::new(&bed, &adapter, Machine(machine)))
        .collect();
    for host in &mut hosts {
        host.register().await;
        host.ironic
            .inspect(&host.host, &InspectArgs::default())
            .await
            .unwrap();
    }
    // Everybody polls; only the mirror asks.
    until("everybody to be known", LONG, async || {
        let before = bed.as_sim().requests() - lists(&bed);
        for host in &hosts {
            let inspection = host.ironic.inspect(&host.host, &InspectArgs::default()).await;
            inspection.map_err(|error| error.to_string())?;
        }
        let after = bed.as_sim().requests() - lists(&bed);
        if after == before {
            Ok(())
        } else {
            Err(format!("{} requests of single hosts", after - before))
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_wakes_the_host_it_is_about() {
    let bed = Bed::sim().await;
    let mut adapter = Adapter::new(bed.settings());
    let mut hosts: Vec<Host> = (1..=3)
        .map(|machine| Host::new(&bed, &adapter, Machine(machine)))
        .collect();
    for host in &mut hosts {
        host.register().await;
    }
    let quiet = |woken: &mut tokio::sync::mpsc::Receiver<HostKey>| {
        let mut keys = BTreeSet::new();
        while let Ok(key) = woken.try_recv() {
            keys.insert(key.name);
        }
        keys
    };
    // The aftermath of the registrations.
    until("silence", LONG, async || {
        let before = lists(&bed);
        until("two readings", LONG, async || {
            (lists(&bed) >= before + 2).then_some(())
        })
        .await;
        let woken = quiet(&mut adapter.changes);
        if woken.is_empty() {
            Ok(())
        } else {
            Err(format!("{woken:?}"))
        }
    })
    .await;

    // Our own write: the host that waits is told of its end, nobody else.
    hosts[1]
        .ironic
        .set_power(&hosts[1].host, &power(PowerTarget::On))
        .await
        .unwrap();
    let key = until("news", LONG, async || adapter.changes.try_recv()).await;
    assert_eq!(key, hosts[1].host.key);

    // Somebody else's: the power button.
    assert!(bed.as_sim().press_power(hosts[2].node(), true));
    let key = until("news", LONG, async || match adapter.changes.try_recv() {
        Ok(key) if key == hosts[1].host.key => Err("the first host once more".to_owned()),
        other => other.map_err(|error| error.to_string()),
    })
    .await;
    assert_eq!(key, hosts[2].host.key);

    // A node that vanishes.
    bed.as_sim().wipe();
    let mut woken = BTreeSet::new();
    until("news of all", LONG, async || {
        woken.extend(quiet(&mut adapter.changes));
        if woken.len() == hosts.len() {
            Ok(())
        } else {
            Err(format!("{woken:?}"))
        }
    })
    .await;
}
