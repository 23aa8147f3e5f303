//! Hardware types and their interfaces, as ironic-image enables them.

use crate::refusal::Refusal;

/// The kinds of interfaces, with the values that are enabled.
pub(crate) const KINDS: [(&str, &[&str]); 13] = [
    ("bios", &["no-bios", "redfish", "idrac-redfish", "fake"]),
    (
        "boot",
        &[
            "ipxe",
            "pxe",
            "fake",
            "redfish-virtual-media",
            "idrac-redfish-virtual-media",
            "redfish-https",
        ],
    ),
    ("console", &["no-console"]),
    (
        "deploy",
        &["autodetect", "direct", "fake", "ramdisk", "custom-agent", "bootc"],
    ),
    ("firmware", &["no-firmware", "fake", "redfish"]),
    (
        "inspect",
        &["no-inspect", "agent", "fake", "redfish", "idrac-redfish"],
    ),
    (
        "management",
        &["ipmitool", "fake", "redfish", "idrac-redfish", "noop"],
    ),
    ("network", &["noop"]),
    ("power", &["ipmitool", "fake", "redfish", "idrac-redfish"]),
    ("raid", &["no-raid", "agent", "fake", "redfish", "idrac-redfish"]),
    ("rescue", &["no-rescue"]),
    ("storage", &["noop"]),
    (
        "vendor",
        &["no-vendor", "ipmitool", "idrac-redfish", "redfish", "fake"],
    ),
];

/// The hardware types, with the default of each kind.
const DRIVERS: [(&str, [&str; KINDS.len()]); 4] = [
    (
        "fake-hardware",
        [
            "fake",
            "fake",
            "no-console",
            "autodetect",
            "fake",
            "agent",
            "fake",
            "noop",
            "fake",
            "fake",
            "no-rescue",
            "noop",
            "fake",
        ],
    ),
    (
        "idrac",
        [
            "idrac-redfish",
            "ipxe",
            "no-console",
            "autodetect",
            "redfish",
            "agent",
            "idrac-redfish",
            "noop",
            "idrac-redfish",
            "idrac-redfish",
            "no-rescue",
            "noop",
            "idrac-redfish",
        ],
    ),
    (
        "ipmi",
        [
            "no-bios",
            "ipxe",
            "no-console",
            "autodetect",
            "no-firmware",
            "agent",
            "ipmitool",
            "noop",
            "ipmitool",
            "no-raid",
            "no-rescue",
            "noop",
            "ipmitool",
        ],
    ),
    (
        "redfish",
        [
            "redfish",
            "ipxe",
            "no-console",
            "autodetect",
            "redfish",
            "agent",
            "redfish",
            "noop",
            "redfish",
            "redfish",
            "no-rescue",
            "noop",
            "redfish",
        ],
    ),
];

/// The interfaces of a node, in the order of [`KINDS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interfaces([&'static str; KINDS.len()]);

/// The names of the hardware types.
pub(crate) fn drivers() -> impl Iterator<Item = &'static str> {
    DRIVERS.iter().map(|(name, _)| *name)
}

/// The number of the kind that a field such as `boot_interface` is about.
pub(crate) fn kind_of(field: &str) -> Option<usize> {
    let kind = field.strip_suffix("_interface")?;
    KINDS.iter().position(|(name, _)| *name == kind)
}

/// Whether a hardware type can do with an interface that is enabled.
fn supports(driver: &str, kind: &str, value: &str) -> bool {
    // Any hardware can be deployed, inspected and connected in these ways.
    if matches!(kind, "deploy" | "network" | "storage" | "console" | "rescue") {
        return value != "fake" || driver == "fake-hardware";
    }
    let generic = value.starts_with("no-") || matches!(value, "agent" | "ipxe" | "pxe" | "noop");
    match driver {
        "fake-hardware" => generic || value == "fake",
        "ipmi" => generic || value == "ipmitool",
        "redfish" => generic || value.starts_with("redfish"),
        _ => generic || value.contains("redfish"),
    }
}

impl Interfaces {
    /// The defaults of a hardware type.
    ///
    /// # Errors
    /// When the type is unknown.
    pub(crate) fn of(driver: &str) -> Result<Self, Refusal> {
        let found = DRIVERS.iter().find(|(name, _)| *name == driver);
        found.map(|(_, defaults)| Self(*defaults)).ok_or_else(|| {
            Refusal::bad(format!(
                "No valid host was found. Reason: No conductor service registered which supports driver {driver} \
                 for conductor group \"\". Ensure the driver is valid and enabled."
            ))
        })
    }

    /// The value of a kind.
    pub(crate) const fn get(&self, kind: usize) -> &'static str {
        self.0[kind]
    }

    /// Sets a kind; `None` returns to the default of the hardware type.
    ///
    /// # Errors
    /// When the value is not enabled.
    pub(crate) fn set(&mut self, kind: usize, value: Option<&str>, driver: &str) -> Result<(), Refusal> {
        let (name, enabled) = KINDS[kind];
        self.0[kind] = match value {
            None => Self::of(driver)?.get(kind),
            Some(value) => {
                let value = enabled.iter().copied().find(|known| *known == value).ok_or_else(|| {
                    Refusal::bad(format!(
                        "Could not find the following interface in the 'ironic.hardware.interfaces.{name}' \
                         entrypoint: {value}. Valid interfaces are {enabled:?}."
                    ))
                })?;
                if !supports(driver, name, value) {
                    return Err(Refusal::bad(format!(
                        "{name} interface implementation '{value}' is not supported by hardware type {driver}"
                    )));
                }
                value
            }
        };
        Ok(())
    }

    /// The value of a kind by its name.
    pub(crate) fn named(&self, kind: &str) -> &'static str {
        KINDS
            .iter()
            .zip(self.0)
            .find(|((name, _), _)| *name == kind)
            .map_or("", |(_, value)| value)
    }
}
