//! Long operations: how they begin, go through their stages, and end.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::faults::Kind;
use crate::hardware;
use crate::machine::{Means, Operation, Reaction, State, Verb, react, stages};
use crate::node::{Job, Node, Target};
use crate::refusal::Refusal;
use crate::server::Disk;
use crate::world::{Port, World, with_names};

impl World {
    /// Does what a verb asks for.
    ///
    /// # Errors
    /// When the node's state does not accept the verb.
    pub(crate) fn verb(&mut self, number: u64, name: &str, verb: Verb, now: Instant) -> Result<(), Refusal> {
        let wall = self.wall(now);
        let node = self.node_mut(number)?;
        match react(node.state, verb).ok_or_else(|| wrong_state(node, name))? {
            Reaction::Start(operation, target) => {
                if operation == Operation::Deploy {
                    resolve_deploy_interface(node);
                }
                node.target = Some(target);
                let means = means(node, operation);
                self.start(number, operation, means, now);
            }
            Reaction::Move(state) => {
                node.last_error = None;
                node.enter(state, None, wall);
            }
            Reaction::Abort(operation) => {
                let words = match operation {
                    Operation::Inspect => "Inspection was aborted by request.".to_owned(),
                    other => format!("By request, the {} operation was aborted", other.as_str()),
                };
                self.end_badly(number, operation, words, false, now);
            }
        }
        Ok(())
    }

    fn start(&mut self, number: u64, operation: Operation, means: Means, now: Instant) {
        let wall = self.wall(now);
        if let Some(node) = self.nodes.get_mut(&number) {
            node.last_error = None;
            node.maintenance_reason = node.maintenance_reason.take().filter(|_| node.maintenance);
            // Without automated cleaning the way to available has no stages.
            if operation == Operation::Clean && node.target == Some(State::Available) && !node.cleans() {
                node.job = None;
                node.enter(State::Available, None, wall);
                return;
            }
        }
        self.enter_stage(number, operation, means, 0, now);
    }

    fn enter_stage(&mut self, number: u64, operation: Operation, means: Means, stage: usize, now: Instant) {
        let wall = self.wall(now);
        let Some(entered) = stages(operation, means).get(stage) else {
            return self.finish(number, operation, now);
        };
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        let target = node.target;
        node.enter(entered.state, target, wall);
        node.job = Some(Job::Work {
            operation,
            means,
            stage,
        });
        let mut delay = self.latencies.of(operation) * entered.share / 100;
        if stage == 0 {
            delay += self.slowness(number);
        }
        self.schedule(number, now, delay);
    }

    /// What a slow BMC adds.
    fn slowness(&mut self, number: u64) -> Duration {
        let Some(node) = self.nodes.get(&number) else {
            return Duration::ZERO;
        };
        let slow = with_names(node, |names| {
            self.faults
                .strike_node(names, |kind| matches!(kind, Kind::BmcSlow { .. }))
        });
        match slow {
            Some(Kind::BmcSlow { delay }) => delay,
            _ => Duration::ZERO,
        }
    }

    /// Carries on with a node whose stage has ended.
    pub(crate) fn stage_ended(&mut self, number: u64, now: Instant) {
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        node.hangs = false;
        match node.job {
            Some(Job::Power(target)) => self.power_ended(number, target, now),
            Some(Job::Work {
                operation,
                means,
                stage,
            }) => {
                if self.hangs(number, operation, means, stage) {
                    return;
                }
                match self.outcome(number, operation, means, stage) {
                    Ok(()) => {
                        self.effect(number, operation, means, stage, now);
                        self.enter_stage(number, operation, means, stage + 1, now);
                    }
                    Err(words) => {
                        // A step of the ramdisk failed, or the BMC did not let it begin.
                        let step = stage == 1;
                        self.end_badly(number, operation, words, step, now);
                    }
                }
            }
            None => {}
        }
    }

    /// The stage in which the work proper is done, and in which it may fail or hang.
    const fn is_main(means: Means, operation: Operation, stage: usize) -> bool {
        stage == if stages(operation, means).len() > 1 { 1 } else { 0 }
    }

    fn hangs(&mut self, number: u64, operation: Operation, means: Means, stage: usize) -> bool {
        let Some(node) = self.nodes.get(&number) else {
            return false;
        };
        let hangs = Self::is_main(means, operation, stage)
            && with_names(node, |names| {
                self.faults.strike_node(
                    names,
                    |kind| matches!(kind, Kind::Hang { operation: hanging } if *hanging == operation),
                )
            })
            .is_some();
        if let Some(node) = self.nodes.get_mut(&number) {
            node.hangs = hangs;
        }
        hangs
    }

    fn outcome(
        &mut self,
        number: u64,
        operation: Operation,
        means: Means,
        stage: usize,
    ) -> Result<(), String> {
        if stage == 0 {
            self.contact(number)?;
        }
        let Some(node) = self.nodes.get(&number) else {
            return Ok(());
        };
        if stage == 0 && operation == Operation::Clean && node.maintenance {
            return Err(format!(
                "Cleaning node {} is not allowed while the node is in maintenance mode",
                node.uuid
            ));
        }
        if !Self::is_main(means, operation, stage) {
            return Ok(());
        }
        let uuid = node.uuid;
        let fault = with_names(node, |names| {
            self.faults.strike_node(names, |kind| match kind {
                Kind::Fail {
                    operation: failing, ..
                } => *failing == operation,
                Kind::WrongMac => operation == Operation::Inspect && means == Means::Ramdisk,
                _ => false,
            })
        });
        match fault {
            Some(Kind::Fail { message, .. }) => Err(message.unwrap_or_else(|| {
                format!("Node {uuid} failed to {}: simulated failure", operation.as_str())
            })),
            Some(_) => Err(
                "Timeout reached while inspecting the node. Please check if the ramdisk responsible for the \
                 inspection is running on the node."
                    .to_owned(),
            ),
            None => Ok(()),
        }
    }

    /// What happens to the machine between this stage and the next one.
    fn effect(&mut self, number: u64, operation: Operation, means: Means, stage: usize, now: Instant) {
        let wall = self.wall(now);
        let boots_agent = stage == 0 && stages(operation, means).len() > 1;
        let Some(node) = self.nodes.get(&number) else {
            return;
        };
        let stays_on = node.disable_power_off;
        let Ok(access) = crate::bmc::access(node) else {
            return;
        };
        let server = self.server(&access.address);
        match operation {
            _ if boots_agent => server.boot_agent(wall),
            Operation::Undeploy => {
                server.live_iso = None;
                if stays_on {
                    server.boot(wall);
                } else {
                    server.off(wall);
                }
            }
            Operation::Inspect | Operation::Clean if stage == 2 => {
                if operation == Operation::Clean {
                    server.disk = None;
                }
                if !stays_on {
                    server.off(wall);
                }
            }
            Operation::Service if stage == 2 => server.boot(wall),
            _ => {}
        }
        let power = server.is_on();
        if let Some(node) = self.nodes.get_mut(&number) {
            node.power = Some(power);
        }
    }

    /// All stages passed.
    fn finish(&mut self, number: u64, operation: Operation, now: Instant) {
        let wall = self.wall(now);
        match operation {
            Operation::Inspect => self.inspected(number, now),
            Operation::Deploy => self.deployed(number, now),
            Operation::Undeploy => {
                if let Some(node) = self.nodes.get_mut(&number) {
                    forget_instance(node);
                    node.job = None;
                    let means = means(node, Operation::Clean);
                    return self.start(number, Operation::Clean, means, now);
                }
            }
            Operation::Verify
            | Operation::Clean
            | Operation::Adopt
            | Operation::Service
            | Operation::Power => {}
        }
        if let Some(node) = self.nodes.get_mut(&number) {
            node.verified = true;
            node.job = None;
            let state = node.target.unwrap_or(node.state);
            node.enter(state, None, wall);
        }
    }

    /// An operation failed, or was aborted.
    fn end_badly(&mut self, number: u64, operation: Operation, words: String, step: bool, now: Instant) {
        let wall = self.wall(now);
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        node.job = None;
        // Void what was scheduled: an abort comes in the middle of a stage.
        node.turn = 0;
        node.last_error = Some(words);
        if let Some(fault) = operation.fault().filter(|_| step) {
            node.fault = Some(fault);
            node.maintenance = true;
            node.maintenance_reason.clone_from(&node.last_error);
        }
        if let Some(state) = operation.failed() {
            let target = node
                .target
                .filter(|_| !matches!(state, State::Enroll | State::Error));
            node.enter(state, target, wall);
        }
        let powers_off = matches!(
            operation,
            Operation::Inspect | Operation::Clean | Operation::Deploy
        ) && !node.disable_power_off;
        if powers_off
            && node.power == Some(true)
            && let Ok(access) = crate::bmc::access(node)
        {
            node.power = Some(false);
            self.server(&access.address).off(wall);
        }
    }

    /// Inspection data arrived: ports as `add_ports=all` and `keep_ports=present` make them.
    fn inspected(&mut self, number: u64, now: Instant) {
        let wall = self.wall(now);
        let Some(node) = self.nodes.get(&number) else {
            return;
        };
        let Ok(access) = crate::bmc::access(node) else {
            return;
        };
        let known = self.boot_mac(node).map(str::to_owned);
        let identity = self.server(&access.address).identity;
        let boot = known.unwrap_or_else(|| hardware::mac(identity, 0));
        let macs = hardware::macs(identity, &boot);
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

    fn deployed(&mut self, number: u64, now: Instant) {
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
        let server = self.server(&access.address);
        server.live_iso = live;
        if let Some(disk) = disk {
            server.disk = Some(disk);
        }
        server.boot(wall);
        if let Some(node) = self.nodes.get_mut(&number) {
            node.power = Some(true);
        }
    }

    /// Begins a power change.
    pub(crate) fn set_power(&mut self, number: u64, target: Target, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&number) {
            // Ironic only logs that it refuses.
            if target == Target::Off && node.disable_power_off {
                return;
            }
            if node.state.unresumable().is_none() && !node.state.as_str().ends_with("failed") {
                node.last_error = None;
            }
            node.job = Some(Job::Power(target));
            let delay = self.latencies.of(Operation::Power) + self.slowness(number);
            self.schedule(number, now, delay);
        }
    }

    fn power_ended(&mut self, number: u64, target: Target, now: Instant) {
        let wall = self.wall(now);
        let failure = self.nodes.get(&number).and_then(|node| {
            with_names(node, |names| {
                self.faults.strike_node(
                    names,
                    |kind| matches!(kind, Kind::Fail { operation, .. } if *operation == Operation::Power),
                )
            })
        });
        let words = |cause: &str| {
            let target = target.as_str();
            format!("Failed to change power state to '{target}' by '{target}': {cause}")
        };
        let result = match failure {
            Some(Kind::Fail { message, .. }) => Err(words(message.as_deref().unwrap_or("simulated failure"))),
            _ => self.contact(number).map_err(|cause| words(&cause)).map(|server| {
                match target {
                    Target::On if !server.is_on() => server.boot(wall),
                    Target::On => {}
                    Target::Off => server.off(wall),
                    Target::Reboot => server.boot(wall),
                }
                server.is_on()
            }),
        };
        if let Some(node) = self.nodes.get_mut(&number) {
            node.job = None;
            node.updated = Some(wall);
            match result {
                Ok(power) => node.power = Some(power),
                Err(words) => node.last_error = Some(words),
            }
        }
    }
}

/// The refusal of a verb.
pub(crate) fn wrong_state(node: &Node, action: &str) -> Refusal {
    Refusal::bad(format!(
        "The requested action \"{action}\" can not be performed on node \"{}\" while it is in state \"{}\".",
        node.uuid,
        node.state.as_str()
    ))
}

fn means(node: &Node, operation: Operation) -> Means {
    let by_bmc = match operation {
        Operation::Inspect => node.interfaces.named("inspect") != "agent",
        Operation::Deploy => node.interfaces.named("deploy") == "ramdisk",
        _ => false,
    };
    if by_bmc { Means::Bmc } else { Means::Ramdisk }
}

const DEPLOY: &str = "deploy_interface";
/// Where the interface that a user chose is kept while another one is in force.
const ORIGINAL: &str = "original_deploy_interface";

/// `autodetect` becomes what fits the image.
fn resolve_deploy_interface(node: &mut Node) {
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
fn forget_instance(node: &mut Node) {
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
