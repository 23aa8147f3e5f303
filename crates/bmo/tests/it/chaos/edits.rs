//! The hosts, and what users do to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use metal3_ironic_sim::control::Machine;
use metal3_testkit::build::HostBuilder;
use metal3_testkit::wait;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Chaos, NAMESPACE};
use crate::world::new_host;

const IMAGES: [&str; 3] = ["a", "b", "c"];
const AT_ONCE: usize = 8;

/// What may be done to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: its machine must not notice that there was a storm.
    Untouched,
    /// Power, reboots, pauses and detachments: what is on its disk must stay.
    Calm,
    /// Anything.
    Wild,
}

/// A host of the test.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) builder: HostBuilder,
    /// How often it was asked for that what is on its disk goes.
    pub(super) meant: usize,
}

/// All of them.
pub(super) struct Fleet {
    pub(super) chaos: Arc<Chaos>,
    pub(super) subjects: Vec<Subject>,
}

fn image(letter: &str) -> Value {
    json!({"url": format!("http://images.test/{letter}.qcow2"), "checksum": "d41d8cd98f00b204e9800998ecf8427e"})
}

impl Fleet {
    pub(super) fn new(chaos: &Arc<Chaos>, count: usize) -> Self {
        let subject = |number: usize| {
            let (kind, word) = match number % 10 {
                0 | 1 => (Kind::Untouched, "untouched"),
                2..5 => (Kind::Calm, "calm"),
                _ => (Kind::Wild, "wild"),
            };
            let name = format!("{word}-{number}");
            let mut builder = new_host(NAMESPACE, &name);
            if kind == Kind::Wild {
                if number.is_multiple_of(3) {
                    // Boots from the network, and so needs room.
                    builder = builder.bmc(&format!("redfish://{name}.{NAMESPACE}.test/redfish/v1/Systems/1"));
                }
            } else {
                builder = builder.image("http://images.test/a.qcow2");
            }
            Subject {
                name,
                kind,
                builder,
                meant: 0,
            }
        };
        Self {
            chaos: Arc::clone(chaos),
            subjects: (0..count).map(subject).collect(),
        }
    }

    /// Creates all hosts, and waits until those that are not to be touched are at rest; the others are under way.
    pub(super) async fn create(&self) {
        let client = self.chaos.plane.client();
        stream::iter(&self.subjects)
            .for_each_concurrent(AT_ONCE, |subject| async {
                subject.builder.create(&client, NAMESPACE).await.unwrap();
            })
            .await;
        wait::until("the hosts to be deployed that stay so", wait::LONG, async || {
            let hosts = self.chaos.hosts.list(&ListParams::default()).await;
            let hosts = hosts.map_err(|error| error.to_string())?;
            let names = hosts.iter().filter(|host| {
                let status = host.status.as_ref();
                let rests = status.is_some_and(|status| {
                    status.provisioning.state.as_str() == "provisioned" && status.powered_on
                });
                !rests && host.spec.image.is_some()
            });
            match names.count() {
                0 => Ok(()),
                left => Err(format!("{left} are not")),
            }
        })
        .await;
    }

    /// The machine of a host.
    pub(super) fn machine(&self, subject: &Subject) -> Option<Machine> {
        let address = subject.builder.spec.bmc.address.split("://").nth(1).unwrap();
        self.chaos.ironic.machine(&format!("https://{address}"))
    }

    /// Edits at random for so long; how often.
    pub(super) async fn edit(&mut self, mut random: StdRng, storm: Duration) -> usize {
        let (end, mut edits) = (Instant::now() + storm, 0);
        while Instant::now() < end {
            let number = random.random_range(0..self.subjects.len());
            let roll = random.random_range(0..100);
            let pause = Duration::from_millis(random.random_range(0..30));
            if self.subjects[number].kind != Kind::Untouched {
                self.one(number, roll).await;
                edits += 1;
            }
            tokio::time::sleep(pause).await;
        }
        edits
    }

    async fn one(&mut self, number: usize, roll: u32) {
        let subject = &mut self.subjects[number];
        let annotate = |key: &str, value: Value| json!({"metadata": {"annotations": {key: value}}});
        let wild = subject.kind == Kind::Wild;
        let patch = match roll {
            0..40 if wild => {
                // Counted before it is asked for: the answer may be lost, and it is done all the same.
                subject.meant += 1;
                match roll {
                    0..18 => {
                        let letter = IMAGES[roll as usize % IMAGES.len()];
                        json!({"spec": {"image": image(letter)}})
                    }
                    18..28 => json!({"spec": {"image": null}}),
                    28..34 => return self.delete(number).await,
                    _ => return self.create_again(number).await,
                }
            }
            0..50 => json!({"spec": {"online": roll.is_multiple_of(2)}}),
            50..60 => annotate("reboot.metal3.io", json!("")),
            60..65 => annotate("reboot.metal3.io", json!(r#"{"mode":"hard"}"#)),
            65..70 => annotate("reboot.metal3.io/chaos", json!("")),
            70..75 => annotate("reboot.metal3.io/chaos", Value::Null),
            75..80 => annotate("baremetalhost.metal3.io/paused", json!("chaos")),
            80..88 => annotate("baremetalhost.metal3.io/paused", Value::Null),
            88..92 => annotate("baremetalhost.metal3.io/detached", json!("")),
            _ => annotate("baremetalhost.metal3.io/detached", Value::Null),
        };
        self.chaos.patch(&self.subjects[number].name, patch).await;
    }

    async fn delete(&self, number: usize) {
        let name = &self.subjects[number].name;
        self.chaos
            .insist(async || {
                let deleted = self.chaos.hosts.delete(name, &DeleteParams::default()).await;
                deleted.map(drop)
            })
            .await;
    }

    /// Nothing while it still exists.
    async fn create_again(&self, number: usize) {
        let builder = &self.subjects[number].builder;
        let client = self.chaos.plane.client();
        self.chaos
            .insist(async || builder.create_host(&client, NAMESPACE).await.map(drop))
            .await;
    }

    /// Nobody holds anything up any more.
    pub(super) async fn settle(&self) {
        let calm: BTreeMap<_, _> = [
            "baremetalhost.metal3.io/paused",
            "baremetalhost.metal3.io/detached",
            "reboot.metal3.io/chaos",
        ]
        .map(|annotation| (annotation, Value::Null))
        .into();
        let patch = json!({"metadata": {"annotations": calm}});
        let touched = self
            .subjects
            .iter()
            .filter(|subject| subject.kind != Kind::Untouched);
        stream::iter(touched)
            .for_each_concurrent(AT_ONCE, |subject| self.chaos.patch(&subject.name, patch.clone()))
            .await;
    }
}

impl Chaos {
    /// Asks until it is answered. That something is not there, or there already, is an answer.
    async fn insist(&self, ask: impl AsyncFn() -> Result<(), kube::Error>) {
        wait::until("an edit to be answered", wait::LONG, async || match ask().await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            other => other,
        })
        .await;
    }

    pub(super) async fn patch(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        self.insist(async || {
            let patched = self.hosts.patch(name, &PatchParams::default(), &patch).await;
            patched.map(drop)
        })
        .await;
    }
}
