//! The whole operator on a real Ironic: emulated BMCs, simulated ramdisks, a real API server.
//!
//! Each test has machines of its own, a namespace and a bmo. The bed is `hack/testbed/ironic.sh`; machines 12 to 14 are
//! for the tests of the adapter, all from 15 on are used here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use metal3_api::metal3::host::{BareMetalHost, BareMetalHostStatus, ProvisioningState};
use metal3_testkit::build::{HostBuilder, host};
use metal3_testkit::{Account, ControlPlane, events, scratch, wait};
use serde_json::{Value, json};

use crate::program::{Bmo, Launch};
use crate::world::{bmo_account, state, summary};

/// Names the file that the test bed's script writes.
const ENV: &str = "METAL3_TEST_IRONIC_ENV";

/// A real Ironic, and a bmo that uses it.
struct Real {
    plane: &'static ControlPlane,
    namespace: String,
    bed: BTreeMap<String, String>,
    http: reqwest::Client,
    account: Account,
    bmo: Bmo,
}

impl Real {
    async fn start(namespace: &str) -> Self {
        let path =
            std::env::var(ENV).unwrap_or_else(|_| panic!("{ENV} is not set: see hack/testbed/ironic.sh"));
        let text = std::fs::read_to_string(&path).unwrap();
        let bed: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let login = scratch::dir("ironic-login").unwrap();
        std::fs::create_dir(login.join("ironic")).unwrap();
        for (file, variable) in [("username", "IRONIC_USERNAME"), ("password", "IRONIC_PASSWORD")] {
            scratch::file(&login.join("ironic"), file, &bed[variable]).unwrap();
        }
        let plane = ControlPlane::shared().await;
        let account = bmo_account(plane, namespace).await;
        let launch = Launch {
            kubeconfig: &account.kubeconfig,
            watch: namespace,
            home: namespace,
            ironic: &bed["IRONIC_ENDPOINT"],
            leader_election: false,
        };
        let login = login.display().to_string();
        let variables = [
            ("METAL3_AUTH_ROOT_DIR", login.as_str()),
            ("DEPLOY_KERNEL_URL", &bed["DEPLOY_KERNEL_URL"]),
            ("DEPLOY_RAMDISK_URL", &bed["DEPLOY_RAMDISK_URL"]),
        ];
        let bmo = launch.start_in(&[], &variables);
        bmo.ready().await;
        Self {
            plane,
            namespace: namespace.to_owned(),
            bed,
            http: reqwest::Client::new(),
            account,
            bmo,
        }
    }

    fn hosts(&self) -> Api<BareMetalHost> {
        Api::namespaced(self.plane.client(), &self.namespace)
    }

    /// A host of this machine, named after it. Nothing is left of an earlier run.
    async fn machine(&self, number: u8) -> HostBuilder {
        let name = format!("m{number}");
        self.forget(&name).await;
        let system = format!("00000000-0000-4000-8000-0000000000{number:02x}");
        let mut host = host(&name)
            .bmc(&format!("{}{system}", self.bed["BMC_ADDRESS_PREFIX"]))
            .credentials(&self.bed["BMC_USERNAME"], &self.bed["BMC_PASSWORD"])
            .mac(&format!("52:54:00:00:00:{number:02x}"));
        host.spec.bmc.disable_certificate_verification = Some(true);
        host
    }

    async fn create(&self, host: &HostBuilder) -> String {
        let created = host.create(&self.plane.client(), &self.namespace).await;
        created.unwrap().name_any()
    }

    async fn patch(&self, name: &str, patch: Value) {
        self.hosts()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Waits until the host is as wanted.
    async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&BareMetalHostStatus) -> bool,
    ) -> BareMetalHost {
        let hosts = self.hosts();
        wait::until(&format!("host {name} {what}"), wait::LONG * 2, async || {
            let host = hosts.get(name).await.map_err(|error| error.to_string())?;
            if host.status.as_ref().is_some_and(&wanted) {
                Ok(host)
            } else {
                Err(summary(&host))
            }
        })
        .await
    }

    async fn reaches(&self, name: &str, wanted: ProvisioningState) -> BareMetalHost {
        self.until(name, &format!("to be {wanted}"), |status| {
            status.error_type.is_none() && status.provisioning.state == wanted
        })
        .await
    }

    async fn is_on(&self, name: &str, on: bool) {
        self.until(name, &format!("to be on: {on}"), |status| {
            status.error_type.is_none() && status.powered_on == on
        })
        .await;
        let node = self.node(name).await.unwrap();
        let power = if on { "power on" } else { "power off" };
        assert_eq!(node["power_state"], power, "{name}");
    }

    async fn delete(&self, name: &str) {
        self.hosts().delete(name, &DeleteParams::default()).await.unwrap();
    }

    async fn is_gone(&self, name: &str) {
        let hosts = self.hosts();
        wait::until(
            &format!("host {name} to be gone"),
            wait::LONG * 2,
            async || match hosts.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(host)) => Err(summary(&host)),
                Err(error) => Err(error.to_string()),
            },
        )
        .await;
        assert_eq!(self.node(name).await, None, "no node is left of {name}");
    }

    /// A request to Ironic past the operator.
    async fn ironic(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> reqwest::Response {
        let mut request = self
            .http
            .request(method, format!("{}/{path}", self.bed["IRONIC_ENDPOINT"]))
            .basic_auth(&self.bed["IRONIC_USERNAME"], Some(&self.bed["IRONIC_PASSWORD"]))
            .header("X-OpenStack-Ironic-API-Version", "1.110");
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn node(&self, name: &str) -> Option<Value> {
        let path = format!("nodes/{}~{name}", self.namespace);
        let answer = self.ironic(reqwest::Method::GET, &path, None).await;
        answer
            .status()
            .is_success()
            .then_some(answer.json().await.unwrap())
    }

    /// Ironic loses a node, as with its database. The machine is left as it is.
    async fn forget(&self, name: &str) {
        let path = format!("nodes/{}~{name}", self.namespace);
        wait::until(
            &format!("the node of {name} to be lost"),
            wait::LONG,
            async || {
                let maintenance = format!("{path}/maintenance");
                let reason = json!({"reason": "a test loses it"});
                self.ironic(reqwest::Method::PUT, &maintenance, Some(reason))
                    .await;
                match self
                    .ironic(reqwest::Method::DELETE, &path, None)
                    .await
                    .status()
                    .as_u16()
                {
                    204 | 404 => Ok(()),
                    status => Err(status.to_string()),
                }
            },
        )
        .await;
    }

    /// What the ramdisk left on the machine's disk.
    async fn disk(&self, number: u8) -> Value {
        let url = format!(
            "{}/machines/00000000-0000-4000-8000-0000000000{number:02x}",
            self.bed["AGENT_CONTROL"]
        );
        let machine: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        machine["disk"].clone()
    }

    fn image(&self) -> Value {
        json!({"url": self.bed["IMAGE_URL"], "checksum": self.bed["IMAGE_SHA256"], "checksumType": "sha256",
               "format": "qcow2"})
    }

    /// The same content in another form.
    async fn other_image(&self) -> Value {
        let (folder, _) = self.bed["IMAGE_URL"].rsplit_once('/').unwrap();
        let sums = self
            .http
            .get(format!("{folder}/SHA256SUMS"))
            .send()
            .await
            .unwrap();
        let sums = sums.text().await.unwrap();
        let line = sums.lines().find(|line| line.ends_with("disk.raw")).unwrap();
        let checksum = line.split_whitespace().next().unwrap();
        json!({"url": format!("{folder}/disk.raw"), "checksum": checksum, "checksumType": "sha256", "format": "raw"})
    }

    async fn password(&self, name: &str, password: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.plane.client(), &self.namespace);
        let patch = json!({"stringData": {"password": password}});
        secrets
            .patch(
                &format!("{name}-bmc"),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await
            .unwrap();
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let denied = self.plane.denied_to(&self.account.user()).unwrap();
        assert!(denied.is_empty(), "{denied:#?}");
        let log = self.bmo.process.log();
        assert!(!log.contains("panicked at"), "bmo panicked:\n{log}");
    }
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_host_lives_on_a_real_ironic() {
    let real = Real::start("real-life").await;
    let name = real.create(&real.machine(15).await).await;
    let host = real.reaches(&name, ProvisioningState::Available).await;
    assert!(!host.status.unwrap().hardware.unwrap().nics.is_empty());

    real.patch(&name, json!({"spec": {"image": real.image()}})).await;
    real.reaches(&name, ProvisioningState::Provisioned).await;
    assert_eq!(real.disk(15).await["image"], real.bed["IMAGE_URL"].as_str());
    assert_eq!(real.node(&name).await.unwrap()["provision_state"], "active");

    let other = real.other_image().await;
    real.patch(&name, json!({"spec": {"image": other}})).await;
    real.until(&name, "to have the other image", |status| {
        let image = json!(status.provisioning.image);
        status.provisioning.state == ProvisioningState::Provisioned && image["url"] == other["url"]
    })
    .await;
    events::expect(
        &real.plane.client(),
        &real.namespace,
        &name,
        "DeprovisioningComplete",
    )
    .await;

    real.patch(&name, json!({"spec": {"image": null}})).await;
    real.reaches(&name, ProvisioningState::Available).await;
    assert_eq!(
        real.disk(15).await["image"],
        Value::Null,
        "cleaning leaves no image"
    );
    real.delete(&name).await;
    real.is_gone(&name).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn power_follows_the_host_on_a_real_ironic() {
    let real = Real::start("real-power").await;
    let mut builder = real.machine(16).await;
    builder.spec.inspection_mode = Some(metal3_api::metal3::host::InspectionMode::Disabled);
    builder.spec.externally_provisioned = Some(true);
    let name = real.create(&builder).await;
    real.reaches(&name, ProvisioningState::ExternallyProvisioned)
        .await;
    for on in [true, false, true] {
        real.patch(&name, json!({"spec": {"online": on}})).await;
        real.is_on(&name, on).await;
    }
    for annotation in ["", "{\"mode\": \"hard\"}"] {
        let before = real.until(&name, "to be on", |status| status.powered_on).await;
        let rebooted = before.status.unwrap().last_updated;
        let patch = json!({"metadata": {"annotations": {"reboot.metal3.io": annotation}}});
        real.patch(&name, patch).await;
        real.until(&name, &format!("to reboot by {annotation:?}"), |status| {
            status.last_updated != rebooted && status.powered_on
        })
        .await;
        let hosts = real.hosts();
        wait::until("the request to be served", wait::LONG, async || {
            let host = hosts.get(&name).await.unwrap();
            let asked = host.annotations().contains_key("reboot.metal3.io");
            let on = host.status.as_ref().is_some_and(|status| status.powered_on);
            if asked || !on { Err(summary(&host)) } else { Ok(()) }
        })
        .await;
    }
    real.delete(&name).await;
    real.is_gone(&name).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_live_iso_and_a_custom_deployment_run_on_a_real_ironic() {
    let real = Real::start("real-ways").await;
    let mut builder = real.machine(17).await;
    builder.spec.automated_cleaning_mode = Some(metal3_api::metal3::host::AutomatedCleaningMode::Disabled);
    let name = real.create(&builder).await;
    real.reaches(&name, ProvisioningState::Available).await;
    let live = json!({"url": real.bed["LIVE_ISO_URL"], "format": "live-iso"});
    real.patch(&name, json!({"spec": {"image": live}})).await;
    real.reaches(&name, ProvisioningState::Provisioned).await;
    assert_eq!(real.node(&name).await.unwrap()["deploy_interface"], "ramdisk");
    real.patch(&name, json!({"spec": {"image": null}})).await;
    real.reaches(&name, ProvisioningState::Available).await;
    let custom = json!({"spec": {"customDeploy": {"method": "testbed_install"}}});
    real.patch(&name, custom).await;
    real.reaches(&name, ProvisioningState::Provisioned).await;
    assert_eq!(
        real.node(&name).await.unwrap()["deploy_interface"],
        "custom-agent"
    );
    real.delete(&name).await;
    real.is_gone(&name).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_deployed_host_is_kept_through_losses_detachment_and_new_credentials_of_a_real_ironic() {
    let real = Real::start("real-kept").await;
    let name = real.create(&real.machine(18).await).await;
    real.reaches(&name, ProvisioningState::Available).await;
    real.patch(&name, json!({"spec": {"image": real.image()}})).await;
    let host = real.reaches(&name, ProvisioningState::Provisioned).await;
    let first = host.status.unwrap().provisioning.id;
    real.is_on(&name, true).await;

    // Ironic lost its database.
    real.forget(&name).await;
    let adopted = async |before: &str| {
        let host = real
            .until(&name, "to have another node", |status| {
                status.provisioning.id != before && status.error_type.is_none()
            })
            .await;
        wait::until("the node to be adopted", wait::LONG, async || {
            let node = real.node(&name).await.ok_or("no node")?;
            if node["provision_state"] == "active" {
                Ok(())
            } else {
                Err(node["provision_state"].to_string())
            }
        })
        .await;
        assert_eq!(state(&host), ProvisioningState::Provisioned);
        host.status.unwrap().provisioning.id
    };
    let second = adopted(&first).await;

    // Detached and attached again.
    let detached =
        |value: Value| json!({"metadata": {"annotations": {"baremetalhost.metal3.io/detached": value}}});
    real.patch(&name, detached(json!(""))).await;
    wait::until("the node to be gone", wait::LONG, async || {
        real.node(&name)
            .await
            .map_or(Ok(()), |node| Err(node["provision_state"].to_string()))
    })
    .await;
    real.patch(&name, detached(Value::Null)).await;
    adopted(&second).await;

    // The BMC does not know these.
    real.password(&name, "not-it").await;
    let host = real
        .until(&name, "to tell of wrong credentials", |status| {
            status.error_message.contains("401")
        })
        .await;
    assert_eq!(state(&host), ProvisioningState::Provisioned);
    real.password(&name, &real.bed["BMC_PASSWORD"]).await;
    real.until(&name, "to be without an error", |status| {
        status.error_type.is_none()
    })
    .await;

    let disk = real.disk(18).await;
    assert_eq!(
        disk["image"],
        real.bed["IMAGE_URL"].as_str(),
        "nothing touched the disk"
    );
    real.is_on(&name, true).await;
    real.delete(&name).await;
    real.is_gone(&name).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn twenty_hosts_at_once_live_on_a_real_ironic() {
    let real = Real::start("real-many").await;
    let mut names = Vec::new();
    for number in 20..40 {
        let builder = real.machine(number).await;
        names.push(real.create(&builder).await);
    }
    for name in &names {
        real.reaches(name, ProvisioningState::Available).await;
    }
    for name in &names {
        real.patch(name, json!({"spec": {"image": real.image()}})).await;
    }
    for name in &names {
        real.reaches(name, ProvisioningState::Provisioned).await;
    }
    for name in &names {
        real.delete(name).await;
    }
    for name in &names {
        real.is_gone(name).await;
    }
}
