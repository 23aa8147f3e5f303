//! BMC addresses: from what users write to what Ironic needs, without IO.
//!
//! [`Bmc`] parses every scheme of upstream; [`Driver`] holds the facts of each. Unknown schemes and malformed hosts are
//! refused here, so that a typo is named before anything is asked of Ironic.

mod address;
mod driver;

pub use address::{AddressError, Bmc};
pub use driver::{Driver, Family};

/// One entry of a node's `driver_info`, without the password, which the caller adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    /// A text.
    Text(String),
    /// A flag.
    Flag(bool),
}

impl Bmc {
    /// The keys of `driver_info` that follow from the address.
    pub fn driver_info(&self, disable_certificate_verification: bool) -> Vec<(&'static str, Info)> {
        let mut info = match self.driver.family {
            Family::Ipmi => vec![
                (
                    "ipmi_address",
                    Info::Text(self.host.trim_matches(['[', ']']).to_owned()),
                ),
                (
                    "ipmi_port",
                    Info::Text(self.port.clone().unwrap_or_else(|| "623".into())),
                ),
                (
                    "ipmi_priv_level",
                    Info::Text(
                        self.privilege_level
                            .clone()
                            .unwrap_or_else(|| "ADMINISTRATOR".into()),
                    ),
                ),
            ],
            Family::Redfish => self.redfish_info(),
        };
        if disable_certificate_verification {
            info.push((self.driver.family.key("verify_ca"), Info::Flag(false)));
        }
        info
    }

    fn redfish_info(&self) -> Vec<(&'static str, Info)> {
        let port = self
            .port
            .as_ref()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let address = format!("{}://{}{port}", self.transport, self.host);
        let mut info = vec![("redfish_address", Info::Text(address))];
        let trivial = matches!(self.path.trim_matches('/'), "" | "redfish/v1");
        if !trivial || self.driver.always_system_id {
            info.push(("redfish_system_id", Info::Text(self.path.clone())));
        }
        info
    }
}

impl Family {
    /// The key of a common setting in this family.
    pub const fn key(self, setting: &str) -> &'static str {
        match (self, setting.as_bytes()) {
            (Self::Ipmi, b"verify_ca") => "ipmi_verify_ca",
            (Self::Ipmi, b"username") => "ipmi_username",
            (Self::Ipmi, b"password") => "ipmi_password",
            (Self::Redfish, b"verify_ca") => "redfish_verify_ca",
            (Self::Redfish, b"username") => "redfish_username",
            (Self::Redfish, b"password") => "redfish_password",
            (Self::Ipmi, _) => "ipmi_address",
            (Self::Redfish, _) => "redfish_address",
        }
    }
}
