//! A fleet that is stored as an operator would have left it, so that nothing has to be done to hardware first.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use metal3_api::metal3::host::BareMetalHost;
use metal3_rpc::v1::Consumer;
use serde_json::{Value, json};

/// The author of the objects is not what is measured.
const WRITERS: usize = 32;

/// Hosts of a namespace: the first ones are free, the others run something for somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) hosts: usize,
    pub(crate) free: usize,
}

/// The name of a host.
pub(crate) fn name(number: usize) -> String {
    format!("host-{number:05}")
}

/// A machine that has a host, or wants one.
pub(crate) fn consumer(namespace: &str, name: String) -> Consumer {
    Consumer {
        api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
        kind: "Metal3Machine".into(),
        namespace: namespace.into(),
        uid: format!("uid-of-{name}"),
        name,
    }
}

impl Fleet {
    /// Stores hosts and, of the free ones, the Secrets.
    pub(crate) async fn store(self, client: &Client, namespace: &str) -> Result<()> {
        let hosts: Api<BareMetalHost> = Api::namespaced(client.clone(), namespace);
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        stream::iter(0..self.hosts)
            .map(|number| {
                let (hosts, secrets) = (&hosts, &secrets);
                async move {
                    let (create, patch) = (PostParams::default(), PatchParams::default());
                    let free = number < self.free;
                    if free {
                        secrets
                            .create(&create, &serde_json::from_value(secret(number))?)
                            .await?;
                    }
                    hosts
                        .create(&create, &serde_json::from_value(spec(namespace, number, free))?)
                        .await?;
                    let status = json!({"status": status(number, free)});
                    hosts
                        .patch_status(&name(number), &patch, &Patch::Merge(&status))
                        .await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }
}

fn secret(number: usize) -> Value {
    json!({
        "metadata": {"name": format!("bmc-{number:05}"), "labels": {"environment.metal3.io": "baremetal"}},
        "stringData": {"username": "root", "password": "calvin"},
    })
}

fn spec(namespace: &str, number: usize, free: bool) -> Value {
    let mut host = json!({
        "metadata": {
            "name": name(number),
            "labels": {"size": "large", "rack": format!("rack-{}", number / 40)},
            "finalizers": ["baremetalhost.metal3.io"],
        },
        "spec": {
            "online": true,
            "automatedCleaningMode": "metadata",
            "bootMACAddress": mac(number, 0),
            "bmc": {
                "address": format!("redfish-virtualmedia://bmc-{number}.example.com/redfish/v1/Systems/1"),
                "credentialsName": format!("bmc-{number:05}"),
            },
        },
    });
    if !free {
        let machine = consumer(namespace, format!("old-{number:05}"));
        host["metadata"]["labels"]["cluster.x-k8s.io/cluster-name"] = json!("old");
        host["spec"]["image"] = image();
        host["spec"]["userData"] = json!({"name": format!("user-{number}")});
        host["spec"]["consumerRef"] = json!({
            "apiVersion": machine.api_version, "kind": machine.kind, "namespace": namespace, "name": machine.name,
        });
    }
    host
}

fn image() -> Value {
    json!({
        "url": "http://images.example.com/node.qcow2",
        "checksum": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "checksumType": "sha256",
        "format": "qcow2",
    })
}

fn status(number: usize, free: bool) -> Value {
    let mut provisioning = json!({
        "state": if free { "available" } else { "provisioned" },
        "ID": format!("00000000-0000-4000-8000-{number:012}"),
        "bootMode": "UEFI",
    });
    if !free {
        provisioning["image"] = image();
    }
    json!({
        "operationalStatus": "OK", "errorMessage": "", "errorCount": 0, "provisioningFailCount": 0,
        "poweredOn": !free, "lastUpdated": "2026-01-01T00:00:00Z",
        "provisioning": provisioning, "hardware": hardware(number),
    })
}

fn mac(number: usize, nic: usize) -> String {
    format!(
        "52:54:{nic:02x}:{:02x}:{:02x}:{:02x}",
        number >> 16,
        (number >> 8) & 255,
        number & 255
    )
}

/// As much as inspection tells of a small server.
fn hardware(number: usize) -> Value {
    let nics: Vec<Value> = (0..4)
        .map(|nic| {
            json!({
                "name": format!("eth{nic}"), "mac": mac(number, nic), "model": "0x8086 0x1572", "speedGbps": 25,
                "ip": format!("172.22.{}.{}", (number >> 8) & 255, number & 255), "pxe": nic == 0,
            })
        })
        .collect();
    let disks: Vec<Value> = (0..4)
        .map(|disk| {
            json!({
                "name": format!("/dev/disk/by-path/pci-0000:5e:00.{disk}-nvme-1"), "model": "Micron 7450",
                "serialNumber": format!("S{number:08}{disk}"), "sizeBytes": 960_197_124_096_u64, "type": "NVME",
                "wwn": format!("eui.{number:016x}{disk}"),
            })
        })
        .collect();
    let flags: Vec<String> = (0..100).map(|flag| format!("flag{flag}")).collect();
    json!({
        "hostname": name(number), "ramMebibytes": 262_144, "nics": nics, "storage": disks,
        "cpu": {"arch": "x86_64", "model": "Xeon", "clockMegahertz": 2100, "count": 64, "flags": flags},
        "systemVendor": {"manufacturer": "Maker", "productName": "Server 1", "serialNumber": format!("{number:08}")},
        "firmware": {"bios": {"vendor": "Maker", "version": "1.2.3", "date": "01/01/2026"}},
    })
}
