//! Long operations: how they begin, go through their stages, and end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::actions::{Action, Deed};
use crate::faults::Kind;
use crate::instance::{forget_instance, resolve_deploy_interface};
use crate::machine::{Means, Operation, Reaction, State, Verb, react, stages};
use crate::node::{Job, Node};
use crate::refusal::Refusal;
use crate::world::{World, with_names};

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
            // What went wrong before stays to be read.
            Reaction::Move(state) => {
                node.enter(state, None, wall);
            }
            Reaction::Abort(operation) => {
                let words = match operation {
                    Operation::Inspect => "Inspection was aborted by request.".to_owned(),
                    other => format!("By request, the {} operation was aborted", other.as_str()),
                };
                self.end_badly(number, operation, words, false, now);
                if let (Some(state), Some(node)) = (operation.aborted(), self.nodes.get_mut(&number)) {
                    let target = node.target.filter(|target| *target != state);
                    node.enter(state, target, wall);
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, number: u64, operation: Operation, means: Means, now: Instant) {
        let wall = self.wall(now);
        if let Some(node) = self.nodes.get_mut(&number) {
            node.last_error = None;
            if operation == Operation::Inspect {
                node.inventory = None;
            }
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

    /// The ramdisk of an inspection reported.
    pub(crate) fn reported(&mut self, number: u64, inventory: Value, now: Instant) {
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        let Some(Job::Work { means, stage, .. }) = node.job else {
            return;
        };
        node.hangs = false;
        self.enter_stage(number, Operation::Inspect, means, stage + 1, now);
        if let Some(node) = self.nodes.get_mut(&number) {
            node.inventory = Some(Box::new(inventory));
        }
    }

    /// What a slow BMC adds.
    pub(crate) fn slowness(&mut self, number: u64) -> Duration {
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
                match self.outcome(number, operation, means, stage, now) {
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
        // In maintenance Ironic does not listen to the ramdisk.
        let unheard = node.maintenance && node.state.is_wait();
        let struck = Self::is_main(means, operation, stage)
            && with_names(node, |names| {
                self.faults.strike_node(
                    names,
                    |kind| matches!(kind, Kind::Hang { operation: hanging } if *hanging == operation),
                )
            })
            .is_some();
        let hangs = struck || unheard;
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
        now: Instant,
    ) -> Result<(), String> {
        if stage == 0 {
            self.contact(number)?;
            self.check_steps(number, operation)?;
        }
        let Some(node) = self.nodes.get(&number) else {
            return Ok(());
        };
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
            Some(Kind::Fail { message, .. }) => Err(message.unwrap_or_else(|| simulated(operation, uuid))),
            Some(_) => Err(
                "Timeout reached while inspecting the node. Please check if the ramdisk responsible for the \
                 inspection is running on the node."
                    .to_owned(),
            ),
            None if matches!(operation, Operation::Clean | Operation::Service) => {
                self.carry_out(number, operation, now)
            }
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
        let mut deeds = Vec::new();
        match operation {
            _ if boots_agent => {
                server.boot_agent(wall);
                deeds.push(Deed::BootRamdisk);
            }
            Operation::Undeploy => {
                server.live_iso = None;
                deeds.push(Deed::Undeploy);
                if stays_on {
                    server.boot(wall);
                    deeds.push(Deed::Reboot);
                } else {
                    server.off(wall);
                    deeds.push(Deed::PowerOff);
                }
            }
            Operation::Inspect | Operation::Clean if stage == 2 && !stays_on => {
                server.off(wall);
                deeds.push(Deed::PowerOff);
            }
            Operation::Service if stage == 2 => {
                server.boot(wall);
                deeds.push(Deed::Reboot);
            }
            _ => {}
        }
        let power = server.is_on();
        if let Some(node) = self.nodes.get_mut(&number) {
            node.power = Some(power);
        }
        for deed in deeds {
            self.record(number, deed, Some(operation), None, now);
        }
    }

    /// Writes down what was done to the machine of a node.
    pub(crate) fn record(
        &mut self,
        number: u64,
        deed: Deed,
        operation: Option<Operation>,
        detail: Option<String>,
        now: Instant,
    ) {
        let (order, at) = (self.number(), self.wall(now));
        let Some(node) = self.nodes.get(&number) else {
            return;
        };
        let action = Action {
            number: order,
            at,
            deed,
            operation,
            detail: detail.map(Into::into),
            node: Some(node.uuid),
            asked: Arc::clone(&node.asked),
        };
        if let Ok(access) = crate::bmc::access(node) {
            self.server(&access.address).actions.push(action);
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
            node.steps = Box::default();
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
        node.steps = Box::default();
        // Void what was scheduled: an abort comes in the middle of a stage.
        node.turn = 0;
        node.last_error = Some(words).filter(|words| !words.is_empty());
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
            self.record(number, Deed::PowerOff, Some(operation), None, now);
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

/// Ironic's words about a failure without a message of its own.
fn simulated(operation: Operation, node: uuid::Uuid) -> String {
    let step = match operation {
        Operation::Clean => "Clean step deploy.erase_devices_metadata",
        Operation::Deploy => "Deploy step deploy.write_image",
        Operation::Service => "Service step firmware.update",
        Operation::Inspect => {
            return "Failed to inspect hardware. Reason: Ramdisk reported error: simulated failure"
                .to_owned();
        }
        Operation::Verify | Operation::Power | Operation::Undeploy | Operation::Adopt => {
            return format!("Node {node} failed to {}: simulated failure", operation.as_str());
        }
    };
    format!("{step} failed on node {node}. simulated failure")
}
