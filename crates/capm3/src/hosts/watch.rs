//! Follows the hosts and wakes machines, and says when the service cannot be reached.

use std::time::Instant;

use metal3_rpc::client::describe;
use metal3_rpc::v1::WatchHostsRequest;
use metal3_rpc::watch::{Event, HostWatch, Lost, News};
use tokio_util::sync::CancellationToken;

use super::Hosts;
use super::link::Link;
use super::track::{Known, Wake, wakes};
use crate::wake::Wakes;

/// Follows all hosts until shutdown; being disconnected is never the end.
pub(crate) async fn follow(hosts: Hosts, namespace: String, waking: Wakes, shutdown: CancellationToken) {
    let Hosts {
        client,
        link,
        freed,
        labels,
    } = hosts;
    let request = WatchHostsRequest {
        namespaces: Some(namespace)
            .filter(|namespace| !namespace.is_empty())
            .into_iter()
            .collect(),
        // Any: a host that is kept for a machine to come has a Cluster for a consumer.
        consumer_kind: String::new(),
        // Each cluster may ask for others, and for more at any time.
        label_prefixes: Vec::new(),
        from_revision: String::new(),
    };
    let mut hosts = HostWatch::new(client, request, Known::of);
    loop {
        let event = tokio::select! {
            event = hosts.next() => event,
            () = shutdown.cancelled() => return,
        };
        match event {
            Event::News(News::Changed { key, before, after }) => {
                labels.told(key, after.as_ref().and_then(|after| after.lent.clone()));
                for wake in wakes(before.as_deref(), after.as_deref()) {
                    match wake {
                        Wake::Machine(key) => waking.machine(key),
                        Wake::Labels(key) => waking.labels(key),
                        Wake::Freed { namespace, revision } => {
                            // Before anybody claims because of it.
                            freed.told(&namespace, revision, Instant::now());
                            waking.host_freed(&namespace);
                        }
                    }
                }
            }
            Event::News(News::Synced) => {
                if link.up() {
                    tracing::info!("hosts are followed");
                }
                waking.service_back();
            }
            Event::Lost(lost) => disconnected(&link, &lost),
        }
    }
}

fn disconnected(link: &Link, lost: &Lost) {
    let error = describe(&lost.status);
    let code = lost.status.code();
    tracing::warn!(?code, error, again = ?lost.again, "no stream of hosts; it is opened again");
    if lost.unreachable() {
        link.unreachable(&error);
    } else {
        link.broken();
    }
}
