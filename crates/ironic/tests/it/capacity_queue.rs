//! Room for hosts that boot from the network.

use metal3_ironic::Settings;
use metal3_ironic_sim::Config;
use metal3_provisioner::{Capacity, CapacityArgs, HostKey, InspectArgs, Provisioner as _};
use metal3_testkit::wait::{LONG, until};
use tokio::task::JoinSet;

use crate::bed::{Bed, Machine};
use crate::host::{Adapter, Host};

async fn ask(host: &Host) -> Capacity {
    host.ironic
        .capacity(&host.host, &CapacityArgs::default())
        .await
        .unwrap()
}

fn by_network(bed: &Bed, adapter: &Adapter, machine: u8) -> Host {
    let mut host = Host::new(bed, adapter, Machine(machine));
    if let Some(bmc) = &mut host.host.bmc {
        bmc.address = format!("ipmi://192.0.2.{machine}");
    }
    host
}

#[tokio::test]
async fn only_so_many_hosts_boot_from_the_network_at_once_and_the_next_is_called() {
    let bed = Bed::sim_with(Config {
        faults: vec![("hang".into(), "hang:inspect".parse().unwrap())],
        ..Config::default()
    })
    .await;
    let mut adapter = Adapter::new(Settings {
        provisioning_limit: 1,
        ..bed.settings()
    });
    let [mut first, mut second, mut third] = [1, 2, 3].map(|machine| by_network(&bed, &adapter, machine));
    let mut by_media = Host::new(&bed, &adapter, Machine(4));
    for host in [&mut first, &mut second, &mut third, &mut by_media] {
        host.register().await;
    }
    assert_eq!(ask(&first).await, Capacity::Free);
    let full = |position| Capacity::Full {
        busy: 1,
        limit: 1,
        position,
    };
    assert_eq!(
        ask(&second).await,
        full(1),
        "the place is taken before anything began"
    );
    assert_eq!(ask(&third).await, full(2));
    first
        .ironic
        .inspect(&first.host, &InspectArgs::default())
        .await
        .unwrap();
    until("the first to be busy", LONG, async || {
        let state = bed.as_sim().machine(first.node()).unwrap().provision_state;
        (state == Some("inspect wait")).then_some(())
    })
    .await;
    assert_eq!(ask(&first).await, Capacity::Free, "who is busy goes on");
    assert_eq!(ask(&second).await, full(1));
    assert_eq!(
        ask(&by_media).await,
        Capacity::Free,
        "virtual media need no network boot"
    );
    let queue = adapter.ironic.queue();
    assert_eq!((queue.waiting, queue.used, queue.limit), (2, 1, 1));

    while adapter.changes.try_recv().is_ok() {}
    bed.as_sim().clear_faults();
    until("the call of the next", LONG, async || {
        match adapter.changes.try_recv() {
            Ok(key) if key == second.host.key => Ok(()),
            // Its own changes, and those of others.
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(ask(&second).await, Capacity::Free);
    assert_eq!(ask(&third).await, full(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_that_ask_at_once_get_twenty_places() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(Settings {
        provisioning_limit: 20,
        ..bed.settings()
    });
    let mut asking = JoinSet::new();
    for index in 0..200 {
        let mut host = by_network(&bed, &adapter, 1);
        host.host.key = HostKey::new("many", format!("{index:03}"));
        asking.spawn(async move { ask(&host).await });
    }
    let answers = asking.join_all().await;
    let mut positions: Vec<u32> = answers
        .iter()
        .filter_map(|answer| match answer {
            Capacity::Free => None,
            Capacity::Full { position, .. } => Some(*position),
        })
        .collect();
    assert_eq!(positions.len(), 180);
    positions.sort_unstable();
    // Whoever came with an earlier name in the same moment moved others back.
    assert!(positions.iter().all(|position| (1..=180).contains(position)));
    assert_eq!(adapter.ironic.queue().used, 20);
}

#[tokio::test]
async fn nobody_is_let_through_before_the_nodes_are_known() {
    let bed = Bed::sim().await;
    let (ironic, _changes) = metal3_ironic::IronicProvisioner::new(bed.settings()).unwrap();
    let adapter = Adapter::new(bed.settings());
    let mut host = by_network(&bed, &adapter, 1);
    host.ironic = ironic;
    let error = host
        .ironic
        .capacity(&host.host, &CapacityArgs::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), metal3_provisioner::Kind::NotReady, "{error}");
}
