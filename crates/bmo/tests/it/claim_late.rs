//! Claims at two replicas, of which one learns late what happens: the watch of its hosts is held back by a gate.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::Api;
use kube::api::{Patch, PatchParams};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{ClaimHostRequest, Consumer, Host, Selector, WatchHostsRequest};
use metal3_testkit::gate::{Fate, Gate, Keeper, Passing};
use metal3_testkit::{ControlPlane, Rules, wait};
use serde_json::{Value, json};
use tonic::{Status, Streaming};

use crate::ironic::Ironic;
use crate::program::{Bmo, Hosts, Launch};
use crate::world::{bmo_account, new_host, reaches};

/// Watches of hosts may come late.
struct LateWatches;

impl Keeper for LateWatches {
    fn judge(&self, passing: &Passing) -> Fate {
        let watch = passing.target.contains("/baremetalhosts?") && passing.target.contains("watch=true");
        if watch { Fate::Late } else { Fate::Pass }
    }

    fn strike(&self, _: &Passing) {}
}

struct Two {
    namespace: &'static str,
    hosts: Api<BareMetalHost>,
    prompt: Hosts,
    late: Hosts,
    gate: Gate,
    _bmos: [Bmo; 2],
    _ironic: Ironic,
}

impl Two {
    /// Two replicas, and hosts that can be claimed.
    async fn start(namespace: &'static str, names: &[&str]) -> Self {
        let plane = ControlPlane::shared().await;
        let ironic = Ironic::start().await;
        let account = bmo_account(plane, namespace).await;
        let ca = std::fs::read_to_string(plane.ca_file()).unwrap();
        let gate = Gate::open(plane.address().unwrap(), Some(&ca), Arc::new(LateWatches)).await;
        let gate = gate.unwrap();
        let by_gate = account.kubeconfig_by(gate.url()).unwrap();
        let endpoint = ironic.endpoint();
        let launch = |kubeconfig| Launch {
            kubeconfig,
            watch: namespace,
            home: namespace,
            ironic: &endpoint,
            leader_election: true,
        };
        let prompt = launch(&account.kubeconfig).start();
        prompt.ready().await;
        let hosts: Api<BareMetalHost> = Api::namespaced(plane.client(), namespace);
        for name in names {
            let host = new_host(namespace, name);
            host.create(&plane.client(), namespace).await.unwrap();
        }
        for name in names {
            reaches(&hosts, name, "available").await;
        }
        // The first one leads by now.
        let late = launch(&by_gate).start();
        late.ready().await;
        let rules = Rules::default().inside("host.metal3.io", "hosts", &["claim", "watch", "get"]);
        let caller = plane.account(namespace, "caller", &rules).await.unwrap();
        Self {
            namespace,
            hosts,
            prompt: prompt.hosts(Some(&caller.token)),
            late: late.hosts(Some(&caller.token)),
            gate,
            _bmos: [prompt, late],
            _ironic: ironic,
        }
    }

    async fn patch(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(&patch);
        self.hosts
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn pause(&self, name: &str, paused: bool) {
        let value = paused.then_some("");
        let patch = json!({"metadata": {"annotations": {names::ANNOTATION_PAUSED: value}}});
        self.patch(name, patch).await;
    }

    fn claim(&self, machine: &str) -> ClaimHostRequest {
        ClaimHostRequest {
            namespace: self.namespace.into(),
            consumer: Some(Consumer {
                api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
                kind: "Metal3Machine".into(),
                namespace: self.namespace.into(),
                name: machine.into(),
                uid: format!("uid-of-{machine}"),
            }),
            ..Default::default()
        }
    }

    /// The hosts of a machine as Kubernetes has them.
    async fn hosts_of(&self, machine: &str) -> BTreeSet<String> {
        let hosts = self.hosts.list(&Default::default()).await.unwrap();
        let owned = hosts.into_iter().filter(|host| {
            let consumer = host.spec.consumer_ref.as_ref();
            consumer.and_then(|consumer| consumer.name.as_deref()) == Some(machine)
        });
        owned.filter_map(|host| host.metadata.name).collect()
    }

    /// Waits until the replica that is told late shows what makes this true of a host.
    async fn late_shows(&self, name: &str, wanted: impl Fn(&Host) -> bool) {
        let host = Some(metal3_rpc::v1::HostRef::named(self.namespace, name));
        wait::until("the late replica to know", wait::LONG, async || {
            let request = metal3_rpc::v1::GetHostRequest { host: host.clone() };
            let answer = self.late.clone().get_host(request).await;
            let host = answer
                .map_err(|status| status.to_string())?
                .into_inner()
                .host
                .unwrap();
            if wanted(&host) {
                Ok(())
            } else {
                Err(format!("{host:?}"))
            }
        })
        .await;
    }
}

async fn claim(hosts: &Hosts, request: ClaimHostRequest) -> Result<String, Status> {
    let answer = hosts.clone().claim_host(request).await?;
    let host = answer.into_inner().host.and_then(|host| host.r#ref).unwrap();
    Ok(host.name)
}

#[tokio::test]
async fn a_machine_has_one_host_whichever_replica_it_asks_and_however_late_that_one_is_told() {
    let two = Two::start("claim-late", &["a", "b", "c"]).await;
    // The late replica knows of one free host only, and then of nothing new.
    for name in ["b", "c"] {
        two.pause(name, true).await;
        two.late_shows(name, |host| host.paused_by.is_some()).await;
    }
    two.gate.hold(true);
    for name in ["b", "c"] {
        two.pause(name, false).await;
    }
    two.pause("a", true).await;
    // The prompt replica is told in the order in which it happened.
    let first = wait::until("the prompt replica to know", wait::LONG, async || {
        match claim(&two.prompt, two.claim("m")).await {
            Ok(name) => Ok(name),
            Err(status) => Err(status.to_string()),
        }
    })
    .await;
    assert_ne!(first, "a");
    two.pause("a", false).await;

    let (late, request) = (two.late.clone(), two.claim("m"));
    let second = tokio::spawn(async move { claim(&late, request).await });
    wait::until("a second host to be claimed", wait::LONG, async || {
        let hosts = two.hosts_of("m").await;
        if hosts.len() == 2 {
            Ok(())
        } else {
            Err(format!("{hosts:?}"))
        }
    })
    .await;
    assert_eq!(
        claim(&two.prompt, two.claim("m")).await.unwrap(),
        first,
        "asked again"
    );
    two.gate.hold(false);
    assert_eq!(second.await.unwrap().unwrap(), first);
    for hosts in [&two.prompt, &two.late] {
        assert_eq!(claim(hosts, two.claim("m")).await.unwrap(), first);
    }
    assert_eq!(two.hosts_of("m").await, BTreeSet::from([first]));
}

/// What makes a host claimable.
struct Way {
    name: &'static str,
    before: Value,
    after: Value,
}

fn ways() -> [Way; 5] {
    let annotation = |name: &str, value: Value| json!({"metadata": {"annotations": {name: value}}});
    let reserved = |end: &str| {
        json!({
            "metadata": {
                "labels": {names::LABEL_NODE_REUSE: "md-x"},
                "annotations": {names::ANNOTATION_RESERVED_UNTIL: end},
            },
            "spec": {"consumerRef": {
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "namespace": "claim-woken", "name": "c",
            }},
        })
    };
    [
        Way {
            name: "unpaused",
            before: annotation(names::ANNOTATION_PAUSED, json!("")),
            after: annotation(names::ANNOTATION_PAUSED, Value::Null),
        },
        Way {
            name: "healthy",
            before: annotation(names::ANNOTATION_UNHEALTHY, json!("")),
            after: annotation(names::ANNOTATION_UNHEALTHY, Value::Null),
        },
        Way {
            name: "labelled",
            before: json!({"metadata": {"labels": {"way": "none"}}}),
            after: json!({"metadata": {"labels": {"way": "labelled"}}}),
        },
        Way {
            name: "released",
            before: json!({"spec": {"consumerRef": {
                "apiVersion": "example.com/v1", "kind": "Job", "namespace": "claim-woken", "name": "j",
            }}}),
            after: json!({"spec": {"consumerRef": null}}),
        },
        Way {
            name: "expired",
            before: reserved("2099-01-01T00:00:00Z"),
            // The sweep of reservations frees it.
            after: annotation(names::ANNOTATION_RESERVED_UNTIL, json!("2026-01-01T00:00:00Z")),
        },
    ]
}

async fn next(
    stream: &mut Streaming<metal3_rpc::v1::WatchHostsResponse>,
) -> metal3_rpc::v1::WatchHostsResponse {
    tokio::time::timeout(wait::LONG, stream.message())
        .await
        .expect("nothing came")
        .unwrap()
        .expect("the stream ended")
}

fn claimable(host: &Host, way: &str) -> bool {
    host.labels.get("way").is_some_and(|label| label == way)
        && host.provisioning_state == "available"
        && host.consumer.is_none()
        && host.paused_by.is_none()
        && !host.unhealthy
}

#[tokio::test]
async fn who_is_woken_by_a_watch_gets_the_host_at_any_replica() {
    let names: Vec<&str> = ways().iter().map(|way| way.name).collect();
    let two = Two::start("claim-woken", &names).await;
    let wish = |way: &str, seen: &str| ClaimHostRequest {
        selector: Some(Selector {
            match_labels: [("way".into(), way.into())].into(),
            ..Default::default()
        }),
        seen_revision: seen.into(),
        ..two.claim(&format!("m-{way}"))
    };
    for way in ways() {
        two.patch(way.name, json!({"metadata": {"labels": {"way": way.name}}}))
            .await;
        two.patch(way.name, way.before).await;
        two.late_shows(way.name, |host| {
            !claimable(host, way.name) && host.labels.contains_key("way")
        })
        .await;
    }
    let request = WatchHostsRequest {
        namespaces: vec![two.namespace.into()],
        ..Default::default()
    };
    let mut stream = two
        .prompt
        .clone()
        .watch_hosts(request)
        .await
        .unwrap()
        .into_inner();
    while next(&mut stream).await.r#type() != Type::Synced {}
    for way in ways() {
        two.gate.hold(true);
        two.patch(way.name, way.after).await;
        let seen = loop {
            let told = next(&mut stream).await.host;
            if let Some(host) = told.filter(|host| claimable(host, way.name)) {
                break host.revision;
            }
        };
        let refused = claim(&two.late, wish(way.name, "")).await.unwrap_err();
        assert_eq!(
            Reason::of(&refused),
            Some(Reason::NoHostAvailable),
            "{}: {refused}",
            way.name
        );
        let (late, request) = (two.late.clone(), wish(way.name, &seen));
        let claimed = tokio::spawn(async move { claim(&late, request).await });
        two.gate.hold(false);
        assert_eq!(claimed.await.unwrap().unwrap(), way.name);
        let again = claim(&two.prompt, wish(way.name, "")).await.unwrap();
        assert_eq!(again, way.name);
    }
}
