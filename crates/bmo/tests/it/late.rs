//! Two replicas, of which one learns late what happens: the watch of its hosts is held back by a gate.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kube::Api;
use kube::api::{Patch, PatchParams};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_rpc::v1::{ClaimHostRequest, Consumer, Host};
use metal3_testkit::gate::{Fate, Gate, Keeper, Passing};
use metal3_testkit::wire::Wire;
use metal3_testkit::{ControlPlane, Rules, wait};
use serde_json::{Value, json};
use tonic::Status;

use crate::ironic::Ironic;
use crate::program::{Bmo, Hosts, Launch};
use crate::world::{bmo_account, new_host, reaches};

/// What Kubernetes tells a watch that begins where nobody knows any more what happened since.
const EXPIRED: &str = concat!(
    r#"{"type": "ERROR", "object": {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "#,
    r#""reason": "Expired", "code": 410, "message": "too old resource version"}}"#
);

/// Watches of hosts may come late.
#[derive(Default)]
struct LateWatches {
    /// The next one cannot begin where the last one ended.
    expired: AtomicBool,
    /// Questions for the past.
    past: Mutex<Vec<String>>,
}

impl Keeper for LateWatches {
    fn judge(&self, passing: &Passing) -> Fate {
        let asks = |text: &str| passing.target.contains(text);
        if asks("/baremetalhosts?") && asks("resourceVersionMatch=Exact") {
            self.past.lock().unwrap().push(passing.target.clone());
        }
        if !asks("/baremetalhosts?") || !asks("watch=true") {
            Fate::Pass
        } else if self.expired.swap(false, Ordering::SeqCst) {
            Fate::Answer(EXPIRED)
        } else {
            Fate::Late
        }
    }

    fn strike(&self, _: &Passing) {}
}

pub(crate) struct Two {
    pub(crate) namespace: &'static str,
    hosts: Api<BareMetalHost>,
    pub(crate) prompt: Hosts,
    pub(crate) late: Hosts,
    pub(crate) gate: Gate,
    watches: Arc<LateWatches>,
    /// From the late replica to the gate.
    wire: Wire,
    _bmos: [Bmo; 2],
    _ironic: Ironic,
}

impl Two {
    /// Two replicas, and hosts that can be claimed.
    pub(crate) async fn start(namespace: &'static str, names: &[&str]) -> Self {
        let plane = ControlPlane::shared().await;
        let ironic = Ironic::start().await;
        let account = bmo_account(plane, namespace).await;
        let ca = std::fs::read_to_string(plane.ca_file()).unwrap();
        let watches = Arc::<LateWatches>::default();
        let keeper = Arc::clone(&watches);
        let gate = Gate::open(plane.address().unwrap(), Some(&ca), keeper).await;
        let gate = gate.unwrap();
        let wire = Wire::open(gate.url().trim_start_matches("http://").parse().unwrap()).await;
        let wire = wire.unwrap();
        let by_gate = account
            .kubeconfig_by(&format!("http://{}", wire.address()))
            .unwrap();
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
            watches,
            wire,
            _bmos: [prompt, late],
            _ironic: ironic,
        }
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(&patch);
        self.hosts
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    pub(crate) async fn pause(&self, name: &str, paused: bool) {
        let value = paused.then_some("");
        let patch = json!({"metadata": {"annotations": {names::ANNOTATION_PAUSED: value}}});
        self.patch(name, patch).await;
    }

    pub(crate) fn claim(&self, machine: &str) -> ClaimHostRequest {
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
    pub(crate) async fn hosts_of(&self, machine: &str) -> BTreeSet<String> {
        let hosts = self.hosts.list(&Default::default()).await.unwrap();
        let owned = hosts.into_iter().filter(|host| {
            let consumer = host.spec.consumer_ref.as_ref();
            consumer.and_then(|consumer| consumer.name.as_deref()) == Some(machine)
        });
        owned.filter_map(|host| host.metadata.name).collect()
    }

    /// The watch of the late replica breaks and cannot go on where it was, so that it lists all hosts.
    pub(crate) async fn relist(&self) {
        self.watches.expired.store(true, Ordering::SeqCst);
        self.wire.cut();
        wait::until("the late replica to watch again", wait::LONG, async || {
            let waits = self.watches.expired.load(Ordering::SeqCst);
            (!waits).then_some(())
        })
        .await;
    }

    /// What the late replica asked about the past.
    pub(crate) fn past(&self) -> Vec<String> {
        self.watches.past.lock().unwrap().clone()
    }

    /// Waits until the replica that is told late shows what makes this true of a host.
    pub(crate) async fn late_shows(&self, name: &str, wanted: impl Fn(&Host) -> bool) {
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

pub(crate) async fn claim(hosts: &Hosts, request: ClaimHostRequest) -> Result<String, Status> {
    let answer = hosts.clone().claim_host(request).await?;
    let host = answer.into_inner().host.and_then(|host| host.r#ref).unwrap();
    Ok(host.name)
}
