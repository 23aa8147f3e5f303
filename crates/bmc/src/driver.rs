//! The facts of each scheme.

/// The protocol, which decides the names in `driver_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPMI.
    Ipmi,
    /// Redfish, and what builds on it.
    Redfish,
}

/// What Ironic is told for a scheme. `None`: the field is not sent, Ironic's default holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Scheme without transport.
    pub scheme: &'static str,
    /// Protocol.
    pub family: Family,
    /// Ironic hardware type.
    pub driver: &'static str,
    /// `boot_interface`.
    pub boot: &'static str,
    /// `bios_interface`.
    pub bios: Option<&'static str>,
    /// `management_interface`, `power_interface` and `vendor_interface`.
    pub management: Option<&'static str>,
    /// `raid_interface`.
    pub raid: &'static str,
    /// `firmware_interface`.
    pub firmware: Option<&'static str>,
    /// `inspect_interface` for inspection without a ramdisk.
    pub fast_inspect: Option<&'static str>,
    /// Always needs `bootMACAddress`.
    pub needs_mac: bool,
    /// Can do UEFI secure boot.
    pub secure_boot: bool,
    /// Boots an ISO by itself, without a provisioning network.
    pub boots_iso: bool,
    /// `redfish_system_id` is sent even when it says nothing.
    pub always_system_id: bool,
}

const IPMI: Driver = Driver {
    scheme: "ipmi",
    family: Family::Ipmi,
    driver: "ipmi",
    boot: "ipxe",
    bios: None,
    management: None,
    raid: "no-raid",
    firmware: None,
    fast_inspect: None,
    needs_mac: false,
    secure_boot: false,
    boots_iso: false,
    always_system_id: false,
};

const REDFISH: Driver = Driver {
    scheme: "redfish",
    family: Family::Redfish,
    driver: "redfish",
    raid: "redfish",
    firmware: Some("redfish"),
    fast_inspect: Some("redfish"),
    secure_boot: true,
    ..IPMI
};

const REDFISH_VIRTUALMEDIA: Driver = Driver {
    scheme: "redfish-virtualmedia",
    boot: "redfish-virtual-media",
    boots_iso: true,
    ..REDFISH
};

const IDRAC: Driver = Driver {
    scheme: "idrac-redfish",
    driver: "idrac",
    bios: Some("idrac-redfish"),
    management: Some("idrac-redfish"),
    raid: "idrac-redfish",
    ..REDFISH
};

/// Every scheme.
const DRIVERS: [Driver; 9] = [
    IPMI,
    Driver {
        scheme: "libvirt",
        needs_mac: true,
        ..IPMI
    },
    REDFISH,
    Driver {
        scheme: "ilo5-redfish",
        ..REDFISH
    },
    REDFISH_VIRTUALMEDIA,
    Driver {
        scheme: "ilo5-virtualmedia",
        ..REDFISH_VIRTUALMEDIA
    },
    Driver {
        scheme: "redfish-uefihttp",
        boot: "redfish-https",
        boots_iso: true,
        always_system_id: true,
        ..REDFISH
    },
    IDRAC,
    Driver {
        scheme: "idrac-virtualmedia",
        boot: "idrac-redfish-virtual-media",
        boots_iso: true,
        ..IDRAC
    },
];

impl Driver {
    /// The driver of a scheme without transport.
    pub(crate) fn of(scheme: &str) -> Option<&'static Self> {
        DRIVERS.iter().find(|driver| driver.scheme == scheme)
    }

    /// Whether it needs a provisioning network.
    pub const fn needs_provisioning_network(&self) -> bool {
        !self.boots_iso
    }

    /// The schemes, for error messages.
    pub(crate) fn known() -> String {
        DRIVERS.map(|driver| driver.scheme).join(", ")
    }
}
