//! What each test starts with: a namespace, an Ironic and a bmo under its role.

use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use metal3_api::metal3::host::{BareMetalHost, ProvisioningState};
use metal3_rpc::v1::{Consumer, HostRef, Image, ProvisionHostRequest, ProvisionSpec, SecretRef};
use metal3_testkit::build::{HostBuilder, host};
use metal3_testkit::{Account, ControlPlane, Rules, wait};
use serde_json::{Value, json};

use crate::ironic::Ironic;
use crate::program::{Bmo, Hosts, Launch};

/// All verbs of the HostService.
pub(crate) const VERBS: [&str; 10] = [
    "get",
    "list",
    "watch",
    "claim",
    "provision",
    "release",
    "power",
    "health",
    "move",
    "explain",
];

pub(crate) struct World {
    pub(crate) plane: &'static ControlPlane,
    /// Namespace of the hosts and of bmo.
    pub(crate) namespace: String,
    pub(crate) account: Account,
    pub(crate) ironic: Ironic,
    pub(crate) bmo: Bmo,
}

impl World {
    /// `name` is the namespace: no other test may use it.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    /// With more flags of bmo.
    pub(crate) async fn start_with(name: &str, flags: &[&str]) -> Self {
        Self::start_in(name, flags, &[]).await
    }

    /// With more flags and variables of bmo.
    pub(crate) async fn start_in(name: &str, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let plane = ControlPlane::shared().await;
        let ironic = Ironic::start().await;
        let account = bmo_account(plane, name).await;
        let endpoint = ironic.endpoint();
        let launch = Launch {
            kubeconfig: &account.kubeconfig,
            watch: name,
            home: name,
            ironic: &endpoint,
            leader_election: false,
        };
        let bmo = launch.start_in(flags, variables);
        bmo.ready().await;
        Self {
            plane,
            namespace: name.to_owned(),
            account,
            ironic,
            bmo,
        }
    }

    /// A bmo in the place of one that was killed.
    pub(crate) async fn bmo_again(&self) -> Bmo {
        let endpoint = self.ironic.endpoint();
        let launch = Launch {
            kubeconfig: &self.account.kubeconfig,
            watch: &self.namespace,
            home: &self.namespace,
            ironic: &endpoint,
            leader_election: false,
        };
        let bmo = launch.start();
        bmo.ready().await;
        bmo
    }

    /// What the machine `m` wants of host `a`: an image, and the user data of the Secret `user-data`.
    pub(crate) fn provision(&self, url: &str) -> ProvisionHostRequest {
        let image = Image {
            url: url.into(),
            checksum: "d41d8cd98f00b204e9800998ecf8427e".into(),
            ..Default::default()
        };
        let user_data = SecretRef {
            name: "user-data".into(),
            namespace: String::new(),
        };
        let spec = ProvisionSpec {
            image: Some(image),
            user_data: Some(user_data),
            power_on: true,
            ..Default::default()
        };
        ProvisionHostRequest {
            host: Some(HostRef::named(&self.namespace, "a")),
            consumer: Some(self.consumer("m")),
            spec: Some(spec),
            expected_generation: 0,
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.plane.client()
    }

    pub(crate) fn hosts(&self) -> Api<BareMetalHost> {
        Api::namespaced(self.client(), &self.namespace)
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// A host whose machine exists; its BMC's name is the host's.
    pub(crate) fn host(&self, name: &str) -> HostBuilder {
        new_host(&self.namespace, name)
    }

    /// Creates it with its Secret.
    pub(crate) async fn create(&self, host: &HostBuilder) -> BareMetalHost {
        host.create(&self.client(), &self.namespace).await.unwrap()
    }

    /// Creates hosts and waits until they can be claimed.
    pub(crate) async fn available(&self, names: &[&str]) {
        for name in names {
            self.create(&self.host(name)).await;
        }
        for name in names {
            self.reaches(name, "available").await;
        }
    }

    pub(crate) async fn get(&self, name: &str) -> BareMetalHost {
        self.hosts().get(name).await.unwrap()
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) -> BareMetalHost {
        self.hosts()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap()
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.hosts().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the host is in this state, without an error.
    pub(crate) async fn reaches(&self, name: &str, state: &str) -> BareMetalHost {
        reaches(&self.hosts(), name, state).await
    }

    pub(crate) async fn is_gone(&self, name: &str) {
        let hosts = self.hosts();
        wait::until(
            &format!("host {name} to be gone"),
            wait::LONG,
            async || match hosts.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(host)) => Err(summary(&host)),
                Err(error) => Err(error.to_string()),
            },
        )
        .await;
    }

    /// Waits until a condition is as wanted, and answers it.
    pub(crate) async fn condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> Condition {
        let hosts = self.hosts();
        wait::until(
            &format!("condition {type_}={status} {reason} of host {name}"),
            wait::LONG,
            async || {
                let host = hosts.get(name).await.map_err(|error| error.to_string())?;
                condition(&host, type_)
                    .filter(|condition| condition.status == status && condition.reason == reason)
                    .ok_or_else(|| summary(&host))
            },
        )
        .await
    }

    /// A caller of the HostService with these verbs in the namespace.
    pub(crate) async fn caller(&self, name: &str, verbs: &[&str]) -> Hosts {
        let rules = Rules::default().inside("host.metal3.io", "hosts", verbs);
        let account = self.plane.account(&self.namespace, name, &rules).await.unwrap();
        self.bmo.hosts(Some(&account.token))
    }

    pub(crate) fn consumer(&self, name: &str) -> Consumer {
        Consumer {
            api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
            kind: "Metal3Machine".into(),
            namespace: self.namespace.clone(),
            name: name.into(),
            uid: format!("uid-of-{name}"),
        }
    }

    /// Follows the states of all hosts of the namespace.
    pub(crate) fn record(&self) -> States {
        let states = States::default();
        let (hosts, seen) = (self.hosts(), states.clone());
        tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(hosts, watcher::Config::default()));
            while let Some(event) = events.next().await {
                if let Ok(watcher::Event::Apply(host) | watcher::Event::InitApply(host)) = event {
                    seen.take(&host);
                }
            }
        });
        states
    }
}

impl Drop for World {
    /// Whatever a test is about: the role of the chart was enough, and nothing panicked.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let denied = self.plane.denied_to(&self.account.user()).unwrap();
        assert!(
            denied.is_empty(),
            "rules are missing in charts/metal3-bmo/rbac: {denied:#?}"
        );
        let log = self.bmo.process.log();
        assert!(!log.contains("panicked at"), "bmo panicked:\n{log}");
    }
}

/// The states that hosts went through.
#[derive(Clone, Default)]
pub(crate) struct States(Arc<Mutex<Vec<(String, ProvisioningState)>>>);

impl States {
    fn take(&self, host: &BareMetalHost) {
        let (name, state) = (host.name_any(), state(host));
        let mut states = self.0.lock().unwrap();
        let last = states.iter().rev().find(|(other, _)| *other == name);
        if last.is_none_or(|(_, last)| *last != state) {
            states.push((name, state));
        }
    }

    /// Those of one host in order, without the empty one.
    pub(crate) fn of(&self, name: &str) -> Vec<String> {
        let states = self.0.lock().unwrap();
        let named = states
            .iter()
            .filter(|(other, state)| other == name && *state != ProvisioningState::None);
        named.map(|(_, state)| state.to_string()).collect()
    }
}

pub(crate) async fn bmo_account(plane: &ControlPlane, namespace: &str) -> Account {
    plane
        .account(namespace, "bmo", &Rules::of_chart("metal3-bmo").unwrap())
        .await
        .unwrap()
}

pub(crate) fn new_host(namespace: &str, name: &str) -> HostBuilder {
    let mac = name
        .bytes()
        .fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
        .to_be_bytes();
    host(name)
        .bmc(&format!(
            "redfish-virtualmedia://{name}.{namespace}.test/redfish/v1/Systems/1"
        ))
        .mac(&format!(
            "52:54:{:02x}:{:02x}:{:02x}:{:02x}",
            mac[0], mac[1], mac[2], mac[3]
        ))
}

pub(crate) async fn reaches(hosts: &Api<BareMetalHost>, name: &str, wanted: &str) -> BareMetalHost {
    wait::until(&format!("host {name} to be {wanted}"), wait::LONG, async || {
        let host = hosts.get(name).await.map_err(|error| error.to_string())?;
        let calm = host
            .status
            .as_ref()
            .is_some_and(|status| status.error_type.is_none());
        if calm && state(&host).as_str() == wanted {
            Ok(host)
        } else {
            Err(summary(&host))
        }
    })
    .await
}

pub(crate) fn state(host: &BareMetalHost) -> ProvisioningState {
    host.status
        .as_ref()
        .map(|status| status.provisioning.state.clone())
        .unwrap_or_default()
}

pub(crate) fn condition(host: &BareMetalHost, type_: &str) -> Option<Condition> {
    host.status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .cloned()
}

/// A host in one line, for messages.
pub(crate) fn summary(host: &BareMetalHost) -> String {
    let status = json!(host.status);
    let waiting = condition(host, "Waiting")
        .map(|condition| condition.message)
        .unwrap_or_default();
    format!(
        "state {:?}, {} {}, {waiting}",
        state(host).as_str(),
        status["operationalStatus"],
        status["errorMessage"]
    )
}
