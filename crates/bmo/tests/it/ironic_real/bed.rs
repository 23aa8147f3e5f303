//! A real Ironic with its machines, and a bmo of the test's own that leads hosts on it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use metal3_api::metal3::host::{BareMetalHost, BareMetalHostStatus, ProvisioningState};
use metal3_testkit::build::{HostBuilder, host};
use metal3_testkit::{Account, ControlPlane, scratch, wait};
use serde_json::{Value, json};

use crate::program::{Bmo, Launch};
use crate::world::{bmo_account, summary};

/// Names the file that the test bed's script writes.
const ENV: &str = "METAL3_TEST_IRONIC_ENV";

/// A real Ironic, and a bmo that uses it.
pub(super) struct Real {
    pub(super) plane: &'static ControlPlane,
    pub(super) namespace: String,
    pub(super) bed: BTreeMap<String, String>,
    http: reqwest::Client,
    account: Account,
    bmo: Bmo,
}

impl Real {
    pub(super) async fn start(namespace: &str) -> Self {
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

    pub(super) fn hosts(&self) -> Api<BareMetalHost> {
        Api::namespaced(self.plane.client(), &self.namespace)
    }

    /// A host of this machine, named after it. Nothing is left of an earlier run.
    pub(super) async fn machine(&self, number: u8) -> HostBuilder {
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

    pub(super) async fn create(&self, host: &HostBuilder) -> String {
        let created = host.create(&self.plane.client(), &self.namespace).await;
        created.unwrap().name_any()
    }

    pub(super) async fn patch(&self, name: &str, patch: Value) {
        self.hosts()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Waits until the host is as wanted.
    pub(super) async fn until(
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

    pub(super) async fn reaches(&self, name: &str, wanted: ProvisioningState) -> BareMetalHost {
        self.until(name, &format!("to be {wanted}"), |status| {
            status.error_type.is_none() && status.provisioning.state == wanted
        })
        .await
    }

    pub(super) async fn is_on(&self, name: &str, on: bool) {
        self.until(name, &format!("to be on: {on}"), |status| {
            status.error_type.is_none() && status.powered_on == on
        })
        .await;
        let node = self.node(name).await.unwrap();
        let power = if on { "power on" } else { "power off" };
        assert_eq!(node["power_state"], power, "{name}");
    }

    pub(super) async fn delete(&self, name: &str) {
        self.hosts().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(super) async fn is_gone(&self, name: &str) {
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
    pub(super) async fn ironic(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Response {
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

    pub(super) async fn node(&self, name: &str) -> Option<Value> {
        let path = format!("nodes/{}~{name}", self.namespace);
        let answer = self.ironic(reqwest::Method::GET, &path, None).await;
        answer
            .status()
            .is_success()
            .then_some(answer.json().await.unwrap())
    }

    /// Ironic loses a node, as with its database. The machine is left as it is.
    pub(super) async fn forget(&self, name: &str) {
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
    pub(super) async fn disk(&self, number: u8) -> Value {
        let url = format!(
            "{}/machines/00000000-0000-4000-8000-0000000000{number:02x}",
            self.bed["AGENT_CONTROL"]
        );
        let machine: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        machine["disk"].clone()
    }

    pub(super) fn image(&self) -> Value {
        json!({"url": self.bed["IMAGE_URL"], "checksum": self.bed["IMAGE_SHA256"], "checksumType": "sha256",
               "format": "qcow2"})
    }

    /// The same content in another form.
    pub(super) async fn other_image(&self) -> Value {
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

    pub(super) async fn password(&self, name: &str, password: &str) {
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
