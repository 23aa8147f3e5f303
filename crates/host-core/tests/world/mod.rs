//! What surrounds the core in a test: the objects, the clock, and a commit that does what the shell's does.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use metal3_api::metal3::hardware_data::HardwareData;
use metal3_api::metal3::host::{BareMetalHost, BareMetalHostStatus};
use metal3_api::names;
use metal3_host_core::{BmcSecret, Finish, HostView, Settings, Verdict, Write};
use serde_json::{Value, json};

/// The start of every test.
pub(crate) const START: &str = "2026-01-01T00:00:00Z";

#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Gone once its last finalizer is.
    pub(crate) host: Option<BareMetalHost>,
    pub(crate) hardware: Option<HardwareData>,
    pub(crate) secret: BmcSecret,
    pub(crate) settings: Settings,
    pub(crate) now: Timestamp,
}

impl World {
    /// A host as a user creates it; `object` is laid over a complete one.
    pub(crate) fn new(object: &Value) -> Self {
        let mut host = json!({
            "apiVersion": "metal3.io/v1alpha1",
            "kind": "BareMetalHost",
            "metadata": {"name": "a", "namespace": "metal3", "uid": "uid-1", "generation": 1},
            "spec": {"online": true, "bmc": {"address": "redfish://bmc/redfish/v1/Systems/1", "credentialsName": "a-bmc"}},
        });
        if !object.is_null() {
            merge(&mut host, object);
        }
        Self {
            host: Some(serde_json::from_value(host).expect("a host")),
            hardware: None,
            secret: found("1"),
            settings: Settings::default(),
            now: START.parse().expect("a time"),
        }
    }

    pub(crate) fn host(&self) -> &BareMetalHost {
        self.host.as_ref().expect("the host is gone")
    }

    pub(crate) fn status(&self) -> BareMetalHostStatus {
        self.host().status.clone().unwrap_or_default()
    }

    /// What the core sees; it knows no Secret before a BMC is looked at, as in the shell.
    pub(crate) fn view(&self) -> HostView<'_> {
        use metal3_api::metal3::host::ProvisioningState as S;
        let host = self.host();
        let managed = host.metadata.finalizers.is_some() && !host.spec.bmc.address.is_empty();
        let secret = match self.status().provisioning.state {
            S::None | S::Unmanaged if !managed => BmcSecret::NotNeeded,
            _ => self.secret.clone(),
        };
        HostView {
            host: self.host(),
            hardware: self.hardware.as_ref(),
            secret,
            settings: &self.settings,
        }
    }

    pub(crate) fn pass_time(&mut self, time: SignedDuration) {
        self.now = self.now.checked_add(time).expect("a time");
    }

    /// Somebody brings the HardwareData of the host.
    pub(crate) fn bring(&mut self, details: &Value) {
        let mut data = HardwareData::new("a", Default::default());
        data.spec.hardware = serde_json::from_value(details.clone()).expect("hardware details");
        self.hardware = Some(data);
    }

    /// A user edits the host: `null` removes. A changed spec is a new generation.
    pub(crate) fn edit(&mut self, change: &Value) {
        let mut host = serde_json::to_value(self.host()).expect("a host");
        let spec = host["spec"].clone();
        merge(&mut host, change);
        if host["spec"] != spec {
            host["metadata"]["generation"] = json!(self.host().metadata.generation.unwrap_or(0) + 1);
        }
        self.host = Some(serde_json::from_value(host).expect("a host"));
    }

    pub(crate) fn annotate(&mut self, name: &str, value: Option<&str>) {
        self.edit(&json!({"metadata": {"annotations": {name: value}}}));
    }

    /// `kubectl delete`: without a finalizer the host is gone at once.
    pub(crate) fn delete(&mut self) {
        let now = self.now;
        let host = self.host.as_mut().expect("a host");
        if host.metadata.finalizers.iter().flatten().next().is_none() {
            self.host = None;
        } else if host.metadata.deletion_timestamp.is_none() {
            host.metadata.deletion_timestamp = Some(Time(now));
            host.metadata.generation = host.metadata.generation.map(|generation| generation + 1);
        }
    }

    /// Writes a verdict in the order of the shell, at most `steps` of its writes; the process dies after them.
    pub(crate) fn commit(&mut self, verdict: &Verdict, steps: usize) {
        let mut left = steps;
        let mut alive = || {
            let alive = left > 0;
            left = left.saturating_sub(1);
            alive
        };
        let host = self.host.as_mut().expect("a host");
        if verdict.finish == Finish::AddFinalizer {
            if !alive() {
                return;
            }
            let finalizers = host.metadata.finalizers.get_or_insert_default();
            finalizers.push(names::FINALIZER_HOST.into());
        }
        for write in &verdict.writes {
            if !matches!(write, Write::HardwareData(_) | Write::Architecture(_)) {
                continue;
            }
            if !alive() {
                return;
            }
            match write {
                Write::HardwareData(details) => {
                    let mut data = HardwareData::new("a", Default::default());
                    data.spec.hardware = Some((**details).clone());
                    self.hardware = Some(data);
                }
                Write::Architecture(architecture) => {
                    host.spec.architecture = Some(architecture.clone());
                    host.metadata.generation = host.metadata.generation.map(|generation| generation + 1);
                }
                Write::RemoveAnnotations(_) | Write::ReleaseOwned => {}
            }
        }
        if verdict.finish != Finish::RemoveFinalizer
            && host.status.clone().unwrap_or_default() != verdict.status
        {
            if !alive() {
                return;
            }
            // As the API server gives it back.
            let wire = serde_json::to_value(&verdict.status).expect("a status");
            host.status = Some(serde_json::from_value(wire).expect("a status"));
        }
        for write in &verdict.writes {
            if let Write::RemoveAnnotations(gone) = write {
                if !alive() {
                    return;
                }
                let annotations = host.metadata.annotations.get_or_insert_default();
                annotations.retain(|name, _| !gone.contains(name));
            }
        }
        if verdict.finish == Finish::RemoveFinalizer && alive() {
            self.host = None;
        }
    }
}

pub(crate) fn found(version: &str) -> BmcSecret {
    BmcSecret::Found {
        version: version.into(),
        same: Vec::new(),
    }
}

/// JSON merge patch.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    under.remove(key);
                } else {
                    merge(under.entry(key).or_insert_with(|| json!({})), value);
                }
            }
        }
        (under, over) => under.clone_from(over),
    }
}
