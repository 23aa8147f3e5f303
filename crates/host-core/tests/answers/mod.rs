//! Answers of a scenario in words.

use jiff::SignedDuration;
use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::preprovisioning_image::ImageFormat;
use metal3_host_core::{Answer, Ask, Built, PullSecretProblem};
use metal3_provisioner::{
    BuiltRamdisk, Capacity, FailureCause, Hardware, Inspection, NodeId, Outcome, PowerTarget, Progress,
    Registration, WaitReason,
};
use serde_json::{Value, json};

use crate::Player;

impl Player {
    pub(crate) fn answer(&mut self, ask: &Ask, given: Option<&Value>) -> Answer {
        if given.and_then(Value::as_str) == Some("unknown") && !matches!(ask, Ask::Hardware) {
            return Answer::NodeUnknown;
        }
        let outcome = |reason| outcome(given, reason);
        match ask {
            Ask::PreprovisioningImage { .. } => Answer::PreprovisioningImage(Self::ramdisk(given)),
            Ask::Service(_) => Answer::Service(outcome(WaitReason::Servicing)),
            Ask::Capacity(_) => {
                let place = given.and_then(|answer| answer["place"].as_u64());
                let place = place.or_else(|| given.filter(|answer| *answer == "full").map(|_| 1));
                Answer::Capacity(place.map_or(Capacity::Free, |place| Capacity::Full {
                    busy: 20,
                    limit: 20,
                    position: place.try_into().expect("a place"),
                }))
            }
            Ask::Register(_) => {
                if let Some(unusable) = given.and_then(|answer| answer["unusable"].as_str()) {
                    return Answer::NetworkDataUnusable(unusable.into());
                }
                if let Some(node) = given.and_then(|answer| answer["node"].as_str()) {
                    self.node = node.into();
                }
                Answer::Register(Registration {
                    node: Some(NodeId(self.node.clone())),
                    outcome: outcome(WaitReason::VerifyingBmcAccess),
                })
            }
            Ask::Inspect(_) => {
                let outcome = outcome(WaitReason::Inspecting);
                let details = (outcome.progress == Progress::Done).then(|| {
                    Box::new(HardwareDetails {
                        hostname: Some("inspected".into()),
                        cpu: serde_json::from_value(json!({"arch": "x86_64", "count": 8})).expect("a CPU"),
                        ..HardwareDetails::default()
                    })
                });
                Answer::Inspect(Inspection { outcome, details })
            }
            Ask::Adopt(_) => Answer::Adopt(outcome(WaitReason::Adopting)),
            Ask::Prepare(_) => Answer::Prepare(outcome(WaitReason::Preparing)),
            Ask::Provision(_) => {
                let text = |key: &str| given.and_then(|answer| answer[key].as_str().map(str::to_owned));
                if let Some(missing) = text("missing") {
                    return Answer::ConfigDataMissing(missing);
                }
                match text("pull_secret").as_deref() {
                    None => Answer::Provision(outcome(WaitReason::Deploying)),
                    Some(problem) => Answer::PullSecretUnusable {
                        problem: match problem {
                            "missing" => PullSecretProblem::Missing,
                            "format" => PullSecretProblem::Format,
                            _ => PullSecretProblem::Content,
                        },
                        message: format!("the Secret metal3/registry cannot be used: {problem}"),
                    },
                }
            }
            Ask::Deprovision(_) => Answer::Deprovision(outcome(WaitReason::Undeploying)),
            Ask::Delete => Answer::Delete(outcome(WaitReason::RemovingNode)),
            Ask::Detach(_) => Answer::Detach(outcome(WaitReason::RemovingNode)),
            Ask::Hardware => Answer::Hardware(self.hardware(given)),
            Ask::SetPower(args) => {
                let on = args.target == PowerTarget::On;
                Answer::SetPower(if given.is_some() {
                    outcome(WaitReason::PowerChanging)
                } else if on == self.power {
                    Outcome::done()
                } else {
                    self.power = on;
                    Outcome::working(WaitReason::PowerChanging, SignedDuration::from_secs(3)).started()
                })
            }
        }
    }

    fn ramdisk(given: Option<&Value>) -> Built {
        match given.map(|answer| answer.as_str().expect("a word")) {
            None | Some("done") => Built::Ready(BuiltRamdisk {
                url: "http://images/host.iso".into(),
                kernel_url: None,
                extra_kernel_params: None,
                format: ImageFormat::Iso,
            }),
            Some("working") => Built::NotYet {
                detail: "the image is being built".into(),
            },
            Some(other) => Built::Failed(other.into()),
        }
    }

    fn hardware(&self, given: Option<&Value>) -> Hardware {
        let known = Hardware {
            powered_on: Some(self.power),
            ..Hardware::default()
        };
        match given.map(|answer| answer.as_str().expect("a word")) {
            None => known,
            Some("on") => Hardware {
                powered_on: Some(true),
                ..known
            },
            Some("off") => Hardware {
                powered_on: Some(false),
                ..known
            },
            Some("unknown") => Hardware {
                powered_on: None,
                ..known
            },
            Some("fault") => Hardware {
                power_fault: true,
                ..known
            },
            Some(health) => Hardware {
                health: Some(health.into()),
                ..known
            },
        }
    }
}

fn outcome(given: Option<&Value>, reason: WaitReason) -> Outcome {
    let working = || Outcome::working(reason, SignedDuration::from_secs(10));
    match given {
        None => Outcome::done(),
        Some(Value::String(word)) => match word.as_str() {
            "done" => Outcome::done(),
            "working" => working(),
            "started" => working().started(),
            other => panic!("no answer: {other}"),
        },
        Some(answer) if answer["node"].is_string() => Outcome::done(),
        Some(answer) if answer["working"].is_string() => {
            let code = answer["working"].as_str().expect("a code");
            let reason = WaitReason::from_code(code).expect("a reason");
            Outcome::working(reason, SignedDuration::from_secs(10))
        }
        Some(answer) => Outcome::failed(FailureCause::Unknown, answer["failed"].as_str().expect("failed")),
    }
}
