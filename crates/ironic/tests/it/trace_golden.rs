//! What Ironic is asked for when something is to change, as the upstream operator v0.13.1 asks.
//!
//! `trace_upstream` checks that these are its words, `conformance/traces.rs` that our adapter uses the same. The words of
//! [`crate::trace_recorder::lines`] stand for what differs from run to run.

pub(crate) const REGISTRATION: &[&str] = &[
    r#"POST nodes boot_interface="redfish-virtual-media" disable_power_off=false driver="redfish" driver_info(redfish_address redfish_password redfish_system_id redfish_username) firmware_interface="redfish" inspect_interface="agent" name="{name}" properties={"capabilities":"boot_mode:uefi","cpu_arch":"x86_64"} raid_interface="redfish""#,
    r#"POST ports {"address":"{mac}","node_uuid":"{uuid}","pxe_enabled":true}"#,
    r#"PUT nodes/{uuid}/states/provision {"target":"manage"}"#,
    r#"PATCH nodes/{uuid} [/automated_clean=true, /driver_info/deploy_kernel="{kernel}", /driver_info/deploy_ramdisk="{ramdisk}"]"#,
];

/// Where our adapter differs, on purpose: it sends the same fields, but all of them before the node is verified. Upstream
/// configures nodes in every state but `enroll`, so that one is manageable for a while without its ramdisk and with Ironic's
/// own default of cleaning; if the operator stops then, whoever provides the node cleans its disks although its user
/// disabled that. Ironic takes these fields in `enroll`, too, and none of them matters to the verification. The cleaning
/// mode goes with the creation, where it costs no request.
pub(crate) const OUR_REGISTRATION: &[&str] = &[
    r#"POST nodes automated_clean=true boot_interface="redfish-virtual-media" disable_power_off=false driver="redfish" driver_info(redfish_address redfish_password redfish_system_id redfish_username) firmware_interface="redfish" inspect_interface="agent" name="{name}" properties={"capabilities":"boot_mode:uefi","cpu_arch":"x86_64"} raid_interface="redfish""#,
    r#"PATCH nodes/{uuid} [/driver_info/deploy_kernel="{kernel}", /driver_info/deploy_ramdisk="{ramdisk}"]"#,
    r#"POST ports {"address":"{mac}","node_uuid":"{uuid}","pxe_enabled":true}"#,
    r#"PUT nodes/{uuid}/states/provision {"target":"manage"}"#,
];

pub(crate) const INSPECTION: &[&str] = &[r#"PUT nodes/{uuid}/states/provision {"target":"inspect"}"#];

/// From `manageable`, with the default root device of the hardware profile and no data of the user.
pub(crate) const PROVISION: &[&str] = &[
    r#"PUT nodes/{uuid}/states/provision {"target":"provide"}"#,
    r#"PATCH nodes/{uuid} [/driver_info/force_persistent_boot_device="Default", /instance_info/capabilities={}, /instance_info/image_disk_format="qcow2", /instance_info/image_os_hash_algo="sha256", /instance_info/image_os_hash_value="{checksum}", /instance_info/image_source="{image}", /instance_info/root_device={"name":"s== /dev/sda"}, /instance_uuid="{uuid}"]"#,
    r#"PUT nodes/{uuid}/states/provision {"configdrive":"meta_data","target":"active"}"#,
];

pub(crate) const SOFT_REBOOT: &[&str] = &[
    r#"PUT nodes/{uuid}/states/power {"target":"soft power off","timeout":180}"#,
    r#"PUT nodes/{uuid}/states/power {"target":"power on"}"#,
];

pub(crate) const HARD_REBOOT: &[&str] = &[
    r#"PUT nodes/{uuid}/states/power {"target":"power off"}"#,
    r#"PUT nodes/{uuid}/states/power {"target":"power on"}"#,
];

pub(crate) const DEPROVISION: &[&str] = &[r#"PUT nodes/{uuid}/states/provision {"target":"deleted"}"#];

/// From `available`, without an image, after a deployment with one.
pub(crate) const CUSTOM_DEPLOY: &[&str] = &[
    r#"PATCH nodes/{uuid} [/deploy_interface="custom-agent", /instance_info/capabilities={}, /instance_info/root_device={"name":"s== /dev/sda"}, /instance_uuid="{uuid}"]"#,
    r#"PUT nodes/{uuid}/states/provision {"configdrive":"meta_data","deploy_steps":[{"args":{},"interface":"deploy","priority":80,"step":"{step}"}],"target":"active"}"#,
];

/// Of a host that is `available` and off.
pub(crate) const DELETE: &[&str] = &[r#"DELETE nodes/{uuid}"#];

pub(crate) const ADOPTION: &[&str] = &[r#"PUT nodes/{uuid}/states/provision {"target":"adopt"}"#];

/// Of a host that somebody else provisioned.
pub(crate) const EXTERNAL_DELETE: &[&str] = &[
    r#"PUT nodes/{uuid}/maintenance {"reason":"forcing deletion in baremetal-operator"}"#,
    r#"DELETE nodes/{uuid}"#,
];
