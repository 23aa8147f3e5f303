//! Nodes of hosts that do not exist.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metal3_ironic::Settings;
use metal3_provisioner::HostKey;
use metal3_testkit::wait::{LONG, until};

use crate::bed::{Bed, Machine};
use crate::host::{Adapter, Host};

#[tokio::test]
async fn a_node_without_a_host_is_told_and_taken_over_by_one_of_its_name() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(Settings {
        orphan_grace: Duration::ZERO,
        ..bed.settings()
    });
    let hosts = Arc::new(Mutex::new(BTreeSet::<HostKey>::new()));
    let mut lost = Host::new(&bed, &adapter, Machine(1));
    let mut kept = Host::new(&bed, &adapter, Machine(2));
    hosts.lock().unwrap().insert(kept.host.key.clone());
    for host in [&mut lost, &mut kept] {
        host.register().await;
    }
    assert!(
        adapter.ironic.orphans().is_empty(),
        "nobody said which hosts there are"
    );
    let known = Arc::clone(&hosts);
    adapter
        .ironic
        .set_known(Arc::new(move |key| known.lock().unwrap().contains(key)));
    let orphans = until("the orphan", LONG, async || {
        let orphans = adapter.ironic.orphans();
        if orphans.is_empty() {
            Err("none")
        } else {
            Ok(orphans)
        }
    })
    .await;
    let [orphan] = &orphans[..] else {
        panic!("{orphans:?}");
    };
    assert_eq!((&orphan.key, orphan.node.as_str()), (&lost.host.key, lost.node()));
    assert_eq!(orphan.provision_state, "manageable");
    assert!(adapter.ironic.is_orphan(lost.node()) && !adapter.ironic.is_orphan(kept.node()));

    // The host is made again: it is the node's.
    let node = lost.host.node.take();
    hosts.lock().unwrap().insert(lost.host.key.clone());
    lost.register().await;
    assert_eq!(lost.id(), node);
    until("no orphan", LONG, async || {
        adapter.ironic.orphans().is_empty().then_some(())
    })
    .await;
}
