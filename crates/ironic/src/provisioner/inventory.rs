//! Inspection data of Ironic as HardwareDetails. Lenient: what is absent, null or odd is left out.

use metal3_api::metal3::hardware_data::{
    BIOS, CPU, Firmware, HardwareDetails, HardwareSystemVendor, LLDP, NIC, Storage, VLAN,
};
use serde_json::Value;

/// Reads `{"inventory": …, "plugin_data": …}`.
///
/// # Errors
/// When there is no inventory at all.
pub(super) fn details(data: &Value) -> Result<HardwareDetails, &'static str> {
    let inventory = &data["inventory"];
    if !inventory.is_object() {
        return Err("it has no inventory");
    }
    let plugins = &data["plugin_data"];
    Ok(HardwareDetails {
        hostname: text(&inventory["hostname"]),
        ram_mebibytes: positive(&inventory["memory"]["physical_mb"]),
        system_vendor: Some(vendor(&inventory["system_vendor"])),
        firmware: Some(Firmware {
            bios: Some(bios(&inventory["system_vendor"]["firmware"])),
        }),
        cpu: Some(cpu(&inventory["cpu"])),
        nics: list(&inventory["interfaces"])
            .flat_map(|interface| nics(interface, plugins))
            .collect(),
        storage: list(&inventory["disks"]).map(disk).collect(),
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A number, or a number in a text.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn positive(value: &Value) -> Option<i64> {
    number(value).filter(|number| *number > 0)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn vendor(vendor: &Value) -> HardwareSystemVendor {
    HardwareSystemVendor {
        manufacturer: text(&vendor["manufacturer"]),
        product_name: text(&vendor["product_name"]),
        serial_number: text(&vendor["serial_number"]),
    }
}

fn bios(firmware: &Value) -> BIOS {
    BIOS {
        date: text(&firmware["build_date"]),
        vendor: text(&firmware["vendor"]),
        version: text(&firmware["version"]),
    }
}

fn cpu(cpu: &Value) -> CPU {
    let mut flags: Vec<String> = list(&cpu["flags"]).filter_map(text).collect();
    flags.sort_unstable();
    CPU {
        arch: text(&cpu["architecture"]),
        model: text(&cpu["model_name"]),
        clock_megahertz: megahertz(&cpu["frequency"]),
        flags,
        count: positive(&cpu["count"]),
    }
}

/// A text from the agent, a number from Redfish.
fn megahertz(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| {
        let text = value.as_str()?.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        text.get(..end)?.parse().ok()
    })?;
    // A text of many digits is infinite, which JSON cannot say.
    Some(number.round()).filter(|number| *number > 0.0 && *number < 1e6)
}

/// One entry per address; an interface without any has one entry, too.
fn nics(interface: &Value, plugins: &Value) -> Vec<NIC> {
    let name = text(&interface["name"]);
    let key = name.as_deref().unwrap_or_default();
    let lldp = &plugins["parsed_lldp"][key];
    let model = [&interface["vendor"], &interface["product"]]
        .map(|part| part.as_str().unwrap_or_default())
        .join(" ");
    let nic = NIC {
        mac: text(&interface["mac_address"]),
        model: Some(model.trim().to_owned()).filter(|model| !model.is_empty()),
        ip: None,
        speed_gbps: number(&interface["speed_mbps"])
            .map(|speed| speed / 1000)
            .filter(|speed| *speed > 0),
        pci_address: text(&interface["pci_address"]),
        pxe: plugins["all_interfaces"][key]["pxe_enabled"]
            .as_bool()
            .filter(|pxe| *pxe),
        lldp: neighbour(lldp),
        vlan_id: vlan_id(&lldp["switch_port_untagged_vlan_id"]),
        vlans: list(&lldp["switch_port_vlans"])
            .map(|vlan| VLAN {
                id: vlan_id(&vlan["id"]),
                name: text(&vlan["name"]),
            })
            .collect(),
        name: name.clone(),
    };
    let addresses: Vec<String> = ["ipv4_address", "ipv6_address"]
        .into_iter()
        .filter_map(|key| text(&interface[key]))
        .collect();
    if addresses.is_empty() {
        return vec![nic];
    }
    addresses
        .into_iter()
        .map(|ip| NIC {
            ip: Some(ip),
            ..nic.clone()
        })
        .collect()
}

fn vlan_id(value: &Value) -> Option<i32> {
    number(value)
        .and_then(|id| i32::try_from(id).ok())
        .filter(|id| (0..=4094).contains(id))
}

fn neighbour(lldp: &Value) -> Option<LLDP> {
    let lldp = LLDP {
        switch_id: text(&lldp["switch_chassis_id"]),
        port_id: text(&lldp["switch_port_id"]),
        switch_system_name: text(&lldp["switch_system_name"]),
    };
    (lldp != LLDP::default()).then_some(lldp)
}

fn disk(disk: &Value) -> Storage {
    let (name, by_path) = (text(&disk["name"]), text(&disk["by_path"]));
    let rotational = disk["rotational"].as_bool().unwrap_or(false);
    let kind = if rotational {
        "HDD"
    } else if name.as_deref().is_some_and(|name| name.starts_with("/dev/nvme")) {
        "NVME"
    } else {
        "SSD"
    };
    Storage {
        alternate_names: [name.clone(), by_path.clone()].into_iter().flatten().collect(),
        name: by_path.or(name),
        rotational: Some(rotational).filter(|rotational| *rotational),
        type_: Some(kind.to_owned()),
        size_bytes: positive(&disk["size"]),
        vendor: text(&disk["vendor"]),
        model: text(&disk["model"]),
        serial_number: text(&disk["serial"]),
        wwn: text(&disk["wwn"]),
        wwn_vendor_extension: text(&disk["wwn_vendor_extension"]),
        wwn_with_extension: text(&disk["wwn_with_extension"]),
        hctl: text(&disk["hctl"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_is_read_as_upstream_reads_it_with_its_vlans() {
        let data = json!({
            "inventory": {
                "hostname": "h",
                "cpu": {"architecture": "x86_64", "count": 16, "frequency": "2100.4990", "flags": ["vmx", "aes"]},
                "memory": {"physical_mb": 32768},
                "disks": [
                    {"name": "/dev/sda", "by_path": "/dev/disk/by-path/a", "size": 10, "rotational": true},
                    {"name": "/dev/nvme0n1", "by_path": null, "size": 20, "rotational": false},
                ],
                "interfaces": [
                    {"name": "eno1", "mac_address": "m1", "ipv4_address": "192.0.2.1", "ipv6_address": "2001:db8::1",
                     "vendor": "0x8086", "product": "0x1572", "speed_mbps": 2500},
                    {"name": "eno2", "mac_address": "m2", "vendor": "", "product": "X"},
                ],
            },
            "plugin_data": {
                "all_interfaces": {"eno1": {"pxe_enabled": true}},
                "parsed_lldp": {"eno1": {"switch_port_id": "p", "switch_port_untagged_vlan_id": 100,
                    "switch_port_vlans": [{"name": "prov", "id": 100}]}},
            },
        });
        let details = details(&data).unwrap();
        let cpu = details.cpu.unwrap();
        assert_eq!(
            (cpu.clock_megahertz, cpu.flags),
            (Some(2100.0), vec!["aes".to_owned(), "vmx".to_owned()])
        );
        let nics: Vec<_> = details
            .nics
            .iter()
            .map(|nic| (nic.ip.as_deref(), nic.model.as_deref()))
            .collect();
        assert_eq!(
            nics,
            [
                (Some("192.0.2.1"), Some("0x8086 0x1572")),
                (Some("2001:db8::1"), Some("0x8086 0x1572")),
                (None, Some("X"))
            ]
        );
        assert_eq!(
            (details.nics[0].speed_gbps, details.nics[0].vlan_id),
            (Some(2), Some(100))
        );
        assert_eq!(
            details.nics[1].vlans,
            [VLAN {
                id: Some(100),
                name: Some("prov".into())
            }]
        );
        let kinds: Vec<_> = details
            .storage
            .iter()
            .filter_map(|disk| disk.type_.as_deref())
            .collect();
        assert_eq!(kinds, ["HDD", "NVME"]);
        assert_eq!(details.storage[0].name.as_deref(), Some("/dev/disk/by-path/a"));
    }

    #[test]
    fn redfish_data_with_numbers_and_gaps_is_read() {
        let data = json!({"inventory": {"cpu": {"frequency": 3000, "architecture": ""}, "interfaces": [{"name": "1"}]}});
        let details = details(&data).unwrap();
        assert_eq!(details.cpu.unwrap().clock_megahertz, Some(3000.0));
        assert_eq!(details.nics.len(), 1);
        for odd in [
            json!("9".repeat(400)),
            json!(3.2e80),
            json!(-1),
            json!("NaN"),
            json!("1.2.3"),
        ] {
            assert_eq!(super::megahertz(&odd), None, "{odd}");
        }
        assert!(super::details(&json!({})).is_err());
    }
}
