//! Reading the config drive that a server received, as its cloud-init would.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use crate::bed::output;

/// The content of a config drive.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigDrive {
    /// `meta_data.json`.
    pub meta_data: BTreeMap<String, Value>,
    /// `user_data`.
    pub user_data: String,
}

/// What kubeadm would do on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Name of the Node.
    pub node: String,
    /// Whether the Node belongs to the control plane.
    pub control_plane: bool,
    /// Labels that kubelet sets.
    pub labels: BTreeMap<String, String>,
    /// API server that a joining Node goes to; `None` for the first one.
    pub joins: Option<String>,
}

impl ConfigDrive {
    /// From what Ironic hands to an agent: an ISO image, compressed, as text.
    ///
    /// # Errors
    /// When it is not that, or lacks a file.
    pub async fn from_iso(base64_gzip: &str, scratch: &std::path::Path) -> Result<Self> {
        let packed = scratch.join("configdrive.b64");
        std::fs::write(&packed, base64_gzip)?;
        let iso = scratch.join("configdrive.iso");
        let mut unpack = Command::new("sh");
        unpack
            .arg("-c")
            .arg(r#"base64 -d "$1" | gzip -dc >"$2""#)
            .arg("sh")
            .arg(&packed)
            .arg(&iso);
        output(unpack, "unpacking the config drive").await?;
        let file = async |path: &str| {
            let mut isoinfo = Command::new("isoinfo");
            isoinfo
                .arg("-i")
                .arg(&iso)
                .args(["-R", "-x", path])
                .stderr(Stdio::null());
            output(isoinfo, &format!("reading {path} of the config drive")).await
        };
        let meta_data = file("/openstack/latest/meta_data.json").await?;
        let user_data = file("/openstack/latest/user_data").await?;
        let meta_data = serde_json::from_str(&meta_data).context("meta_data.json is not a JSON object")?;
        Ok(Self { meta_data, user_data })
    }

    /// From the JSON form that ironic-sim keeps.
    ///
    /// # Errors
    /// When a part is missing.
    pub fn from_json(value: &Value) -> Result<Self> {
        let meta_data = serde_json::from_value(value["meta_data"].clone()).context("no meta_data")?;
        let user_data = value["user_data"].as_str().context("no user_data")?.to_owned();
        Ok(Self { meta_data, user_data })
    }

    /// A value of the meta data as text.
    pub fn meta(&self, key: &str) -> Option<&str> {
        self.meta_data.get(key)?.as_str()
    }

    /// What kubeadm would do with it.
    ///
    /// # Errors
    /// When the user data is not what the kubeadm bootstrap provider writes.
    pub fn boot(&self) -> Result<Boot> {
        let cloud: CloudConfig =
            serde_saphyr::from_str(&self.render()).context("the user data is no cloud-config")?;
        let file = cloud
            .write_files
            .iter()
            .find(|file| file.path.starts_with("/run/kubeadm/") && file.path.ends_with(".yaml"))
            .context("the user data writes no kubeadm configuration")?;
        for document in file.content.split("\n---\n") {
            let kubeadm: Kubeadm =
                serde_saphyr::from_str(document).context("the kubeadm configuration is malformed")?;
            let joins = match kubeadm.kind.as_str() {
                "InitConfiguration" => None,
                "JoinConfiguration" => Some(kubeadm.discovery.bootstrap_token.api_server_endpoint),
                _ => continue,
            };
            return Ok(Boot {
                control_plane: joins.is_none() || kubeadm.control_plane.is_some(),
                labels: labels(&kubeadm.node_registration.kubelet_extra_args),
                node: kubeadm.node_registration.name,
                joins,
            });
        }
        bail!("the kubeadm configuration neither inits nor joins")
    }

    /// The user data with the meta data filled in, as cloud-init's jinja templates do.
    fn render(&self) -> String {
        let mut text = self.user_data.clone();
        for key in self.meta_data.keys() {
            if let Some(value) = self.meta(key) {
                text = text.replace(&format!("{{{{ ds.meta_data.{key} }}}}"), value);
            }
        }
        text
    }
}

fn labels(args: &[Argument]) -> BTreeMap<String, String> {
    let pairs = args
        .iter()
        .filter(|arg| arg.name == "node-labels")
        .flat_map(|arg| arg.value.split(','));
    pairs
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

#[derive(Deserialize)]
struct CloudConfig {
    write_files: Vec<WriteFile>,
}

#[derive(Deserialize)]
struct WriteFile {
    path: String,
    content: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kubeadm {
    kind: String,
    #[serde(default)]
    node_registration: NodeRegistration,
    #[serde(default)]
    discovery: Discovery,
    control_plane: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeRegistration {
    name: String,
    kubelet_extra_args: Vec<Argument>,
}

#[derive(Deserialize)]
struct Argument {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Discovery {
    bootstrap_token: BootstrapToken,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BootstrapToken {
    api_server_endpoint: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drive(kubeadm: &str) -> ConfigDrive {
        let indented = kubeadm.replace('\n', "\n      ");
        ConfigDrive::from_json(&json!({
            "meta_data": {"name": "host-1", "uuid": "u-1"},
            "user_data": format!(
                "## template: jinja\n#cloud-config\n\nwrite_files:\n-   path: /etc/kubernetes/pki/ca.crt\n    content: x\n\
                 -   path: /run/kubeadm/kubeadm.yaml\n    content: |\n      ---\n      {indented}\nruncmd: []\n"
            ),
        }))
        .unwrap()
    }

    #[test]
    fn the_first_node_inits_with_the_name_of_its_host() {
        let boot = drive(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n---\nkind: InitConfiguration\n\
             nodeRegistration:\n  name: '{{ ds.meta_data.name }}'\n  kubeletExtraArgs:\n  - name: node-labels\n    \
             value: a=b,metal3.io/uuid={{ ds.meta_data.uuid }}",
        )
        .boot()
        .unwrap();
        assert_eq!(boot.node, "host-1");
        assert!(boot.control_plane && boot.joins.is_none());
        assert_eq!(boot.labels["metal3.io/uuid"], "u-1");
    }

    #[test]
    fn a_worker_joins_and_a_control_plane_joins_as_such() {
        let worker = "kind: JoinConfiguration\ndiscovery:\n  bootstrapToken:\n    apiServerEndpoint: 10.0.0.1:6443\n\
                      nodeRegistration:\n  name: n";
        let boot = drive(worker).boot().unwrap();
        assert_eq!(
            (boot.control_plane, boot.joins.as_deref()),
            (false, Some("10.0.0.1:6443"))
        );
        assert!(
            drive(&format!("{worker}\ncontrolPlane: {{}}"))
                .boot()
                .unwrap()
                .control_plane
        );
    }

    #[test]
    fn user_data_of_another_kind_is_refused() {
        let drive = ConfigDrive {
            meta_data: BTreeMap::new(),
            user_data: "#!/bin/sh".into(),
        };
        assert!(drive.boot().is_err());
    }
}
