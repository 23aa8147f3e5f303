//! BareMetalHosts and their Secrets.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use metal3_api::metal3::host::{BMCDetails, BareMetalHost, BareMetalHostSpec, Image};

/// A host that is on, with the BMC Secret `<name>-bmc`, and without an image.
pub fn host(name: &str) -> HostBuilder {
    HostBuilder {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        username: "admin".into(),
        password: "password".into(),
        spec: BareMetalHostSpec {
            online: true,
            bmc: BMCDetails {
                credentials_name: format!("{name}-bmc"),
                ..BMCDetails::default()
            },
            ..BareMetalHostSpec::default()
        },
    }
}

/// A host in the making.
#[derive(Clone, Debug)]
pub struct HostBuilder {
    name: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    username: String,
    password: String,
    /// Everything else.
    pub spec: BareMetalHostSpec,
}

impl HostBuilder {
    /// The address of its BMC.
    #[must_use]
    pub fn bmc(mut self, address: &str) -> Self {
        address.clone_into(&mut self.spec.bmc.address);
        self
    }

    /// What its Secret holds.
    #[must_use]
    pub fn credentials(mut self, username: &str, password: &str) -> Self {
        (self.username, self.password) = (username.to_owned(), password.to_owned());
        self
    }

    /// MAC address of the interface that boots.
    #[must_use]
    pub fn mac(mut self, mac: &str) -> Self {
        self.spec.boot_mac_address = Some(mac.to_owned());
        self
    }

    /// Whether it is to be on.
    #[must_use]
    pub fn online(mut self, online: bool) -> Self {
        self.spec.online = online;
        self
    }

    /// What to deploy.
    #[must_use]
    pub fn image(mut self, url: &str) -> Self {
        self.spec.image = Some(image(url));
        self
    }

    /// Who uses it.
    #[must_use]
    pub fn consumer(mut self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        self.spec.consumer_ref = Some(ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectReference::default()
        });
        self
    }

    /// Something else owns the disk.
    #[must_use]
    pub fn externally_provisioned(mut self) -> Self {
        self.spec.externally_provisioned = Some(true);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The host.
    pub fn build(&self) -> BareMetalHost {
        BareMetalHost {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: (!self.labels.is_empty()).then(|| self.labels.clone()),
                annotations: (!self.annotations.is_empty()).then(|| self.annotations.clone()),
                ..ObjectMeta::default()
            },
            spec: self.spec.clone(),
            status: None,
        }
    }

    /// Its BMC Secret.
    pub fn secret(&self) -> Secret {
        let data = [("username", &self.username), ("password", &self.password)];
        Secret {
            metadata: ObjectMeta {
                name: Some(self.spec.bmc.credentials_name.clone()),
                ..ObjectMeta::default()
            },
            string_data: Some(
                data.into_iter()
                    .map(|(key, value)| (key.to_owned(), value.clone()))
                    .collect(),
            ),
            ..Secret::default()
        }
    }

    /// Creates the Secret and the host.
    ///
    /// # Errors
    /// When Kubernetes refuses.
    pub async fn create(&self, client: &Client, namespace: &str) -> Result<BareMetalHost, kube::Error> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        secrets.create(&PostParams::default(), &self.secret()).await?;
        self.create_host(client, namespace).await
    }

    /// Creates the host without its Secret.
    ///
    /// # Errors
    /// When Kubernetes refuses.
    pub async fn create_host(&self, client: &Client, namespace: &str) -> Result<BareMetalHost, kube::Error> {
        let hosts: Api<BareMetalHost> = Api::namespaced(client.clone(), namespace);
        hosts.create(&PostParams::default(), &self.build()).await
    }
}

/// An image with a made-up checksum.
fn image(url: &str) -> Image {
    Image {
        url: url.to_owned(),
        checksum: Some("d41d8cd98f00b204e9800998ecf8427e".into()),
        ..Image::default()
    }
}
