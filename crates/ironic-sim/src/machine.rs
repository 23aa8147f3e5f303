//! Ironic's state machine as pure functions: what a verb does, which stages a long operation goes through, and where
//! a failure leads. Nothing here knows of time, nodes or HTTP.

use serde::{Deserialize, Serialize};

/// A provision state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Created, access not verified.
    Enroll,
    /// The BMC is asked.
    Verifying,
    /// Access verified.
    Manageable,
    /// The conductor inspects.
    Inspecting,
    /// The ramdisk inspects.
    InspectWait,
    /// Inspection failed.
    InspectFailed,
    /// Ready for a deployment.
    Available,
    /// The conductor cleans.
    Cleaning,
    /// The ramdisk cleans.
    CleanWait,
    /// Cleaning failed.
    CleanFailed,
    /// The conductor deploys.
    Deploying,
    /// The ramdisk deploys.
    WaitCallBack,
    /// Deployment failed.
    DeployFailed,
    /// An instance runs.
    Active,
    /// The instance is being removed.
    Deleting,
    /// Removing the instance failed.
    Error,
    /// A running instance is being taken over.
    Adopting,
    /// Taking over failed.
    AdoptFailed,
    /// The conductor services.
    Servicing,
    /// The ramdisk services.
    ServiceWait,
    /// Servicing failed.
    ServiceFailed,
}

impl State {
    /// All states.
    pub const ALL: [Self; 21] = [
        Self::Enroll,
        Self::Verifying,
        Self::Manageable,
        Self::Inspecting,
        Self::InspectWait,
        Self::InspectFailed,
        Self::Available,
        Self::Cleaning,
        Self::CleanWait,
        Self::CleanFailed,
        Self::Deploying,
        Self::WaitCallBack,
        Self::DeployFailed,
        Self::Active,
        Self::Deleting,
        Self::Error,
        Self::Adopting,
        Self::AdoptFailed,
        Self::Servicing,
        Self::ServiceWait,
        Self::ServiceFailed,
    ];

    /// Ironic's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Verifying => "verifying",
            Self::Manageable => "manageable",
            Self::Inspecting => "inspecting",
            Self::InspectWait => "inspect wait",
            Self::InspectFailed => "inspect failed",
            Self::Available => "available",
            Self::Cleaning => "cleaning",
            Self::CleanWait => "clean wait",
            Self::CleanFailed => "clean failed",
            Self::Deploying => "deploying",
            Self::WaitCallBack => "wait call-back",
            Self::DeployFailed => "deploy failed",
            Self::Active => "active",
            Self::Deleting => "deleting",
            Self::Error => "error",
            Self::Adopting => "adopting",
            Self::AdoptFailed => "adopt failed",
            Self::Servicing => "servicing",
            Self::ServiceWait => "service wait",
            Self::ServiceFailed => "service failed",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// The ramdisk is at work; the conductor does not hold the lock.
    pub const fn is_wait(self) -> bool {
        matches!(
            self,
            Self::InspectWait | Self::CleanWait | Self::WaitCallBack | Self::ServiceWait
        )
    }

    /// States on the way to another one in which a node may be changed nevertheless.
    pub const fn allows_update(self) -> bool {
        matches!(
            self,
            Self::DeployFailed
                | Self::Inspecting
                | Self::InspectFailed
                | Self::InspectWait
                | Self::CleanFailed
                | Self::Error
                | Self::Verifying
                | Self::AdoptFailed
                | Self::ServiceFailed
        )
    }

    /// States in which interfaces may be changed outside maintenance.
    pub const fn allows_interfaces(self) -> bool {
        matches!(
            self,
            Self::Enroll | Self::Inspecting | Self::InspectWait | Self::Manageable | Self::Available
        )
    }

    /// States in which a node may be removed outside maintenance.
    pub const fn allows_removal(self) -> bool {
        matches!(
            self,
            Self::Enroll | Self::Manageable | Self::Available | Self::AdoptFailed
        )
    }

    /// What is under way, as far as a conductor that restarts cannot resume it.
    pub const fn unresumable(self) -> Option<Operation> {
        match self {
            Self::Verifying => Some(Operation::Verify),
            Self::Inspecting => Some(Operation::Inspect),
            Self::Cleaning => Some(Operation::Clean),
            Self::Deploying => Some(Operation::Deploy),
            Self::Deleting => Some(Operation::Undeploy),
            Self::Adopting => Some(Operation::Adopt),
            Self::Servicing => Some(Operation::Service),
            _ => None,
        }
    }
}

/// What takes time. Latencies and faults are given by these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Access to the BMC is verified.
    Verify,
    /// Power changes.
    Power,
    /// Inspection.
    Inspect,
    /// Cleaning, automated or manual.
    Clean,
    /// Deployment.
    Deploy,
    /// Removal of the instance, without the cleaning that follows.
    Undeploy,
    /// Adoption.
    Adopt,
    /// Servicing.
    Service,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 8] = [
        Self::Verify,
        Self::Power,
        Self::Inspect,
        Self::Clean,
        Self::Deploy,
        Self::Undeploy,
        Self::Adopt,
        Self::Service,
    ];

    /// The word used in flags and by the control API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Power => "power",
            Self::Inspect => "inspect",
            Self::Clean => "clean",
            Self::Deploy => "deploy",
            Self::Undeploy => "undeploy",
            Self::Adopt => "adopt",
            Self::Service => "service",
        }
    }

    /// The operation of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }

    /// Where a failure leads; a failed power change leaves the state alone.
    pub const fn failed(self) -> Option<State> {
        match self {
            Self::Verify => Some(State::Enroll),
            Self::Power => None,
            Self::Inspect => Some(State::InspectFailed),
            Self::Clean => Some(State::CleanFailed),
            Self::Deploy => Some(State::DeployFailed),
            Self::Undeploy => Some(State::Error),
            Self::Adopt => Some(State::AdoptFailed),
            Self::Service => Some(State::ServiceFailed),
        }
    }

    /// Where an abort leads: what is deployed to a host is not lost with its service.
    pub const fn aborted(self) -> Option<State> {
        match self {
            Self::Service => Some(State::Active),
            other => other.failed(),
        }
    }

    /// The fault that a failed step leaves, together with maintenance.
    pub const fn fault(self) -> Option<&'static str> {
        match self {
            Self::Clean => Some("clean failure"),
            Self::Service => Some("service failure"),
            _ => None,
        }
    }
}

/// What a client asks for by `PUT …/states/provision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `manage`
    Manage,
    /// `provide`
    Provide,
    /// `inspect`
    Inspect,
    /// `clean`
    Clean,
    /// `active`
    Deploy,
    /// `rebuild`
    Rebuild,
    /// `deleted`
    Delete,
    /// `adopt`
    Adopt,
    /// `abort`
    Abort,
    /// `service`
    Service,
}

impl Verb {
    /// The verb of a target, under one of its names.
    pub fn parse(target: &str) -> Option<Self> {
        Some(match target {
            "manage" => Self::Manage,
            "provide" => Self::Provide,
            "inspect" => Self::Inspect,
            "clean" => Self::Clean,
            "active" | "deploy" => Self::Deploy,
            "rebuild" => Self::Rebuild,
            "deleted" | "undeploy" => Self::Delete,
            "adopt" => Self::Adopt,
            "abort" => Self::Abort,
            "service" => Self::Service,
            _ => return None,
        })
    }
}

/// What a verb does in a state that accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// A long operation starts; the state is where it shall end.
    Start(Operation, State),
    /// The state changes at once.
    Move(State),
    /// What runs is aborted; the operation ends where that leads, see [`Operation::aborted`].
    Abort(Operation),
}

/// `None`: the state does not accept the verb.
pub const fn react(state: State, verb: Verb) -> Option<Reaction> {
    Some(match (verb, state) {
        (Verb::Manage, State::Enroll) => Reaction::Start(Operation::Verify, State::Manageable),
        (Verb::Manage, State::Available | State::CleanFailed | State::InspectFailed | State::AdoptFailed) => {
            Reaction::Move(State::Manageable)
        }
        (Verb::Provide, State::Manageable) => Reaction::Start(Operation::Clean, State::Available),
        (Verb::Clean, State::Manageable) => Reaction::Start(Operation::Clean, State::Manageable),
        (Verb::Inspect, State::Manageable | State::InspectFailed) => {
            Reaction::Start(Operation::Inspect, State::Manageable)
        }
        (Verb::Adopt, State::Manageable | State::AdoptFailed) => {
            Reaction::Start(Operation::Adopt, State::Active)
        }
        (Verb::Deploy, State::Available | State::DeployFailed)
        | (Verb::Rebuild, State::Active | State::DeployFailed | State::Error) => {
            Reaction::Start(Operation::Deploy, State::Active)
        }
        (
            Verb::Delete,
            State::Active
            | State::DeployFailed
            | State::WaitCallBack
            | State::Error
            | State::ServiceFailed
            | State::ServiceWait,
        ) => Reaction::Start(Operation::Undeploy, State::Available),
        (Verb::Service, State::Active | State::ServiceFailed) => {
            Reaction::Start(Operation::Service, State::Active)
        }
        (Verb::Abort, State::InspectWait) => Reaction::Abort(Operation::Inspect),
        (Verb::Abort, State::CleanWait) => Reaction::Abort(Operation::Clean),
        (Verb::Abort, State::WaitCallBack) => Reaction::Abort(Operation::Deploy),
        (Verb::Abort, State::ServiceWait) => Reaction::Abort(Operation::Service),
        (Verb::Abort, State::ServiceFailed) => Reaction::Move(State::Active),
        _ => return None,
    })
}

/// A part of a long operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The state during it.
    pub state: State,
    /// Its share of the operation's latency, in percent.
    pub share: u32,
}

/// How an operation is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A ramdisk is booted on the machine.
    Ramdisk,
    /// The BMC alone does it.
    Bmc,
}

/// The stages of an operation; the conductor's come first and last, the ramdisk's in between.
pub const fn stages(operation: Operation, means: Means) -> &'static [Stage] {
    const fn stage(state: State, share: u32) -> Stage {
        Stage { state, share }
    }
    const VERIFY: &[Stage] = &[stage(State::Verifying, 100)];
    const INSPECT: &[Stage] = &[
        stage(State::Inspecting, 10),
        stage(State::InspectWait, 80),
        stage(State::Inspecting, 10),
    ];
    const INSPECT_BMC: &[Stage] = &[stage(State::Inspecting, 100)];
    const CLEAN: &[Stage] = &[
        stage(State::Cleaning, 10),
        stage(State::CleanWait, 80),
        stage(State::Cleaning, 10),
    ];
    const DEPLOY: &[Stage] = &[
        stage(State::Deploying, 10),
        stage(State::WaitCallBack, 70),
        stage(State::Deploying, 20),
    ];
    const DEPLOY_BMC: &[Stage] = &[stage(State::Deploying, 100)];
    const UNDEPLOY: &[Stage] = &[stage(State::Deleting, 100)];
    const ADOPT: &[Stage] = &[stage(State::Adopting, 100)];
    const SERVICE: &[Stage] = &[
        stage(State::Servicing, 10),
        stage(State::ServiceWait, 80),
        stage(State::Servicing, 10),
    ];
    match (operation, means) {
        (Operation::Verify, _) => VERIFY,
        (Operation::Power, _) => &[],
        (Operation::Inspect, Means::Ramdisk) => INSPECT,
        (Operation::Inspect, Means::Bmc) => INSPECT_BMC,
        (Operation::Clean, _) => CLEAN,
        (Operation::Deploy, Means::Ramdisk) => DEPLOY,
        (Operation::Deploy, Means::Bmc) => DEPLOY_BMC,
        (Operation::Undeploy, _) => UNDEPLOY,
        (Operation::Adopt, _) => ADOPT,
        (Operation::Service, _) => SERVICE,
    }
}
