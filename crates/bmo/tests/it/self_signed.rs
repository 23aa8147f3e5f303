//! The certificate that bmo makes itself: from nothing, under the rights of the chart for this, and shared by replicas.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use metal3_rpc::AUTHORIZATION_GROUP;
use metal3_rpc::v1::ListHostsRequest;
use metal3_rpc::v1::host_service_client::HostServiceClient;
use metal3_testkit::{Account, ControlPlane, Rules, wait, workspace};
use serde_json::json;

use crate::ironic::Ironic;
use crate::program::{Bearer, Bmo, Hosts, Launch};

const SECRET: &str = "baremetal-operator-host-service-cert";
const AUTHORITY: &str = "baremetal-operator-host-service-cert-ca";
const CALLERS: &str = "baremetal-operator-host-service-ca";

/// The rights besides those of any bmo.
fn own_rules() -> Rules {
    let rbac = workspace().join("charts/metal3-bmo/rbac");
    let rules = Rules::read(
        &rbac.join("cluster-rules.yaml"),
        &rbac.join("self-signed-rules.yaml"),
    );
    Rules {
        cluster: Vec::new(),
        ..rules.unwrap()
    }
}

struct World {
    plane: &'static ControlPlane,
    namespace: &'static str,
    ironic: Ironic,
}

impl World {
    async fn new(namespace: &'static str) -> Self {
        let plane = ControlPlane::shared().await;
        plane.namespace(namespace).await.unwrap();
        let ironic = Ironic::start().await;
        Self {
            plane,
            namespace,
            ironic,
        }
    }

    async fn account(&self, name: &str) -> Account {
        let mut rules = Rules::of_chart("metal3-bmo").unwrap();
        rules.namespace.extend(own_rules().namespace);
        self.plane.account(self.namespace, name, &rules).await.unwrap()
    }

    fn start(&self, account: &Account) -> Bmo {
        let launch = Launch {
            kubeconfig: &account.kubeconfig,
            watch: self.namespace,
            home: self.namespace,
            ironic: &self.ironic.endpoint(),
            leader_election: true,
        };
        let flag = format!("--grpc-cert-secret={SECRET}");
        launch.start_with(&[&flag])
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.plane.client(), self.namespace)
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.plane.client(), self.namespace)
    }

    /// What callers are told.
    async fn bundle(&self) -> String {
        let maps = self.config_maps();
        wait::until("the bundle for callers", wait::LONG, async || {
            let map = maps.get_opt(CALLERS).await.unwrap()?;
            map.data?.remove("ca.crt").filter(|bundle| !bundle.is_empty())
        })
        .await
    }

    /// A caller that knows this bundle and the name of the Service.
    async fn caller(&self, bmo: &Bmo, bundle: &str) -> Hosts {
        let rules = Rules::default().inside(AUTHORIZATION_GROUP, "hosts", &["list"]);
        let account = self
            .plane
            .account(self.namespace, "caller", &rules)
            .await
            .unwrap();
        let name = format!("baremetal-operator-host-service.{}.svc", self.namespace);
        let channel = bmo.channel_by(bundle, &name);
        HostServiceClient::with_interceptor(channel, Bearer::new(Some(&account.token)))
    }

    fn request(&self) -> ListHostsRequest {
        ListHostsRequest {
            namespace: self.namespace.into(),
            ..Default::default()
        }
    }
}

fn content(secret: &Secret, key: &str) -> String {
    let data = secret.data.as_ref().unwrap();
    String::from_utf8(data[key].0.clone()).unwrap()
}

#[tokio::test]
async fn bmo_makes_its_certificate_from_nothing_and_keeps_it_right() {
    let world = World::new("self-made").await;
    let account = world.account("bmo").await;
    let bmo = world.start(&account);
    bmo.ready().await;
    let bundle = world.bundle().await;
    let mut caller = world.caller(&bmo, &bundle).await;
    caller.list_hosts(world.request()).await.unwrap();
    let secret = world.secrets().get(SECRET).await.unwrap();
    let authority = world.secrets().get(AUTHORITY).await.unwrap();
    for secret in [&secret, &authority] {
        assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
        assert_eq!(secret.labels()["app.kubernetes.io/managed-by"], "metal3");
    }
    assert_eq!(content(&secret, "ca.crt"), bundle);
    assert_ne!(content(&secret, "tls.key"), content(&authority, "tls.key"));

    // Somebody breaks what is ours.
    let merge = PatchParams::default();
    let broken = Patch::Merge(json!({"stringData": {"tls.crt": "broken"}}));
    world.secrets().patch(SECRET, &merge, &broken).await.unwrap();
    let emptied = Patch::Merge(json!({"data": null}));
    world
        .config_maps()
        .patch(CALLERS, &merge, &emptied)
        .await
        .unwrap();
    assert_eq!(world.bundle().await, bundle);
    wait::until("a new certificate", wait::LONG, async || {
        let now = world.secrets().get(SECRET).await.unwrap();
        let now = content(&now, "tls.crt");
        if now.starts_with("-----BEGIN") && now != content(&secret, "tls.crt") {
            Ok(())
        } else {
            Err(now)
        }
    })
    .await;
    assert_eq!(world.secrets().get(AUTHORITY).await.unwrap(), authority);
    caller.list_hosts(world.request()).await.unwrap();
    let mut fresh = world.caller(&bmo, &bundle).await;
    fresh.list_hosts(world.request()).await.unwrap();

    assert_eq!(
        world.plane.denied_to(&account.user()).unwrap(),
        Vec::<String>::new()
    );
    let log = bmo.process.log();
    assert!(!log.contains("PRIVATE KEY"), "a key is in the log");
    // Each right was needed.
    let requests = world.plane.requests_of(&account.user()).unwrap();
    let used: BTreeSet<_> = requests
        .into_iter()
        .filter_map(|request| {
            let object = request.object_ref?;
            Some((object.resource, object.name, request.verb))
        })
        .collect();
    for rule in own_rules().namespace {
        let names = rule.resource_names.unwrap_or_default();
        let resource = rule.resources.unwrap_or_default().remove(0);
        for verb in rule.verbs {
            // Which of the Secrets is written depends on what is broken.
            let needed = used.iter().any(|(of, name, by)| {
                *of == resource && *by == verb && (names.is_empty() || names.contains(name))
            });
            assert!(
                needed,
                "{verb} {resource} {names:?} is granted and not used: {used:?}"
            );
        }
    }
}

#[tokio::test]
async fn replicas_that_start_at_once_share_one_certificate() {
    let world = World::new("self-shared").await;
    let accounts = [world.account("one").await, world.account("other").await];
    let [one, other] = accounts.each_ref().map(|account| world.start(account));
    for bmo in [&one, &other] {
        bmo.ready().await;
    }
    let bundle = world.bundle().await;
    let chain = content(&world.secrets().get(SECRET).await.unwrap(), "tls.crt");
    let leaf = served(&one, &bundle, world.namespace).await;
    assert_eq!(leaf, served(&other, &bundle, world.namespace).await);
    assert!(
        chain
            .lines()
            .nth(1)
            .is_some_and(|line| pem_body(&leaf).starts_with(line))
    );
    for (bmo, account) in [&one, &other].into_iter().zip(&accounts) {
        world
            .caller(bmo, &bundle)
            .await
            .list_hosts(world.request())
            .await
            .unwrap();
        assert_eq!(
            world.plane.denied_to(&account.user()).unwrap(),
            Vec::<String>::new()
        );
    }
}

/// The certificate that a server shows, after checking it.
async fn served(bmo: &Bmo, bundle: &str, namespace: &str) -> Vec<u8> {
    let name = format!("baremetal-operator-host-service.{namespace}.svc.cluster.local");
    let stream = crate::renewal::connect(&bmo.address(), bundle, &name, None)
        .await
        .unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn pem_body(der: &[u8]) -> String {
    let encoded = json!(k8s_openapi::ByteString(der.to_vec()));
    encoded.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone_and_named() {
    let world = World::new("self-foreign").await;
    let foreign: Secret = serde_json::from_value(json!({
        "metadata": {"name": SECRET},
        "stringData": {"tls.crt": "theirs", "tls.key": "theirs"},
    }))
    .unwrap();
    let foreign = world
        .secrets()
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    let bmo = world.start(&world.account("bmo").await);
    wait::until("bmo to give up", wait::LONG, async || bmo.process.ended()).await;
    let log = bmo.process.log();
    for part in [
        &format!("Secret self-foreign/{SECRET} is not ours"),
        "app.kubernetes.io/managed-by=metal3",
        "remove it",
        "--grpc-cert-secret",
    ] {
        assert!(log.contains(part), "{part} is missing in {log}");
    }
    assert_eq!(world.secrets().get(SECRET).await.unwrap(), foreign);
}
