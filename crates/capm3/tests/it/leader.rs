//! Two replicas: one acts, both convert, and the other goes on when one dies.

use k8s_openapi::api::coordination::v1::Lease;
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_testkit::audit::Request;
use metal3_testkit::{Account, ControlPlane, wait};

use crate::hosts::Hosts;
use crate::lab::Lab;
use crate::program::{Capm3, Launch, Place, token_file};
use crate::world::account;

pub(crate) struct Replica {
    pub(crate) account: Account,
    pub(crate) capm3: Capm3,
}

impl Replica {
    pub(crate) async fn start(lab: &Lab, name: &str, place: &Place, flags: &[&str]) -> Self {
        let account = account(lab.plane, &lab.namespace, name).await;
        let launch = Launch {
            kubeconfig: &account.kubeconfig,
            token: &token_file(lab.plane, &account).await,
            watch: &lab.namespace,
            home: &lab.namespace,
            place,
            flags,
        };
        let capm3 = launch.start();
        capm3.ready().await;
        Self { account, capm3 }
    }

    /// What it changed, apart from leases.
    pub(crate) fn acts(&self, plane: &ControlPlane) -> Vec<String> {
        let changes = |request: &Request| {
            let object = request.object_ref.as_ref();
            let resource = object.map_or("", |object| object.resource.as_str());
            ["create", "update", "patch", "delete"].contains(&request.verb.as_str())
                && !["leases", "selfsubjectaccessreviews"].contains(&resource)
        };
        let requests = plane.requests_of(&self.account.user()).unwrap();
        requests
            .iter()
            .filter(|request| changes(request))
            .map(|request| format!("{} {}", request.verb, request.uri))
            .collect()
    }
}

async fn holder(lab: &Lab) -> Result<String, String> {
    let lease = lab.api::<Lease>().get("controller-leader-election-capm3").await;
    let spec = lease.map_err(|error| error.to_string())?.spec;
    spec.and_then(|spec| spec.holder_identity)
        .filter(|holder| !holder.is_empty())
        .ok_or_else(|| "nobody".to_owned())
}

#[tokio::test]
async fn one_replica_acts_and_the_other_goes_on_when_it_dies() {
    let plane = ControlPlane::shared().await;
    plane.namespace("leader").await.unwrap();
    let (place, hosts) = (Place::new(), Hosts::new("leader"));
    let _serving = place.open(&hosts).await;
    let lab = Lab::new(plane, "leader", hosts);
    for host in ["a", "b", "c"] {
        lab.free_host(host);
    }
    let flags = ["--leader-elect=true"];
    let first = Replica::start(&lab, "first", &place, &flags).await;
    let leader = wait::until("a leader", wait::LONG, async || holder(&lab).await).await;
    let second = Replica::start(&lab, "second", &place, &flags).await;
    lab.ready_cluster("c").await;
    lab.kubeconfig_secret("c").await;
    lab.machine("m", "c").await;
    lab.machine("n", "c").await;
    lab.becomes_a_node("m").await;
    assert!(!first.acts(plane).is_empty());
    assert_eq!(
        second.acts(plane),
        Vec::<String>::new(),
        "the one without the lease only watches"
    );
    let (code, text) = second.capm3.readyz().await.unwrap();
    assert!(
        code == 200 && text.contains("[+]webhooks"),
        "any replica converts: {text}"
    );

    // The other one takes over a machine in the middle of its way, and one that is new.
    let claimed = lab.claimed("n").await;
    first.capm3.process.kill();
    lab.machine("o", "c").await;
    lab.becomes_a_node("n").await;
    lab.claimed("o").await;
    assert_eq!(lab.claimed("n").await, claimed);
    assert_ne!(holder(&lab).await.unwrap(), leader);
    assert!(!second.acts(plane).is_empty());

    let acts = first.acts(plane).len();
    first.capm3.process.restart().unwrap();
    first.capm3.ready().await;
    lab.delete::<Metal3Machine>("m").await;
    lab.is_gone::<Metal3Machine>("m").await;
    assert_eq!(
        first.acts(plane).len(),
        acts,
        "the one that came back does not interfere"
    );

    // Asked to end, a leader gives the lease back.
    let ended = second.capm3.process.terminate(wait::LONG).await.unwrap();
    assert!(ended.success(), "{ended}\n{}", second.capm3.process.log_end(10));
    lab.delete::<Metal3Machine>("o").await;
    lab.is_gone::<Metal3Machine>("o").await;
    lab.condition::<Metal3Cluster>("c", "Ready", "True", "Ready")
        .await;
    let mut consumers: Vec<_> = lab
        .hosts
        .with(|hosts| hosts.granted.clone())
        .into_iter()
        .map(|(_, consumer)| consumer)
        .collect();
    consumers.sort();
    assert_eq!(consumers, ["m", "n", "o"], "one host for each, whoever leads");
    for replica in [&first, &second] {
        replica.capm3.was_well(plane, &replica.account);
    }
}
