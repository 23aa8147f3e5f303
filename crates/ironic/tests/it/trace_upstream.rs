//! The unmodified operator of the Metal3 project, baremetal-operator v0.13.1 (`hack/tools/bmo`), drives the simulation.
//!
//! Whatever it needs of Ironic, the simulation has: hosts go through their whole life. Its requests that change something
//! are the golden traces that our adapter is held to in `conformance/traces.rs`.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use metal3_api::metal3::host::{BareMetalHost, ProvisioningState};
use metal3_ironic_sim::actions::Deed;
use metal3_ironic_sim::control::Machine;
use metal3_ironic_sim::{Config, Running, Sim};
use metal3_testkit::build::{HostBuilder, host};
use metal3_testkit::process::{Process, Program};
use metal3_testkit::wait::until;
use metal3_testkit::{ControlPlane, tools};
use serde_json::{Value, json};

use crate::trace_golden as golden;
use crate::trace_recorder::{Recorder, lines};

const MAC: &str = "52:54:00:00:00:41";
const IMAGE: &str = "http://images/a.qcow2";
const STEP: &str = "install_thing";
const KERNEL: &str = "http://images/kernel";
const RAMDISK: &str = "http://images/ramdisk";

/// It looks at a long operation every ten seconds, and some steps take several looks.
const PATIENCE: Duration = Duration::from_secs(300);

/// The operator between a real API server and the simulation.
struct Upstream {
    client: Client,
    namespace: String,
    sim: Running,
    recorder: Recorder,
    operator: Process,
}

impl Upstream {
    async fn start(namespace: &str) -> Self {
        let plane = ControlPlane::shared().await;
        let namespace = plane.namespace(namespace).await.unwrap();
        let sim = Sim::start(Config::default()).await.unwrap();
        let recorder = Recorder::before(&sim.endpoint).await;
        let home = metal3_testkit::scratch::dir("baremetal-operator").unwrap();
        let operator = Program::new(tools::find("baremetal-operator").unwrap())
            .args([
                "-namespace",
                &namespace,
                "-webhook-port",
                "0",
                "-metrics-addr",
                "0",
                "-health-addr",
                "0",
            ])
            .env("KUBECONFIG", plane.kubeconfig())
            .env("HOME", &home)
            .env("POD_NAMESPACE", &namespace)
            .env("IRONIC_ENDPOINT", format!("{}/v1/", recorder.base))
            .env("METAL3_AUTH_ROOT_DIR", home.join("auth"))
            .env("DEPLOY_KERNEL_URL", KERNEL)
            .env("DEPLOY_RAMDISK_URL", RAMDISK)
            .start()
            .unwrap();
        Self {
            client: plane.client(),
            namespace,
            sim,
            recorder,
            operator,
        }
    }

    fn hosts(&self) -> Api<BareMetalHost> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn node(&self, name: &str) -> String {
        format!("{}~{name}", self.namespace)
    }

    async fn create(&self, builder: &HostBuilder) {
        builder.create(&self.client, &self.namespace).await.unwrap();
    }

    async fn patch(&self, name: &str, patch: Value) {
        let params = PatchParams::default();
        self.hosts()
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Waits until what `wanted` says of the host is true.
    async fn until(&self, name: &str, what: &str, wanted: impl Fn(&BareMetalHost) -> bool) -> BareMetalHost {
        until(what, PATIENCE, async || {
            assert!(self.operator.ended().is_none(), "the operator ended");
            let host = self.hosts().get(name).await.map_err(|error| error.to_string())?;
            if wanted(&host) {
                return Ok(host);
            }
            let status = host.status.unwrap_or_default();
            Err(format!(
                "{:?}, on: {}, {}; node {:?}",
                status.provisioning.state,
                status.powered_on,
                status.error_message,
                self.sim
                    .machine(&self.node(name))
                    .map(|machine| (machine.provision_state, machine.state)),
            ))
        })
        .await
    }

    async fn state(&self, name: &str, wanted: ProvisioningState) -> BareMetalHost {
        self.until(name, &format!("{name} to be {wanted:?}"), |host| {
            host.status
                .as_ref()
                .is_some_and(|status| status.provisioning.state == wanted && status.error_message.is_empty())
        })
        .await
    }

    async fn power(&self, name: &str, on: bool) {
        self.until(name, &format!("{name} to be on: {on}"), |host| {
            host.status.as_ref().is_some_and(|status| status.powered_on == on)
        })
        .await;
    }

    fn machine(&self, name: &str) -> Machine {
        self.sim.machine(&self.node(name)).unwrap()
    }

    /// Compares what was asked of Ironic since the last look.
    fn compare(&self, what: &str, name: &str, golden: &[&[&str]]) {
        let known = [
            (self.node(name), "{name}"),
            ("ab".repeat(32), "{checksum}"),
            (IMAGE.to_owned(), "{image}"),
            (KERNEL.to_owned(), "{kernel}"),
            (RAMDISK.to_owned(), "{ramdisk}"),
            (MAC.to_owned(), "{mac}"),
            (STEP.to_owned(), "{step}"),
        ];
        let known = known
            .each_ref()
            .map(|(text, placeholder)| (text.as_str(), *placeholder));
        let seen = lines(&self.recorder.take(), &known);
        assert_eq!(seen, golden.concat(), "{what}");
    }

    async fn delete(&self, name: &str) {
        let params = DeleteParams::default();
        self.hosts().delete(name, &params).await.unwrap();
        until(&format!("{name} to be gone"), PATIENCE, async || {
            let host = self
                .hosts()
                .get_opt(name)
                .await
                .map_err(|error| error.to_string())?;
            let state = host.map(|host| host.status.map(|status| status.provisioning.state));
            state.map_or(Ok(()), |state| Err(format!("{state:?}")))
        })
        .await;
    }
}

fn image(url: &str) -> Value {
    json!({"spec": {"image": {"url": url, "checksum": "ab".repeat(32), "checksumType": "sha256", "format": "qcow2"}}})
}

#[tokio::test]
async fn the_upstream_operator_leads_a_host_through_its_whole_life() {
    let upstream = Upstream::start("upstream").await;
    let address = "redfish-virtualmedia+http://192.0.2.41/redfish/v1/Systems/1";
    let builder = host("h1").bmc(address).mac(MAC);
    upstream.create(&builder.online(false)).await;
    let h1 = upstream.state("h1", ProvisioningState::Available).await;
    let details = h1.status.and_then(|status| status.hardware).unwrap();
    assert_eq!(details.nics.len(), 2);
    upstream.compare(
        "registration and inspection",
        "h1",
        &[golden::REGISTRATION, golden::INSPECTION],
    );

    let mut deploy = image(IMAGE);
    deploy["spec"]["online"] = json!(true);
    upstream.patch("h1", deploy).await;
    upstream.state("h1", ProvisioningState::Provisioned).await;
    upstream.power("h1", true).await;
    let machine = upstream.machine("h1");
    assert_eq!(machine.image.as_deref(), Some(IMAGE));
    assert_eq!(machine.provision_state, Some("active"));
    upstream.compare("provision", "h1", &[golden::PROVISION]);

    for (value, trace) in [
        ("", golden::SOFT_REBOOT),
        (r#"{"mode": "hard"}"#, golden::HARD_REBOOT),
    ] {
        let boots = upstream.machine("h1").boots;
        let annotations = json!({"reboot.metal3.io": value});
        upstream
            .patch("h1", json!({"metadata": {"annotations": annotations}}))
            .await;
        until("the reboot of h1", PATIENCE, async || {
            let machine = upstream.machine("h1");
            (machine.boots > boots && machine.power_state == "power on").then_some(())
        })
        .await;
        upstream
            .until("h1", "the annotation to be gone", |host| {
                !host.annotations().contains_key("reboot.metal3.io")
            })
            .await;
        upstream.compare("reboot", "h1", &[trace]);
    }

    upstream
        .patch("h1", json!({"spec": {"image": null, "online": false}}))
        .await;
    upstream.state("h1", ProvisioningState::Available).await;
    let machine = upstream.machine("h1");
    assert_eq!(
        (machine.image, machine.provision_state),
        (None, Some("available"))
    );
    upstream.compare("deprovision", "h1", &[golden::DEPROVISION]);

    let custom = json!({"spec": {"customDeploy": {"method": STEP}, "online": true}});
    upstream.patch("h1", custom).await;
    upstream.state("h1", ProvisioningState::Provisioned).await;
    upstream.compare("custom deploy", "h1", &[golden::CUSTOM_DEPLOY]);
    // Its status still tells the power of before.
    upstream.power("h1", true).await;
    upstream.patch("h1", json!({"spec": {"online": false}})).await;
    upstream.power("h1", false).await;
    assert_eq!(upstream.machine("h1").power_state, "power off");
    upstream.recorder.take();

    upstream.delete("h1").await;
    upstream.compare("delete", "h1", &[golden::DEPROVISION, golden::DELETE]);
    assert_eq!(upstream.sim.nodes(), 0);
    let log = upstream
        .sim
        .actions_of("http://192.0.2.41/redfish/v1/Systems/1")
        .unwrap();
    let asked = log.actions.iter().filter(|action| action.deed == Deed::Erase);
    let asked: Vec<&str> = asked.map(|action| &*action.asked).collect();
    let verbs = ["provide", "deleted", "deleted"].map(|verb| format!("PUT states/provision {verb}"));
    assert_eq!(asked.len(), verbs.len(), "{asked:?}");
    for (asked, verb) in asked.iter().zip(verbs) {
        assert!(
            asked.starts_with(&verb) && asked.contains("gophercloud"),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn the_upstream_operator_leaves_an_external_host_untouched() {
    let upstream = Upstream::start("upstream-external").await;
    let running = "http://192.0.2.42/redfish/v1/Systems/1";
    upstream.sim.add_machine(metal3_ironic_sim::meddling::NewMachine {
        bmc_address: running.to_owned(),
        image: Some("http://images/somebody-elses".to_owned()),
        on: true,
    });
    let external = host("h2")
        .bmc(&format!("redfish-virtualmedia+{running}"))
        .mac("52:54:00:00:00:42")
        .externally_provisioned();
    upstream.create(&external).await;
    upstream
        .state("h2", ProvisioningState::ExternallyProvisioned)
        .await;
    until("the adoption", PATIENCE, async || {
        (upstream.machine("h2").provision_state == Some("active")).then_some(())
    })
    .await;
    upstream.recorder.take();
    let detach = json!({"baremetalhost.metal3.io/detached": ""});
    upstream
        .patch("h2", json!({"metadata": {"annotations": detach}}))
        .await;
    until("the node of h2 to be gone", PATIENCE, async || {
        let machine = upstream.sim.machine(running)?;
        machine.node.is_none().then_some(())
    })
    .await;
    upstream.compare("detach", "h2", &[golden::EXTERNAL_DELETE]);
    let machine = upstream.sim.machine(running).unwrap();
    assert_eq!(machine.power_state, "power on");
    assert_eq!(machine.image.as_deref(), Some("http://images/somebody-elses"));
    let log = upstream.sim.actions_of(running).unwrap();
    let deeds: Vec<Deed> = log.actions.iter().map(|action| action.deed).collect();
    assert_eq!(deeds, [Deed::Delete], "nothing was done but to forget it");
    upstream.delete("h2").await;
}
