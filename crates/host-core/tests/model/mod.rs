//! A world for the properties: users who edit, a backend that answers anything, a process that dies.

mod acts;

use jiff::SignedDuration;
use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::host::{BareMetalHost, ProvisioningState};
use metal3_api::metal3::preprovisioning_image::ImageFormat;
use metal3_api::names;
use metal3_host_core::{
    Answer, Ask, BmcSecret, Built, HostView, Observed, PullSecretProblem, Step, Verdict, step, unavailable,
};
use metal3_provisioner::{
    BuiltRamdisk, Capacity, FailureCause, Hardware, Inspection, NodeId, Outcome, PowerTarget, Progress,
    ProvisionArgs, Registration, WaitReason,
};
use serde_json::{Value, json};

pub(crate) use acts::{act, replies, start};

use self::acts::image;
use crate::world::{World, found};

/// What the backend says to an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    Working,
    Started,
    Failed,
    Unknown,
    Unavailable,
}

/// One reply to each kind of ask.
#[derive(Clone)]
pub(crate) struct Replies(Vec<Reply>);

/// On one line: a failing case has many.
impl std::fmt::Debug for Replies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}",
            self.0
                .iter()
                .map(|reply| format!("{reply:?} "))
                .collect::<String>()
        )
    }
}

impl Replies {
    pub(crate) fn all(reply: Reply) -> Self {
        Self(vec![reply; KINDS])
    }
}

const KINDS: usize = 13;

fn kind(ask: &Ask) -> usize {
    match ask {
        Ask::Capacity(_) => 0,
        Ask::Register(_) => 1,
        Ask::Inspect(_) => 2,
        Ask::Adopt(_) => 3,
        Ask::Prepare(_) => 4,
        Ask::Provision(_) => 5,
        Ask::Deprovision(_) => 6,
        Ask::Delete => 7,
        Ask::Detach(_) => 8,
        Ask::Hardware => 9,
        Ask::SetPower(_) => 10,
        Ask::PreprovisioningImage { .. } => 11,
        Ask::Service(_) => 12,
    }
}

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    No,
    /// After this many writes of a verdict.
    After(usize),
    /// It decided on an old object; its writes are refused.
    Stale,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Pass {
        replies: Replies,
        crash: Crash,
    },
    Edit(Value),
    Annotate(&'static str, Option<&'static str>),
    Secret(BmcSecret),
    Wait(i64),
    Power(bool),
    External(bool),
    /// Somebody brings HardwareData.
    Hardware(&'static str),
    /// The backend starts anew with an empty database.
    Lost,
    Delete,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) world: World,
    /// The object before the last commit.
    pub(crate) older: Option<BareMetalHost>,
    /// Whether the backend holds a node for the host.
    pub(crate) node: bool,
    /// How often it lost its database.
    lost: usize,
    pub(crate) power: bool,
    /// The image that the backend writes or has written; it takes no other one before it is undeployed or fails.
    pub(crate) image: Option<String>,
}

impl Model {
    pub(crate) fn new(host: &Value) -> Self {
        let mut world = World::new(host);
        world.settings.build_preprovisioning_images = world
            .host()
            .metadata
            .labels
            .as_ref()
            .is_some_and(|labels| labels.contains_key("ramdisk"));
        let status = world.status();
        Self {
            lost: 1,
            node: !status.provisioning.id.is_empty(),
            power: status.powered_on,
            image: status.provisioning.image.map(|image| image.url),
            older: None,
            world,
        }
    }

    /// A pass over a host, which may be older than the stored one. Asks act even if the verdict is lost.
    pub(crate) fn pass(&mut self, host: &BareMetalHost, replies: &Replies) -> (Vec<Ask>, Verdict) {
        let world = World {
            host: Some(host.clone()),
            ..self.world.clone()
        };
        let view: HostView<'_> = world.view();
        let mut seen = Observed::default();
        let mut asks = Vec::new();
        loop {
            let ask = match step(&view, &seen, world.now) {
                Step::Finish(verdict) => return (asks, *verdict),
                Step::Ask(ask) => ask,
            };
            asks.push(ask.clone());
            assert!(asks.len() <= KINDS, "no end of asking: {asks:?}");
            match self.answer(&ask, replies.0[kind(&ask)]) {
                Some(answer) => seen.record(answer),
                None => return (asks, unavailable(&view, "connection refused", world.now)),
            }
        }
    }

    pub(crate) fn commit(&mut self, verdict: &Verdict, steps: usize) {
        self.older = self.world.host.clone();
        self.world.commit(verdict, steps);
    }

    fn answer(&mut self, ask: &Ask, reply: Reply) -> Option<Answer> {
        let poll = SignedDuration::from_secs(10);
        let outcome = |reason| match reply {
            Reply::Done | Reply::Unknown | Reply::Unavailable => Outcome::done(),
            Reply::Working => Outcome::working(reason, poll),
            Reply::Started => Outcome::working(reason, poll).started(),
            Reply::Failed => Outcome::failed(FailureCause::Unknown, "no luck"),
        };
        if reply == Reply::Unavailable {
            return None;
        }
        if reply == Reply::Unknown
            && !self.node
            && !matches!(
                ask,
                Ask::Capacity(_) | Ask::Register(_) | Ask::PreprovisioningImage { .. }
            )
        {
            return Some(Answer::NodeUnknown);
        }
        Some(match ask {
            Ask::Capacity(_) if reply == Reply::Failed => Answer::Capacity(Capacity::Full {
                busy: 20,
                limit: 20,
                position: 1,
            }),
            Ask::PreprovisioningImage { .. } => Answer::PreprovisioningImage(built(reply)),
            Ask::Service(_) => Answer::Service(outcome(WaitReason::Servicing)),
            Ask::Capacity(_) => Answer::Capacity(Capacity::Free),
            Ask::Register(_) => {
                self.node = true;
                let outcome = outcome(WaitReason::VerifyingBmcAccess);
                Answer::Register(Registration {
                    node: Some(NodeId(format!("node-{}", self.lost))),
                    outcome,
                })
            }
            Ask::Inspect(_) => {
                let outcome = outcome(WaitReason::Inspecting);
                let details = HardwareDetails {
                    cpu: serde_json::from_value(json!({"arch": "x86_64"})).expect("a CPU"),
                    ..HardwareDetails::default()
                };
                let details = (outcome.progress == Progress::Done).then(|| Box::new(details));
                Answer::Inspect(Inspection { outcome, details })
            }
            Ask::Adopt(_) => Answer::Adopt(outcome(WaitReason::Adopting)),
            Ask::Prepare(_) => Answer::Prepare(outcome(WaitReason::Preparing)),
            Ask::Provision(args) => self.provision(args, reply, outcome(WaitReason::Deploying)),
            Ask::Deprovision(_) => {
                let outcome = outcome(WaitReason::Undeploying);
                if outcome.progress == Progress::Done {
                    self.image = None;
                }
                Answer::Deprovision(outcome)
            }
            Ask::Delete | Ask::Detach(_) => {
                let outcome = outcome(WaitReason::RemovingNode);
                self.node &= outcome.progress != Progress::Done;
                if matches!(ask, Ask::Delete) {
                    Answer::Delete(outcome)
                } else {
                    Answer::Detach(outcome)
                }
            }
            Ask::Hardware => Answer::Hardware(Hardware {
                powered_on: (reply != Reply::Failed).then_some(self.power),
                power_fault: reply == Reply::Working,
                health: None,
            }),
            Ask::SetPower(args) => {
                if reply == Reply::Done {
                    self.power = args.target == PowerTarget::On;
                }
                Answer::SetPower(outcome(WaitReason::PowerChanging))
            }
        })
    }

    fn provision(&mut self, args: &ProvisionArgs, reply: Reply, outcome: Outcome) -> Answer {
        let wanted = args.deploy.image.as_ref().map(|image| image.url.clone());
        let wanted = wanted.unwrap_or_default();
        match reply {
            Reply::Started => return Answer::ConfigDataMissing("no user data".into()),
            // Needed only until a deployment has begun.
            Reply::Failed if wanted.starts_with("oci") && self.image.is_none() => {
                return Answer::PullSecretUnusable {
                    problem: PullSecretProblem::Content,
                    message: "no such registry".into(),
                };
            }
            Reply::Failed => self.image = None,
            Reply::Done | Reply::Working | Reply::Unknown | Reply::Unavailable => {
                self.image.get_or_insert(wanted);
            }
        }
        Answer::Provision(outcome)
    }

    /// Everything but a pass.
    pub(crate) fn change(&mut self, act: &Act) {
        if self.world.host.is_none() {
            return;
        }
        match act {
            Act::Pass { .. } => {}
            Act::Edit(change) => self.world.edit(change),
            Act::Annotate(name, value) => self.world.annotate(name, *value),
            Act::Secret(secret) => self.world.secret = secret.clone(),
            Act::Wait(minutes) => self.world.pass_time(SignedDuration::from_mins(*minutes)),
            Act::Power(on) => self.power = *on,
            Act::External(on) => {
                // The webhook lets the flag be set on available hosts only.
                if !on || self.world.status().provisioning.state == ProvisioningState::Available {
                    self.world.edit(&json!({"spec": {"externallyProvisioned": on}}));
                }
            }
            Act::Hardware(details) => {
                self.world.bring(&serde_json::from_str(details).expect("details"));
            }
            Act::Lost => {
                self.node = false;
                self.lost += 1;
                // What is on the disks is still there, and taken over where it is known.
                let deployed = self.world.status().provisioning.image.map(|image| image.url);
                self.image = deployed.filter(|url| !url.is_empty());
            }
            Act::Delete => self.world.delete(),
        }
    }

    /// The user wants one image and nothing else; all that was missing is there.
    pub(crate) fn calm_down(&mut self) {
        for name in [
            names::ANNOTATION_PAUSED,
            names::ANNOTATION_DETACHED,
            names::ANNOTATION_REBOOT,
            "reboot.metal3.io/client",
            "reboot.metal3.io/other",
            names::ANNOTATION_INSPECT,
            names::ANNOTATION_STATUS,
        ] {
            self.world.annotate(name, None);
        }
        self.world.secret = found("new");
        self.world.edit(&json!({"spec": {
            "online": true, "externallyProvisioned": false, "customDeploy": null, "hardwareProfile": null, "raid": null,
            "bmc": {"address": "redfish://bmc", "credentialsName": "a-bmc"},
            "image": image("final"),
        }}));
    }
}

fn built(reply: Reply) -> Built {
    match reply {
        Reply::Done | Reply::Unknown | Reply::Unavailable => Built::Ready(BuiltRamdisk {
            url: "http://images/host.iso".into(),
            kernel_url: None,
            extra_kernel_params: None,
            format: ImageFormat::Iso,
        }),
        Reply::Working | Reply::Started => Built::NotYet {
            detail: "not built".into(),
        },
        Reply::Failed => Built::Failed("no such format".into()),
    }
}
