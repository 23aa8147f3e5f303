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
    let mut stream = HostWatch::new(hosts.client.clone(), request, Known::of);
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = shutdown.cancelled() => return,
        };
        heard(event, &hosts, &waking);
    }
}

fn heard(event: Event<Known>, hosts: &Hosts, waking: &Wakes) {
    match event {
        Event::News(News::Changed { key, before, after }) => {
            let woken = wakes(before.as_deref(), after.as_deref());
            // Before anybody looks because of it.
            hosts.view.told(key, after);
            for wake in woken {
                tell(wake, &hosts.freed, waking);
            }
        }
        Event::News(News::Synced) => {
            if hosts.link.up() {
                tracing::info!("hosts are followed");
            }
            waking.service_back();
            waking.hosts_anew();
        }
        Event::Lost(lost) => {
            if disconnected(&hosts.link, &lost) {
                waking.hosts_anew();
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use metal3_capm3_core::machine::Wish;
    use metal3_kit::lease::Leadership;
    use metal3_kit::probes::Readiness;
    use metal3_rpc::client::{Config, HostClient};
    use prometheus_client::metrics::gauge::Gauge;
    use tonic::Status;

    use super::super::link::Link;
    use super::*;
    use crate::objects::Key;

    #[tokio::test]
    async fn one_of_those_who_wait_asks_when_the_stream_breaks_and_when_it_is_back() {
        let link = Link::new(Readiness::default().note("host-service"), Gauge::default());
        let hosts = Hosts::new(HostClient::new(&Config::new("http://127.0.0.1:1")).unwrap(), link);
        let (waking, mut woken) = Wakes::new(Leadership::always());
        let machines = ["m", "n"].map(|name| Key::new("ns", name));
        let ask = |machine: &Key| {
            waking.asks_for_host(machine, &Wish::default());
            waking.found_no_host(machine);
        };
        machines.iter().for_each(ask);
        let lost = || {
            Event::Lost(Lost {
                status: Status::unavailable("gone"),
                was_open: true,
                again: Duration::ZERO,
            })
        };
        let steps = [
            ("there for the first time", Event::News(News::Synced), true),
            ("broken", lost(), true),
            ("still broken", lost(), false),
            ("back", Event::News(News::Synced), true),
        ];
        for (what, event, asks) in steps {
            heard(event, &hosts, &waking);
            let called = std::iter::from_fn(|| woken.machines.try_recv().ok()).collect::<Vec<_>>();
            assert_eq!(called, machines[..usize::from(asks)], "{what}");
            called.iter().for_each(ask);
        }
    }
}
