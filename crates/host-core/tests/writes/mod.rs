//! How often the status of a host is written in its life: each write costs the API server and everybody who watches.

use jiff::SignedDuration;
use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::host::ProvisioningState as S;
use metal3_host_core::{Answer, Ask, Finish, Observed, Step, Verdict, Write, step};
use metal3_provisioner::{
    Capacity, Hardware, Inspection, NodeId, Outcome, PowerTarget, Registration, WaitReason,
};
use serde_json::json;

use crate::world::World;

/// A backend in which each operation takes some passes, and goes through the steps that Ironic goes through.
struct Backend {
    power: bool,
    /// Passes of the operation at work.
    passes: usize,
}

impl Backend {
    fn outcome(&mut self, steps: &[WaitReason]) -> Outcome {
        let step = steps.get(self.passes);
        self.passes += 1;
        match step {
            Some(reason) => Outcome::working(*reason, SignedDuration::from_secs(3)),
            None => {
                self.passes = 0;
                Outcome::done()
            }
        }
    }

    fn answer(&mut self, ask: &Ask, registered: bool) -> Answer {
        use WaitReason as W;
        match ask {
            Ask::Capacity(_) => Answer::Capacity(Capacity::Free),
            Ask::Register(_) => Answer::Register(Registration {
                node: Some(NodeId("node-1".into())),
                outcome: if registered {
                    Outcome::done()
                } else {
                    self.outcome(&[W::BackendTransition, W::VerifyingBmcAccess, W::VerifyingBmcAccess])
                },
            }),
            Ask::Inspect(_) => {
                let outcome =
                    self.outcome(&[W::BackendTransition, W::Inspecting, W::NodeLocked, W::Inspecting]);
                let details = HardwareDetails {
                    cpu: serde_json::from_value(json!({"arch": "x86_64"})).expect("a CPU"),
                    ..HardwareDetails::default()
                };
                let details = (outcome == Outcome::done()).then(|| Box::new(details));
                Answer::Inspect(Inspection { outcome, details })
            }
            Ask::Prepare(_) => Answer::Prepare(Outcome::done()),
            Ask::Adopt(_) => Answer::Adopt(Outcome::done()),
            Ask::Provision(_) => Answer::Provision(self.outcome(&[
                W::BackendTransition,
                W::Cleaning,
                W::BackendTransition,
                W::Deploying,
                W::Deploying,
            ])),
            Ask::Deprovision(_) => {
                Answer::Deprovision(self.outcome(&[W::Undeploying, W::NodeLocked, W::Cleaning]))
            }
            Ask::Delete => Answer::Delete(self.outcome(&[W::NodeLocked, W::RemovingNode])),
            Ask::Hardware => Answer::Hardware(Hardware {
                powered_on: Some(self.power),
                ..Hardware::default()
            }),
            Ask::SetPower(args) => {
                let on = args.target == PowerTarget::On;
                Answer::SetPower(if on == self.power {
                    Outcome::done()
                } else {
                    self.power = on;
                    Outcome::working(W::PowerChanging, SignedDuration::from_secs(3)).started()
                })
            }
            other @ (Ask::PreprovisioningImage { .. } | Ask::Service(_) | Ask::Detach(_)) => {
                panic!("not in this life: {other:?}")
            }
        }
    }
}

/// Passes until the host is in this state and at rest; gives the writes of the status, and of everything.
fn until(world: &mut World, backend: &mut Backend, done: impl Fn(&World) -> bool) -> (usize, usize) {
    let (mut status, mut all) = (0, 0);
    for _ in 0..60 {
        let verdict = pass(world, backend);
        let written = verdict.finish != Finish::RemoveFinalizer && world.status() != verdict.status;
        status += usize::from(written);
        all += usize::from(written) + usize::from(verdict.finish != Finish::Keep);
        all += verdict
            .writes
            .iter()
            .filter(|write| **write != Write::ReleaseOwned)
            .count();
        world.commit(&verdict, usize::MAX);
        world.pass_time(SignedDuration::from_secs(1));
        if world.host.is_none() || verdict.next.reason().is_none() && done(world) {
            return (status, all);
        }
    }
    panic!("no end: {:?}", world.status());
}

fn pass(world: &World, backend: &mut Backend) -> Verdict {
    let registered = world.status().good_credentials.credentials.is_some();
    let mut seen = Observed::default();
    loop {
        match step(&world.view(), &seen, world.now) {
            Step::Finish(verdict) => return *verdict,
            Step::Ask(ask) => seen.record(backend.answer(&ask, registered)),
        }
    }
}

#[test]
fn a_life_costs_few_writes() {
    let mut world = World::new(&serde_json::Value::Null);
    let mut backend = Backend {
        power: true,
        passes: 0,
    };
    let state = |wanted: S| move |world: &World| world.status().provisioning.state == wanted;
    let available = until(&mut world, &mut backend, state(S::Available));
    // Status, and besides the finalizer, HardwareData and the architecture.
    assert_eq!(available, (3, 6), "to available");
    world.edit(&json!({"spec": {"image": {"url": "http://images/a", "checksum": "abc"}}}));
    let provisioned = until(&mut world, &mut backend, state(S::Provisioned));
    assert_eq!(provisioned.0, 2, "to provisioned");
    world.edit(&json!({"spec": {"image": null}}));
    let again = until(&mut world, &mut backend, state(S::Available));
    assert_eq!(again.0, 2, "back to available");
    world.delete();
    let gone = until(&mut world, &mut backend, |world| world.host.is_none());
    assert_eq!(gone.0, 2, "to its end");
}
