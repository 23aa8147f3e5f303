//! A node of Ironic, as far as we read it.

use serde::Deserialize;
use serde_json::Value;

/// What the mirror reads of every node: enough to know that something changed and what to do next. Ironic refuses to
/// select `updated_at`.
pub const LIST_FIELDS: &str = "uuid,name,provision_state,target_provision_state,power_state,target_power_state,\
last_error,maintenance,fault,reservation,instance_uuid,boot_interface,provision_updated_at";

/// A node. Fields that were not asked for have their default.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Node {
    /// Identifier.
    pub uuid: String,
    /// `<namespace>~<name>` of the host.
    pub name: Option<String>,
    /// Where it is.
    #[serde(deserialize_with = "text")]
    pub provision_state: String,
    /// Where it is going.
    pub target_provision_state: Option<String>,
    /// `power on`, `power off`, or nothing.
    pub power_state: Option<String>,
    /// Power it is going to.
    pub target_power_state: Option<String>,
    /// Ironic's last failure.
    pub last_error: Option<String>,
    /// Ironic leaves it alone.
    pub maintenance: bool,
    /// Why Ironic put it into maintenance.
    pub fault: Option<String>,
    /// The conductor that holds its lock.
    pub reservation: Option<String>,
    /// The deployment on it.
    pub instance_uuid: Option<String>,
    /// Boot interface.
    pub boot_interface: Option<String>,
    /// Deploy interface.
    pub deploy_interface: Option<String>,
    /// Inspect interface.
    pub inspect_interface: Option<String>,
    /// RAID interface.
    pub raid_interface: Option<String>,
    /// When the last inspection succeeded; nothing once another one began.
    pub inspection_finished_at: Option<String>,
    /// Last change of the provision state.
    pub provision_updated_at: Option<String>,
    /// BMC health.
    pub health: Option<String>,
    /// Access to the BMC; secrets are masked.
    pub driver_info: Value,
    /// The deployment.
    pub instance_info: Value,
    /// Properties.
    pub properties: Value,
    /// What clients note on it.
    pub extra: Value,
    /// The network of its ramdisk.
    pub network_data: Value,
    /// Automated cleaning.
    pub automated_clean: Option<bool>,
    /// Never power off.
    pub disable_power_off: Option<bool>,
}

/// `available` was once null.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_else(|| "available".into()))
}

impl Node {
    /// Ironic works on it, so that it will change by itself.
    pub fn in_transition(&self) -> bool {
        self.target_power_state.is_some() || Self::is_transition(&self.provision_state)
    }

    /// A provision state that ends by itself.
    pub(crate) fn is_transition(provision_state: &str) -> bool {
        matches!(
            provision_state,
            "verifying"
                | "inspecting"
                | "inspect wait"
                | "cleaning"
                | "clean wait"
                | "deploying"
                | "wait call-back"
                | "deleting"
                | "adopting"
                | "servicing"
                | "service wait"
        )
    }

    /// The last failure, if there is one.
    pub fn error(&self) -> Option<&str> {
        self.last_error.as_deref().filter(|error| !error.is_empty())
    }
}
