//! What an inspection leaves in Ironic, and a deployment on the machine.

use std::time::Instant;

use serde_json::{Map, Value};

use crate::actions::Deed;
use crate::hardware;
use crate::machine::Operation;
use crate::node::Node;
use crate::server::Disk;
use crate::world::{Port, World};

impl World {
    /// Inspection data arrived: ports as `add_ports=all` and `keep_ports=present` make them.
    pub(crate) fn inspected(&mut self, number: u64, now: Instant) {
        let wall = self.wall(now);
        let Some(node) = self.nodes.get(&number) else {
            return;
        };
        let Ok(access) = crate::bmc::access(node) else {
            return;
        };
        let known = self.boot_mac(node).map(str::to_owned);
        let reported = node.inventory.as_deref().map(hardware::macs_of);
        let identity = self.server(&access.address).identity;
        let boot = known.unwrap_or_else(|| hardware::mac(identity, 0));
        let macs = reported.unwrap_or_else(|| hardware::macs(identity, &boot).to_vec());
        for (index, address) in macs.into_iter().enumerate() {
            if self.by_mac(&address).is_none() {
                self.insert_port(Port {
                    uuid: uuid::Uuid::new_v4(),
                    node: number,
                    address,
                    pxe: index == 0,
                    created: wall,
                });
            }
        }
        if let Some(node) = self.nodes.get_mut(&number) {
            node.inspected = Some(boot);
            node.inspection_finished = Some(wall);
        }
    }

    pub(crate) fn deployed(&mut self, number: u64, now: Instant) {
        let wall = self.wall(now);
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        let Ok(access) = crate::bmc::access(node) else {
            return;
        };
        let config_drive = node.config_drive.take();
        let info = |key: &str| {
            node.instance_info
                .get(key)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let live = info("boot_iso").filter(|_| node.interfaces.named("deploy") == "ramdisk");
        let disk = live.is_none().then(|| Disk {
            image: info("image_source").unwrap_or_else(|| "custom".to_owned()),
            image_info: image_info(&node.instance_info),
            configdrive: config_drive.unwrap_or_default(),
        });
        let written = live
            .clone()
            .or_else(|| disk.as_ref().map(|disk| disk.image.clone()));
        let server = self.server(&access.address);
        server.live_iso = live;
        if let Some(disk) = disk {
            server.disk = Some(disk);
        }
        server.boot(wall);
        if let Some(node) = self.nodes.get_mut(&number) {
            node.power = Some(true);
        }
        self.record(number, Deed::Deploy, Some(Operation::Deploy), written, now);
    }
}

const DEPLOY: &str = "deploy_interface";
/// Where the interface that a user chose is kept while another one is in force.
const ORIGINAL: &str = "original_deploy_interface";

/// `autodetect` becomes what fits the image.
pub(crate) fn resolve_deploy_interface(node: &mut Node) {
    if node.interfaces.named("deploy") != "autodetect" {
        return;
    }
    let live =
        node.instance_info.contains_key("boot_iso") && !node.instance_info.contains_key("image_source");
    let chosen = if live { "ramdisk" } else { "direct" };
    if let Some(kind) = crate::interfaces::kind_of(DEPLOY)
        && node.interfaces.set(kind, Some(chosen), &node.driver).is_ok()
    {
        node.other.insert(ORIGINAL.to_owned(), Value::from("autodetect"));
    }
}

/// Undeploying leaves nothing of the instance.
pub(crate) fn forget_instance(node: &mut Node) {
    node.instance_info.clear();
    node.instance_uuid = None;
    node.config_drive = None;
    if let (Some(Value::String(original)), Some(kind)) =
        (node.other.remove(ORIGINAL), crate::interfaces::kind_of(DEPLOY))
        && let Err(refusal) = node.interfaces.set(kind, Some(&original), &node.driver)
    {
        tracing::debug!(?refusal, "the deploy interface stays");
    }
}

/// What is said of an image, without secrets.
fn image_info(instance_info: &Map<String, Value>) -> Map<String, Value> {
    instance_info
        .iter()
        .filter(|(key, _)| key.starts_with("image_") && *key != "image_pull_secret")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
