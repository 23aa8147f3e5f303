//! Registration: the node exists, has the right access data, and Ironic reached the BMC.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use metal3_api::metal3::host::{BootMode, InspectionMode};
use metal3_bmc::{Bmc, Info};
use metal3_provisioner::{
    BmcAccess, CleaningMode, Error, FailureCause, HostRef, NodeId, OnFailure, Outcome, RegisterArgs,
    Registration, WaitReason,
};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::patch::{Patch, capabilities};
use super::{IronicProvisioner, SHORT, locked, ports};
use crate::client::Node;

pub(super) async fn register(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
) -> Result<Registration, Error> {
    let Some(access) = &host.bmc else {
        return Ok(Registration {
            node: host.node.clone(),
            outcome: Outcome::done(),
        });
    };
    let bmc = match access.address.parse::<Bmc>() {
        Ok(bmc) => bmc,
        Err(error) => return Ok(failed(host, error.to_string())),
    };
    if let Some(message) = unsupported(ironic, host, args, &bmc).await? {
        return Ok(failed(host, message));
    }
    let fingerprint = fingerprint(host, args);
    if let Some(known) = unchanged(ironic, host, args, fingerprint) {
        return Ok(known);
    }
    let node = match find(ironic, host).await? {
        Found::Node(node) => *node,
        Found::Conflict(message) => return Ok(failed(host, message)),
        Found::Nothing => return create(ironic, host, args, access, &bmc).await,
    };
    let id = NodeId(node.uuid.clone());
    let outcome = configure(ironic, host, args, access, &bmc, node, fingerprint).await?;
    Ok(Registration {
        node: Some(id),
        outcome,
    })
}

fn failed(host: &HostRef, message: String) -> Registration {
    Registration {
        node: host.node.clone(),
        outcome: Outcome::failed(FailureCause::Unknown, message),
    }
}

/// What no retry can heal.
async fn unsupported(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
    bmc: &Bmc,
) -> Result<Option<String>, Error> {
    let (driver, scheme) = (bmc.driver, &bmc.scheme);
    let no_mac = host.boot_mac_address.as_deref().unwrap_or_default().is_empty();
    let uninspected = args.inspection == Some(InspectionMode::Disabled);
    Ok(
        if args.inspection == Some(InspectionMode::Fast) && driver.fast_inspect.is_none() {
            Some(format!(
                "BMC driver {scheme} does not support fast (out-of-band) inspection"
            ))
        } else if args.boot_mode == BootMode::UefiSecureBoot && !driver.secure_boot {
            Some(format!("BMC driver {scheme} does not support secure boot"))
        } else if driver.needs_provisioning_network() && ironic.settings.provisioning_network_disabled {
            Some(format!("BMC driver {scheme} requires a provisioning network"))
        } else if no_mac && (driver.needs_mac || uninspected) {
            Some(format!("BMC driver {scheme} requires a BootMACAddress value"))
        } else if args.disable_power_off && ironic.client.ready().await? < 95 {
            Some(
                "current ironic version does not support DisablePowerOff, refusing to manage node".to_owned(),
            )
        } else {
            None
        },
    )
}

/// Everything that a registration would write; equal to last time means there is nothing to do.
fn fingerprint(host: &HostRef, args: &RegisterArgs) -> u64 {
    let mut hasher = DefaultHasher::new();
    let access = host
        .bmc
        .as_ref()
        .map(|bmc| (&bmc.address, bmc.disable_certificate_verification));
    (
        access,
        &host.boot_mac_address,
        &host.key.namespace,
        &host.key.name,
    )
        .hash(&mut hasher);
    (
        args.boot_mode,
        args.cleaning == CleaningMode::Disabled,
        args.disable_power_off,
    )
        .hash(&mut hasher);
    (&args.architecture, args.inspection, args.custom_deploy).hash(&mut hasher);
    let nics = args.hardware.iter().flat_map(|hardware| &hardware.nics);
    nics.for_each(|nic| nic.mac.hash(&mut hasher));
    hasher.finish()
}

fn unchanged(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
    fingerprint: u64,
) -> Option<Registration> {
    let id = host.node.as_ref()?;
    if args.credentials_changed || ironic.configured().get(&id.0) != Some(&fingerprint) {
        return None;
    }
    let node = ironic.mirror.node(&id.0)?;
    (!matches!(node.provision_state.as_str(), "enroll" | "verifying")).then(|| Registration {
        node: host.node.clone(),
        outcome: Outcome::done(),
    })
}

enum Found {
    Node(Box<Node>),
    Conflict(String),
    Nothing,
}

/// By identifier, by name, by MAC address: a node made by a process that died before it could record it is found again.
async fn find(ironic: &IronicProvisioner, host: &HostRef) -> Result<Found, Error> {
    if let Some(id) = &host.node
        && let Some(node) = ironic.full(&id.0).await?
    {
        return Ok(Found::Node(Box::new(node)));
    }
    if let Some(node) = ironic.full(&node_name(host)).await? {
        return Ok(Found::Node(Box::new(node)));
    }
    // The form of early releases, without namespace.
    if let Some(node) = ironic
        .full(&host.key.name)
        .await?
        .filter(|node| node.name.as_deref() == Some(&host.key.name))
    {
        return Ok(Found::Node(Box::new(node)));
    }
    let Some(mac) = host.boot_mac_address.as_deref().filter(|mac| !mac.is_empty()) else {
        return Ok(Found::Nothing);
    };
    let Some(id) = ironic.client.node_of_mac(&mac.to_lowercase()).await? else {
        return Ok(Found::Nothing);
    };
    let Some(node) = ironic.full(&id).await? else {
        return Ok(Found::Nothing);
    };
    Ok(match node.name.as_deref() {
        Some(name) if !name.is_empty() => {
            Found::Conflict(format!("MAC address {mac} conflicts with existing node {name}"))
        }
        // Found by itself: ours to name.
        Some(_) | None => Found::Node(Box::new(node)),
    })
}

fn node_name(host: &HostRef) -> String {
    format!("{}~{}", host.key.namespace, host.key.name)
}

async fn create(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
    access: &BmcAccess,
    bmc: &Bmc,
) -> Result<Registration, Error> {
    let driver = bmc.driver;
    let live = args
        .current_image
        .as_ref()
        .is_some_and(|image| image.format.as_deref() == Some("live-iso"));
    let deploy = if live {
        Some("ramdisk")
    } else if args.custom_deploy {
        Some("custom-agent")
    } else {
        None
    };
    let mut body = json!({
        "driver": driver.driver,
        "name": node_name(host),
        "boot_interface": driver.boot,
        "raid_interface": driver.raid,
        "inspect_interface": inspect_interface(bmc, args.inspection),
        "driver_info": driver_info(bmc, access),
        "properties": properties(args),
        "automated_clean": args.cleaning == CleaningMode::Metadata,
    });
    if ironic.client.ready().await? >= 95 {
        body["disable_power_off"] = json!(args.disable_power_off);
    }
    for (field, value) in [
        ("bios_interface", driver.bios),
        ("management_interface", driver.management),
        ("power_interface", driver.management),
        ("vendor_interface", driver.management),
        ("firmware_interface", driver.firmware),
        ("deploy_interface", deploy),
    ] {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    match ironic.client.create_node(&body).await? {
        Ok(node) => {
            ironic.mirror.wrote(&node.uuid);
            tracing::info!(host = %host.key, node = %node.uuid, "node registered in ironic");
            let id = Some(NodeId(node.uuid.clone()));
            let fingerprint = fingerprint(host, args);
            // A new node needs its access verified, and its ramdisk and ports; both in the same pass.
            let outcome = configure(ironic, host, args, access, bmc, node, fingerprint).await?;
            Ok(Registration {
                node: id,
                outcome: outcome.notice("Registered", "Registered new host"),
            })
        }
        // Made by somebody at the same time; the next pass finds it.
        Err(refusal) if refusal.is_conflict() => Ok(Registration {
            node: None,
            outcome: locked(),
        }),
        Err(refusal) => Err(refusal.into_error(&format!("the new node of host {}", host.key))),
    }
}

fn properties(args: &RegisterArgs) -> Value {
    let mut properties = json!({"capabilities": capabilities(&Value::Null, args.boot_mode)});
    if let Some(architecture) = &args.architecture {
        properties["cpu_arch"] = json!(architecture);
    }
    properties
}

pub(super) fn inspect_interface(bmc: &Bmc, mode: Option<InspectionMode>) -> &'static str {
    match (mode, bmc.driver.fast_inspect) {
        (Some(InspectionMode::Fast), Some(interface)) => interface,
        _ => "agent",
    }
}

fn driver_info(bmc: &Bmc, access: &BmcAccess) -> Map<String, Value> {
    let family = bmc.driver.family;
    let mut info: Map<String, Value> = bmc
        .driver_info(access.disable_certificate_verification)
        .into_iter()
        .map(|(key, value)| {
            let value = match value {
                Info::Text(text) => json!(text),
                Info::Flag(flag) => json!(flag),
            };
            (key.to_owned(), value)
        })
        .collect();
    info.insert(family.key("username").into(), json!(access.credentials.username));
    info.insert(
        family.key("password").into(),
        json!(access.credentials.password.expose_secret()),
    );
    info
}

/// Brings an existing node in line, then asks for verification if it was never verified.
async fn configure(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
    access: &BmcAccess,
    bmc: &Bmc,
    node: Node,
    fingerprint: u64,
) -> Result<Outcome, Error> {
    let state = node.provision_state.clone();
    if state == "verifying" {
        return Ok(Outcome::working(WaitReason::VerifyingBmcAccess, SHORT));
    }
    if matches!(
        state.as_str(),
        "clean wait" | "cleaning" | "wait call-back" | "deploying" | "inspecting"
    ) {
        return Ok(Outcome::done());
    }
    let patch = settings_patch(ironic, host, args, access, bmc, &node);
    let node = match ironic.patched(node, patch.operations()).await? {
        Ok(node) => node,
        Err(wait) => return Ok(wait),
    };
    if state != "inspect wait" {
        ports::add(ironic, host, args, &node).await?;
    }
    if state == "enroll" {
        if let Some(error) = node.error()
            && args.on_failure == OnFailure::Report
            && !args.credentials_changed
        {
            return Ok(Outcome::failed(FailureCause::Unknown, error));
        }
        return ironic
            .verb(
                &node,
                &json!({"target": "manage"}),
                WaitReason::VerifyingBmcAccess,
            )
            .await;
    }
    ironic.configured().insert(node.uuid.clone(), fingerprint);
    Ok(Outcome::done())
}

fn settings_patch(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
    access: &BmcAccess,
    bmc: &Bmc,
    node: &Node,
) -> Patch {
    let mut patch = Patch::default();
    patch.field("name", &json!(node.name), &json!(node_name(host)));
    let wanted = driver_info(bmc, access);
    let ramdisk = ramdisk(ironic, bmc);
    let address = bmc.driver.family.key("address");
    if args.credentials_changed || node.driver_info.get(address) != wanted.get(address) {
        // Secrets come back masked, so the whole is written; what belongs to the ramdisk goes with it.
        let mut whole = wanted;
        whole.extend(ramdisk.into_iter().filter(|(_, value)| !value.is_null()));
        patch.replace("driver_info", &whole);
    } else {
        for (key, value) in ramdisk {
            patch.inner("driver_info", &node.driver_info, &key, &value);
        }
    }
    if let Some(disabled) = node.disable_power_off {
        patch.field(
            "disable_power_off",
            &json!(disabled),
            &json!(args.disable_power_off),
        );
    }
    patch.field(
        "automated_clean",
        &json!(node.automated_clean),
        &json!(args.cleaning == CleaningMode::Metadata),
    );
    let current = node.properties.get("capabilities").cloned().unwrap_or_default();
    patch.inner(
        "properties",
        &node.properties,
        "capabilities",
        &json!(capabilities(&current, args.boot_mode)),
    );
    if let Some(architecture) = &args.architecture {
        patch.inner("properties", &node.properties, "cpu_arch", &json!(architecture));
    }
    patch
}

/// Where the deploy ramdisk is; keys of another kind of ramdisk are removed.
fn ramdisk(ironic: &IronicProvisioner, bmc: &Bmc) -> Vec<(String, Value)> {
    let settings = &ironic.settings;
    let (iso, kernel, ramdisk) = match (
        &settings.deploy_iso,
        &settings.deploy_kernel,
        &settings.deploy_ramdisk,
    ) {
        (Some(iso), _, _) if bmc.driver.boots_iso => (json!(iso), Value::Null, Value::Null),
        (_, Some(kernel), Some(ramdisk)) => (Value::Null, json!(kernel), json!(ramdisk)),
        // Ironic's own defaults apply; nothing is touched.
        _ => return Vec::new(),
    };
    vec![
        ("deploy_iso".into(), iso),
        ("deploy_kernel".into(), kernel),
        ("deploy_ramdisk".into(), ramdisk),
    ]
}
