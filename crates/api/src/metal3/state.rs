//! The words that say where a host is.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `status.provisioning.state`. The schema allows any string, so any string parses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProvisioningState {
    /// Nothing was decided yet.
    #[default]
    None,
    /// No management controller is given.
    Unmanaged,
    /// Access is being verified.
    Registering,
    /// Legacy; goes on to preparing.
    MatchProfile,
    /// Hardware is being inspected.
    Inspecting,
    /// Settings are being applied.
    Preparing,
    /// Legacy spelling of available.
    Ready,
    /// May be claimed.
    Available,
    /// An image is being deployed.
    Provisioning,
    /// The image runs.
    Provisioned,
    /// Something else owns the disk.
    ExternallyProvisioned,
    /// The image is being removed.
    Deprovisioning,
    /// The last power off.
    PoweringOffBeforeDelete,
    /// The node is being removed from Ironic.
    Deleting,
    /// Written by another version.
    Unknown(String),
}

impl ProvisioningState {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::None => "",
            Self::Unmanaged => "unmanaged",
            Self::Registering => "registering",
            Self::MatchProfile => "match profile",
            Self::Inspecting => "inspecting",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Available => "available",
            Self::Provisioning => "provisioning",
            Self::Provisioned => "provisioned",
            Self::ExternallyProvisioned => "externally provisioned",
            Self::Deprovisioning => "deprovisioning",
            Self::PoweringOffBeforeDelete => "powering off before delete",
            Self::Deleting => "deleting",
            Self::Unknown(word) => word,
        }
    }
}

impl From<&str> for ProvisioningState {
    fn from(word: &str) -> Self {
        match word {
            "" => Self::None,
            "unmanaged" => Self::Unmanaged,
            "registering" => Self::Registering,
            "match profile" => Self::MatchProfile,
            "inspecting" => Self::Inspecting,
            "preparing" => Self::Preparing,
            "ready" => Self::Ready,
            "available" => Self::Available,
            "provisioning" => Self::Provisioning,
            "provisioned" => Self::Provisioned,
            "externally provisioned" => Self::ExternallyProvisioned,
            "deprovisioning" => Self::Deprovisioning,
            "powering off before delete" => Self::PoweringOffBeforeDelete,
            "deleting" => Self::Deleting,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl fmt::Display for ProvisioningState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ProvisioningState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProvisioningState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}

/// `status.operationalStatus`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum OperationalStatus {
    #[default]
    #[serde(rename = "")]
    None,
    #[serde(rename = "OK")]
    Ok,
    #[serde(rename = "discovered")]
    Discovered,
    #[serde(rename = "error")]
    Error,
    #[serde(rename = "delayed")]
    Delayed,
    #[serde(rename = "detached")]
    Detached,
    #[serde(rename = "servicing")]
    Servicing,
}

impl OperationalStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Ok => "OK",
            Self::Discovered => "discovered",
            Self::Error => "error",
            Self::Delayed => "delayed",
            Self::Detached => "detached",
            Self::Servicing => "servicing",
        }
    }
}

/// `status.errorType`. Upstream can also set `detach error`, which its own schema refuses; it is allowed here.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum ErrorType {
    #[serde(rename = "provisioned registration error")]
    ProvisionedRegistration,
    #[serde(rename = "registration error")]
    Registration,
    #[serde(rename = "inspection error")]
    Inspection,
    #[serde(rename = "preparation error")]
    Preparation,
    #[serde(rename = "provisioning error")]
    Provisioning,
    #[serde(rename = "power management error")]
    PowerManagement,
    #[serde(rename = "detach error")]
    Detach,
    #[serde(rename = "servicing error")]
    Servicing,
}

impl ErrorType {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProvisionedRegistration => "provisioned registration error",
            Self::Registration => "registration error",
            Self::Inspection => "inspection error",
            Self::Preparation => "preparation error",
            Self::Provisioning => "provisioning error",
            Self::PowerManagement => "power management error",
            Self::Detach => "detach error",
            Self::Servicing => "servicing error",
        }
    }

    /// The reason of the event that reports it, as upstream names it.
    pub const fn event_reason(self) -> &'static str {
        match self {
            Self::ProvisionedRegistration => "ProvisionedRegistrationError",
            Self::Registration => "RegistrationError",
            Self::Inspection => "InspectionError",
            Self::Preparation => "PreparationError",
            Self::Provisioning => "ProvisioningError",
            Self::PowerManagement => "PowerManagementError",
            Self::Detach => "DetachError",
            Self::Servicing => "ServicingError",
        }
    }
}
