use std::fmt;

use secrecy::SecretString;

/// Namespace and name of a BareMetalHost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Object name.
    pub name: String,
}

impl HostKey {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The backend's identifier of a host: the UUID of the Ironic node, kept in `status.provisioning.ID`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub String);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// User name and password of a BMC, trimmed.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password; never printed.
    pub password: SecretString,
}

/// How to reach the BMC. Absent while the host is being deleted without usable credentials.
#[derive(Clone, Debug)]
pub struct BmcAccess {
    /// The address as the user wrote it; parsed by `metal3-bmc`.
    pub address: String,
    /// Login.
    pub credentials: Credentials,
    /// `spec.bmc.disableCertificateVerification`.
    pub disable_certificate_verification: bool,
}

/// What a backend must know to find and reach one host in one pass.
#[derive(Clone, Debug)]
pub struct HostRef {
    /// Namespace and name; the Ironic node is called `<namespace>~<name>`.
    pub key: HostKey,
    /// `metadata.uid`; becomes the instance UUID of a deployment.
    pub uid: String,
    /// The identifier recorded at registration, if any.
    pub node: Option<NodeId>,
    /// BMC access, if usable.
    pub bmc: Option<BmcAccess>,
    /// `spec.bootMACAddress`.
    pub boot_mac_address: Option<String>,
}
