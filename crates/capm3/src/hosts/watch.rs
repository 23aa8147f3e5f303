//! Follows the hosts and wakes machines, and says when the service cannot be reached.

use std::time::Instant;

use metal3_rpc::client::describe;
use metal3_rpc::v1::WatchHostsRequest;
use metal3_rpc::watch::{Event, HostWatch, Lost, News};
use tokio_util::sync::CancellationToken;

use super::Hosts;
use super::freed::Freed;
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
                    tell(wake, &freed, &waking);
                }
            }
            Event::News(News::Synced) => {
                if link.up() {
                    tracing::info!("hosts are followed");
                }
                waking.service_back();
                waking.hosts_anew();
            }
            Event::Lost(lost) => {
                if disconnected(&link, &lost) {
                    waking.hosts_anew();
                }
            }
        }
    }
}

fn tell(wake: Wake, freed: &Freed, waking: &Wakes) {
    match wake {
        Wake::Machine(key) => waking.machine(key),
        Wake::Labels(key) => waking.labels(key),
        Wake::Offered {
            host,
            reuse_key,
            revision,
        } => {
            // Before anybody claims because of it.
            freed.told(&host.namespace, revision, Instant::now());
            waking.host_offered(&host, &reuse_key);
        }
        Wake::Withdrawn(host) => waking.host_withdrawn(&host),
        Wake::NotAwaited {
            namespace,
            reuse_key,
            revision,
        } => {
            freed.told(&namespace, revision, Instant::now());
            waking.host_not_awaited(&namespace, &reuse_key);
        }
    }
}

/// Tells whether that is news.
fn disconnected(link: &Link, lost: &Lost) -> bool {
    let error = describe(&lost.status);
    let code = lost.status.code();
    tracing::warn!(?code, error, again = ?lost.again, "no stream of hosts; it is opened again");
    if lost.unreachable() {
        link.unreachable(&error)
    } else {
        link.broken()
    }
}
