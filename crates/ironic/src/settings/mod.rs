//! What is configured of Ironic.
//!
//! It comes from upstream's environment variables (`env`), and from the files that they name (`access`).

mod env;
mod error;

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::watch;

pub use self::error::SettingsError;
use crate::Target;
use crate::access::{Access, Files};

/// How to reach Ironic and what to tell it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base URL, normally ending in `/v1`; empty when a resource tells it.
    pub endpoint: String,
    /// The object that tells where Ironic is, instead of `endpoint`.
    pub resource: Option<Resource>,
    /// What it tells.
    pub target: Option<watch::Receiver<Target>>,
    /// Login, certificates and key.
    pub access: Access,
    /// Where these come from, when they may be renewed.
    pub files: Option<Files>,
    /// The files are not read again sooner.
    pub reread: Duration,
    /// Accept any certificate.
    pub insecure: bool,
    /// Bound of one request.
    pub timeout: Duration,
    /// What was found out about Ironic is believed for so long before something is changed.
    pub trust: Duration,
    /// `DEPLOY_KERNEL_URL`.
    pub deploy_kernel: Option<String>,
    /// `DEPLOY_RAMDISK_URL`.
    pub deploy_ramdisk: Option<String>,
    /// `DEPLOY_ISO_URL`.
    pub deploy_iso: Option<String>,
    /// `IRONIC_EXTERNAL_URL_V6`: where machines whose BMC has an IPv6 address find Ironic.
    pub external_url_v6: Option<String>,
    /// Hosts with network boot that may be busy at once.
    pub provisioning_limit: u32,
    /// `IRONIC_ORPHAN_GRACE`: how long a node has to be without a host before it is told as an orphan.
    pub orphan_grace: Duration,
    /// Drivers that need a provisioning network are refused.
    pub provisioning_network_disabled: bool,
    /// `LIVE_ISO_FORCE_PERSISTENT_BOOT_DEVICE`.
    pub live_iso_boot_device: String,
    /// `DIRECT_DEPLOY_FORCE_PERSISTENT_BOOT_DEVICE`.
    pub direct_deploy_boot_device: String,
    /// Adds trace context to outgoing headers.
    pub propagate: fn(&mut HeaderMap),
}

/// Name and namespace of an object of `ironics.ironic.metal3.io`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Who makes the images that hosts boot for inspection and deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AgentImages {
    /// They are given by URL, or known to Ironic.
    #[default]
    Given,
    /// They are built for each host, `--build-preprov-image`: a kernel may be given without a ramdisk.
    Built,
}

impl Settings {
    /// For an endpoint, everything else at its default.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            resource: None,
            target: None,
            access: Access::default(),
            files: None,
            reread: Duration::from_secs(30),
            insecure: false,
            timeout: Duration::from_secs(30),
            trust: Duration::from_secs(5),
            deploy_kernel: None,
            deploy_ramdisk: None,
            deploy_iso: None,
            external_url_v6: None,
            provisioning_limit: 20,
            orphan_grace: Duration::from_secs(60),
            provisioning_network_disabled: false,
            live_iso_boot_device: "Default".into(),
            direct_deploy_boot_device: "Default".into(),
            propagate: |_| (),
        }
    }
}

#[cfg(test)]
mod tests;
