//! What inspection finds: hardware made from the machine's identity, the same each time.

use serde_json::{Value, json};
use uuid::Uuid;

const GIB: u64 = 1 << 30;

/// The MAC address of a NIC.
pub(crate) fn mac(identity: Uuid, nic: u8) -> String {
    let bytes = identity.as_bytes();
    // Locally administered; 40 bits keep thousands of machines apart.
    format!(
        "02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
        bytes[0],
        bytes[1],
        bytes[2],
        bytes[3],
        bytes[4].wrapping_add(nic)
    )
}

/// The MAC addresses of a machine whose first NIC has this one.
pub(crate) fn macs(identity: Uuid, boot_mac: &str) -> [String; 2] {
    [boot_mac.to_owned(), mac(identity, 1)]
}

/// The MAC addresses in inspection data.
pub(crate) fn macs_of(inventory: &Value) -> Vec<String> {
    let interfaces = inventory["inventory"]["interfaces"].as_array();
    let macs = interfaces.into_iter().flatten();
    macs.filter_map(|interface| interface["mac_address"].as_str())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// The answer of `…/inventory`.
pub(crate) fn inventory(identity: Uuid, boot_mac: &str, ramdisk: bool) -> Value {
    let bytes = identity.as_bytes();
    let macs = macs(identity, boot_mac);
    let serial = format!(
        "SIM{:08X}",
        u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])
    );
    let cpus = [16, 32, 64, 128][usize::from(bytes[5] & 3)];
    let memory_gib = [64_u64, 128, 256, 512][usize::from(bytes[6] & 3)];
    if !ramdisk {
        return without_ramdisk(&macs, &serial, cpus, memory_gib);
    }
    let interfaces: Vec<Value> = macs
        .iter()
        .enumerate()
        .map(|(index, mac)| {
            json!({
                "name": format!("eth{index}"), "mac_address": mac,
                "ipv4_address": (index == 0).then(|| format!("172.22.{}.{}", bytes[12], bytes[13].max(2))),
                "ipv6_address": null, "has_carrier": index == 0, "lldp": null,
                "vendor": "0x8086", "product": "0x1572", "speed_mbps": 25_000,
                "pci_address": format!("0000:3b:00.{index}"), "driver": "i40e",
            })
        })
        .collect();
    let plugin = |index: usize| {
        let mut interface = interfaces[index].clone();
        interface["pxe_enabled"] = json!(index == 0);
        interface
    };
    let (first, second) = (plugin(0), plugin(1));
    let lldp = json!({
        "switch_chassis_id": format!("11:22:33:44:{:02x}:{:02x}", bytes[12], bytes[14] & 0xf0),
        "switch_port_id": format!("Ethernet1/{}", 1 + (bytes[15] & 31)),
        "switch_system_name": format!("tor-{}", bytes[14] >> 4),
        "switch_port_untagged_vlan_id": 100,
        "switch_port_vlans": [{"name": "provisioning", "id": 100}, {"name": "tenant", "id": 200}],
        "switch_port_mtu": 9000,
    });
    json!({
        "inventory": {
            "hostname": format!("sim-{}", &serial[3..]),
            "interfaces": interfaces,
            "cpu": {"model_name": "Simulated CPU @ 2.10GHz", "frequency": "2100.0000", "count": cpus,
                    "architecture": "x86_64", "flags": ["aes", "fpu", "vmx"], "socket_count": 2},
            "disks": [disk(&serial, 0, "/dev/sda", 480 * GIB, false), disk(&serial, 1, "/dev/sdb", 2048 * GIB, true)],
            "memory": {"total": memory_gib * GIB, "physical_mb": memory_gib * 1024},
            "bmc_address": null, "bmc_v6address": null, "bmc_mac": null,
            "system_vendor": {"product_name": "Simulated Server", "serial_number": serial,
                "manufacturer": "Simulated Inc.",
                "firmware": {"vendor": "SIM", "version": "1.0.0", "build_date": "01/01/2026"}},
            "boot": {"current_boot_mode": "uefi", "pxe_interface": boot_mac},
        },
        "plugin_data": {
            "boot_interface": boot_mac,
            "macs": macs,
            "all_interfaces": {"eth0": first, "eth1": second},
            "valid_interfaces": {"eth0": first, "eth1": second},
            "parsed_lldp": {"eth0": lldp},
        },
    })
}

fn disk(serial: &str, index: u8, name: &str, size: u64, rotational: bool) -> Value {
    json!({
        "name": name, "model": "SIMULATED DISK", "size": size, "rotational": rotational,
        "wwn": format!("0x5000{serial}{index}"), "serial": format!("{serial}{index}"), "vendor": "SIM",
        "wwn_with_extension": format!("0x5000{serial}{index}"), "wwn_vendor_extension": null,
        "hctl": format!("{index}:0:0:0"),
        "by_path": format!("/dev/disk/by-path/pci-0000:00:1f.2-ata-{index}"),
    })
}

/// Redfish knows less, and says some of it differently: the frequency is a number.
fn without_ramdisk(macs: &[String; 2], serial: &str, cpus: u32, memory_gib: u64) -> Value {
    json!({
        "inventory": {
            "interfaces": [{"name": "NIC1", "mac_address": macs[0], "speed_mbps": 25_000},
                           {"name": "NIC2", "mac_address": macs[1], "speed_mbps": 25_000}],
            "cpu": {"model_name": "Simulated CPU @ 2.10GHz", "frequency": 2100, "count": cpus,
                    "architecture": "x86_64"},
            "disks": [{"name": "Disk.0", "size": 480 * GIB, "rotational": false},
                      {"name": "Disk.1", "size": 2048 * GIB, "rotational": true}],
            "memory": {"physical_mb": memory_gib * 1024},
            "system_vendor": {"product_name": "Simulated Server", "serial_number": serial,
                "manufacturer": "Simulated Inc."},
        },
        "plugin_data": {},
    })
}

/// What values a BIOS setting may have.
pub(crate) enum Allowed {
    /// One of these.
    Enumeration(&'static [&'static str]),
    /// A number between these.
    Integer(i64, i64),
    /// A text of so many characters.
    Text(usize, usize),
    /// Nobody sees it, nobody changes it here.
    Password,
}

/// A BIOS setting that every machine has.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
    pub(crate) allowed: Allowed,
    pub(crate) read_only: bool,
}

const fn setting(name: &'static str, value: &'static str, allowed: Allowed) -> Setting {
    Setting {
        name,
        value,
        allowed,
        read_only: false,
    }
}

const ON_OFF: Allowed = Allowed::Enumeration(&["Enabled", "Disabled"]);

/// The BIOS settings that every machine has, as they are before somebody changes them.
pub(crate) const BIOS: [Setting; 7] = [
    setting("AssetTag", "", Allowed::Text(0, 63)),
    setting("BootMode", "Uefi", Allowed::Enumeration(&["Bios", "Uefi"])),
    setting("NumCores", "16", Allowed::Integer(1, 64)),
    setting("ProcTurboMode", "Enabled", ON_OFF),
    Setting {
        name: "SerialNumber",
        value: "SIM",
        allowed: Allowed::Text(0, 32),
        read_only: true,
    },
    setting("SetupPassword", "", Allowed::Password),
    setting("SriovGlobalEnable", "Disabled", ON_OFF),
];

impl Setting {
    /// The schema as Ironic shows it, without what does not apply.
    pub(crate) fn schema(&self) -> Value {
        let mut schema = json!({
            "attribute_type": Value::Null, "allowable_values": Value::Null, "lower_bound": Value::Null,
            "upper_bound": Value::Null, "min_length": Value::Null, "max_length": Value::Null,
            "read_only": self.read_only, "reset_required": true, "unique": false,
        });
        let parts = match self.allowed {
            Allowed::Enumeration(values) => {
                vec![
                    ("attribute_type", json!("Enumeration")),
                    ("allowable_values", json!(values)),
                ]
            }
            Allowed::Integer(low, high) => vec![
                ("attribute_type", json!("Integer")),
                ("lower_bound", json!(low)),
                ("upper_bound", json!(high)),
            ],
            Allowed::Text(low, high) => vec![
                ("attribute_type", json!("String")),
                ("min_length", json!(low)),
                ("max_length", json!(high)),
            ],
            Allowed::Password => vec![("attribute_type", json!("Password"))],
        };
        for (key, value) in parts {
            schema[key] = value;
        }
        schema
    }

    fn accepts(&self, value: &Value) -> bool {
        if self.read_only {
            return false;
        }
        let text = value.as_str();
        match self.allowed {
            Allowed::Enumeration(values) => text.is_some_and(|text| values.contains(&text)),
            Allowed::Integer(low, high) => value
                .as_i64()
                .or_else(|| text?.parse().ok())
                .is_some_and(|number| (low..=high).contains(&number)),
            Allowed::Text(low, high) => text.is_some_and(|text| (low..=high).contains(&text.len())),
            Allowed::Password => false,
        }
    }
}

/// Whether the BMC takes a value.
///
/// # Errors
/// Its words.
pub(crate) fn check_setting(name: &str, value: &Value) -> Result<(), String> {
    match BIOS.iter().find(|setting| setting.name == name) {
        None => Err(format!("The BIOS has no attribute {name:?}.")),
        Some(setting) if setting.accepts(value) => Ok(()),
        Some(_) => Err(format!(
            "The BIOS attribute {name:?} does not accept the value {value}."
        )),
    }
}

/// The firmware that every machine has.
pub(crate) const FIRMWARE: [(&str, &str); 3] = [("bios", "1.0.0"), ("bmc", "1.00"), ("nic:NIC1", "20.5.13")];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::server::Server;

    use super::*;

    #[test]
    fn an_address_always_has_the_same_hardware() {
        let [a, b] = ["http://a/1", "http://a/1"].map(|address| Server::new(address).identity);
        assert_eq!(
            inventory(a, "00:00:00:00:00:01", true),
            inventory(b, "00:00:00:00:00:01", true)
        );
    }

    #[test]
    fn thousands_of_machines_have_their_own_mac_addresses() {
        let macs: HashSet<String> = (0..5000)
            .flat_map(|index| {
                let identity = Server::new(&format!("http://bmc/{index}")).identity;
                [mac(identity, 0), mac(identity, 1)]
            })
            .collect();
        assert_eq!(macs.len(), 10_000);
    }

    #[test]
    fn the_bios_takes_only_values_of_its_schema() {
        for (name, value, taken) in [
            ("ProcTurboMode", json!("Disabled"), true),
            ("ProcTurboMode", json!("Perhaps"), false),
            ("NumCores", json!(8), true),
            ("NumCores", json!("8"), true),
            ("NumCores", json!(65), false),
            ("AssetTag", json!("rack 7"), true),
            ("AssetTag", json!("x".repeat(64)), false),
            ("SerialNumber", json!("other"), false),
            ("SetupPassword", json!("secret"), false),
            ("Unknown", json!("x"), false),
        ] {
            assert_eq!(check_setting(name, &value).is_ok(), taken, "{name} {value}");
        }
    }
}
