//! One trace leads from a reconcile of capm3 through the call into the steps of the host and to Ironic.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{ObjectMeta, PostParams};
use metal3_api::names;
use metal3_kit::telemetry;
use metal3_rpc::client::{Config, HostClient};
use metal3_rpc::v1::hold_power_off_request::Mode;
use metal3_rpc::v1::{
    ClaimHostRequest, HoldPowerOffRequest, Host, HostRef, ProvisionHostRequest, ReleaseHostRequest,
};
use metal3_testkit::traces::{Collector, Span};
use metal3_testkit::{Rules, wait};
use serde_json::json;
use tracing::Instrument as _;
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::world::{VERBS, World};

const PROVISION: &str = "PUT nodes/{id}/states/provision";
const POWER: &str = "PUT nodes/{id}/states/power";
const PASS: &str = "reconcile BareMetalHost";
/// What nobody outside may read.
const USER_DATA: &str = "#cloud-config marked-user-data";
const PASSWORD: &str = "marked-password";

/// A host that can be claimed, a bmo that sends its traces, and a capm3 of its own: the client and the spans that it has.
struct Stage {
    world: World,
    collector: Collector,
    hosts: HostClient,
}

impl Stage {
    async fn new(name: &str) -> Self {
        let collector = Collector::start().await.unwrap();
        let world = World::start_with(name, &["--otlp-endpoint", &collector.endpoint]).await;
        Self::of(world, collector).await
    }

    async fn of(world: World, collector: Collector) -> Self {
        world.create(&world.host("a")).await;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some("user-data".into()),
                ..Default::default()
            },
            string_data: Some([("userData".to_owned(), USER_DATA.to_owned())].into()),
            ..Default::default()
        };
        world
            .secrets()
            .create(&PostParams::default(), &secret)
            .await
            .unwrap();
        world.reaches("a", "available").await;
        let rules = Rules::default().inside("host.metal3.io", "hosts", &VERBS);
        let account = world.plane.account(&world.namespace, "capm3", &rules).await;
        let token = world.bmo.certificates.dir.join("token");
        std::fs::write(&token, account.unwrap().token).unwrap();
        let config = Config {
            ca_file: Some(world.bmo.certificates.ca_file.clone()),
            token_file: Some(token),
            propagate: telemetry::inject,
            ..Config::new(format!("https://{}", world.bmo.address()))
        };
        let hosts = HostClient::new(&config).unwrap();
        Self {
            world,
            collector,
            hosts,
        }
    }

    /// As a pass of capm3 over this machine.
    async fn reconciles<T>(&self, machine: &str, work: impl Future<Output = T>) -> T {
        let (traces, sent) = telemetry::traces("metal3-capm3", "test", &self.collector.endpoint).unwrap();
        let subscriber = tracing_subscriber::registry().with(traces);
        let traced = async {
            let span = telemetry::reconcile("Metal3Machine", &self.world.namespace, machine);
            work.instrument(span).await
        };
        let done = traced.with_subscriber(subscriber).await;
        tokio::task::spawn_blocking(|| drop(sent)).await.unwrap();
        done
    }

    async fn claims(&self) -> Host {
        let request = ClaimHostRequest {
            namespace: self.world.namespace.clone(),
            consumer: Some(self.world.consumer("m")),
            cluster_name: "c".into(),
            ..Default::default()
        };
        self.hosts.claim_host(request).await.unwrap().host.unwrap()
    }

    async fn provisions(&self, host: &HostRef) {
        let request = ProvisionHostRequest {
            host: Some(host.clone()),
            ..self.world.provision("http://images.test/a.qcow2")
        };
        self.hosts.provision_host(request).await.unwrap();
    }

    async fn holds_off(&self, host: &HostRef) {
        let request = HoldPowerOffRequest {
            host: Some(host.clone()),
            consumer: Some(self.world.consumer("m")),
            key: "test".into(),
            mode: Mode::Hard.into(),
        };
        self.hosts.hold_power_off(request).await.unwrap();
    }

    async fn releases(&self, host: &HostRef) {
        let request = ReleaseHostRequest {
            host: Some(host.clone()),
            consumer: Some(self.world.consumer("m")),
            cluster_name: "c".into(),
            ..Default::default()
        };
        self.hosts.release_host(request).await.unwrap();
    }

    /// Waits for a span of this name, and answers it with those above it, of which the first has this name and tells of
    /// this object.
    async fn line(&self, name: &str, top: &str, object: &str) -> Vec<Span> {
        let what = format!("a span {name:?} below {top:?} of {object}");
        wait::until(&what, wait::LONG, async || {
            let spans = self.collector.spans();
            let lines = spans.iter().filter(|span| span.name == name);
            let lines: Vec<_> = lines.map(|span| self.collector.line(span)).collect();
            let wanted = |line: &&Vec<Span>| {
                let first = line.last();
                first.is_some_and(|span| {
                    span.parent.is_empty() && span.name == top && span.attributes["k8s.object.name"] == object
                })
            };
            let told = || lines.iter().map(|line| names(line)).collect::<Vec<_>>();
            lines
                .iter()
                .find(wanted)
                .cloned()
                .ok_or_else(|| format!("{:?}", told()))
        })
        .await
    }

    async fn annotation(&self) -> Option<String> {
        let host = self.world.get("a").await;
        host.annotations().get(names::ANNOTATION_TRACEPARENT).cloned()
    }
}

fn names(line: &[Span]) -> Vec<&str> {
    line.iter().map(|span| span.name.as_str()).collect()
}

fn told<'a>(span: &'a Span, attributes: &[&str]) -> Vec<&'a str> {
    let text = |name: &&str| span.attributes.get(*name).map_or("-", String::as_str);
    attributes.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_a_reconcile_of_capm3_to_the_requests_to_ironic() {
    let stage = Stage::new("trace").await;
    let stranger = stage.world.host("b").credentials("admin", PASSWORD);
    stage.world.create(&stranger).await;
    let claimed = stage.reconciles("claiming", stage.claims()).await;
    let host = claimed.r#ref.unwrap();
    stage.reconciles("deploying", stage.provisions(&host)).await;
    stage.world.reaches("a", "provisioned").await;

    let top = "reconcile Metal3Machine";
    let line = stage.line(PROVISION, top, "deploying").await;
    let call = "metal3.host.v1.HostService/ProvisionHost";
    assert_eq!(names(&line), [PROVISION, "provision", PASS, call, call, top]);
    let services: Vec<_> = line.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(services, [&["metal3-bmo"; 4][..], &["metal3-capm3"; 2]].concat());
    assert!(line.iter().all(|span| span.trace == line[0].trace));

    let [ironic, _, pass, server, client, _] = &line[..] else {
        panic!("{line:?}")
    };
    let http = ["http.request.method", "url.template", "server.address"];
    assert_eq!(
        told(ironic, &http),
        ["PUT", "nodes/{id}/states/provision", "127.0.0.1"]
    );
    assert!(
        ironic.attributes["http.response.status_code"].starts_with("20"),
        "{ironic:?}"
    );
    assert!(
        ironic.attributes["server.port"].parse::<u16>().is_ok(),
        "{ironic:?}"
    );
    let object = ["k8s.object.kind", "k8s.namespace.name", "k8s.object.name"];
    assert_eq!(told(pass, &object), ["BareMetalHost", &host.namespace, "a"]);
    let rpc = ["rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code"];
    for span in [server, client] {
        assert_eq!(
            told(span, &rpc),
            ["grpc", "metal3.host.v1.HostService", "ProvisionHost", "0"]
        );
    }
    stage.line(PASS, top, "claiming").await;

    // Ironic was told this password, and what came of it.
    stage
        .world
        .condition("b", "Waiting", "True", "RetryBackoff")
        .await;
    let refused = |span: &Span| {
        span.attributes
            .get("k8s.object.name")
            .is_some_and(|name| name == "b")
    };
    wait::until("a span of the host that is refused", wait::LONG, async || {
        let spans = stage.collector.spans();
        spans.iter().any(refused).then_some(()).ok_or(spans.len())
    })
    .await;
    for span in stage.collector.spans() {
        for secret in [USER_DATA, "marked-user-data", PASSWORD] {
            assert!(!span.text.contains(secret), "{}", span.text);
        }
        assert!(!span.name.contains("grpc.health"), "{}", span.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_ends_with_what_was_asked_for_and_not_before() {
    let stage = Stage::new("trace-end").await;
    let host = stage.reconciles("claiming", stage.claims()).await.r#ref.unwrap();
    let top = "reconcile Metal3Machine";
    stage.line(PASS, top, "claiming").await;
    // What a user asks for has nothing to do with the claim, whose span is on the host still.
    let left = stage.annotation().await;
    assert!(left.is_some());
    stage.world.patch("a", json!({"spec": {"online": false}})).await;
    stage.line(POWER, PASS, "a").await;
    assert_eq!(stage.annotation().await, left);

    stage.reconciles("deploying", stage.provisions(&host)).await;
    stage.world.reaches("a", "provisioned").await;
    // One that has nothing to write writes nothing, not even where it came from.
    let before = stage.annotation().await;
    stage.reconciles("repeating", stage.provisions(&host)).await;
    assert_eq!(stage.annotation().await, before);

    // It is provisioned all the time: that its power changes is the work of the call all the same.
    stage.reconciles("holding", stage.holds_off(&host)).await;
    let line = stage.line(POWER, top, "holding").await;
    let whole = |span: &Span| span.trace == line[0].trace && span.name == PASS;
    wait::until("the pass that sees the host off", wait::LONG, async || {
        let passes = stage.collector.spans().iter().filter(|span| whole(span)).count();
        (passes > 1).then_some(()).ok_or(passes)
    })
    .await;
    stage.reconciles("releasing", stage.releases(&host)).await;
    stage.line("deprovision", top, "releasing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_traces_are_not_recorded() {
    let stage = Stage::of(World::start("trace-off").await, Collector::start().await.unwrap()).await;
    stage.reconciles("claiming", stage.claims()).await;
    assert_eq!(stage.annotation().await, None);
}
