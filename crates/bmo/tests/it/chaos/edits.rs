//! The hosts, and what users do to them.

use std::cell::Cell;
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

use super::intent::{Intent, Wish};
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
    /// What was asked for that may change its disk, in order.
    pub(super) intents: Vec<Intent>,
}

impl Subject {
    /// What Ironic calls its BMC.
    pub(super) fn address(&self) -> String {
        let address = self.builder.spec.bmc.address.split("://").nth(1).unwrap();
        format!("https://{address}")
    }
}

/// All of them.
pub(super) struct Fleet {
    pub(super) chaos: Arc<Chaos>,
    pub(super) subjects: Vec<Subject>,
}

fn url(letter: &str) -> String {
    format!("http://images.test/{letter}.qcow2")
}

fn image(letter: &str) -> Value {
    json!({"url": url(letter), "checksum": "d41d8cd98f00b204e9800998ecf8427e"})
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
            let image = builder.spec.image.as_ref().map(|image| image.url.clone());
            Subject {
                name,
                kind,
                builder,
                intents: vec![Intent::now(Wish::Create(image))],
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
        self.chaos.ironic.machine(&subject.address())
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
        let subject = &self.subjects[number];
        let annotate = |key: &str, value: Value| json!({"metadata": {"annotations": {key: value}}});
        let wild = subject.kind == Kind::Wild;
        let letter = IMAGES[roll as usize % IMAGES.len()];
        let wish = match roll {
            0..18 if wild => Some(Wish::Image(Some(url(letter)))),
            18..28 if wild => Some(Wish::Image(None)),
            28..34 if wild => Some(Wish::Delete),
            34..40 if wild => Some(Wish::Create(None)),
            88..92 => Some(Wish::Detach),
            _ => None,
        };
        // Before it is asked for: the answer may come late.
        let intent = wish.map(Intent::now);
        let patch = match roll {
            0..18 if wild => json!({"spec": {"image": image(letter)}}),
            18..40 if wild => json!({"spec": {"image": null}}),
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
        let answer = match intent.as_ref().map(|intent| &intent.wish) {
            Some(Wish::Delete) => self.delete(subject).await,
            Some(Wish::Create(_)) => self.create_again(subject).await,
            Some(Wish::Image(_) | Wish::Detach) | None => self.chaos.patch(&subject.name, patch).await,
        };
        if answer == Answer::MaybeDone {
            self.subjects[number].intents.extend(intent);
        }
    }

    async fn delete(&self, subject: &Subject) -> Answer {
        self.chaos
            .insist(async || {
                let options = DeleteParams::default();
                let deleted = self.chaos.hosts.delete(&subject.name, &options).await;
                deleted.map(drop)
            })
            .await
    }

    /// Nothing while it still exists.
    async fn create_again(&self, subject: &Subject) -> Answer {
        let client = self.chaos.plane.client();
        self.chaos
            .insist(async || subject.builder.create_host(&client, NAMESPACE).await.map(drop))
            .await
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
            .for_each_concurrent(AT_ONCE, |subject| async {
                self.chaos.patch(&subject.name, patch.clone()).await;
            })
            .await;
    }
}

/// What became of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was done, or an answer was lost that may have said so.
    MaybeDone,
    /// Nothing came of it.
    Refused,
}

impl Chaos {
    /// Asks until it is answered. That something is not there, or there already, is an answer.
    async fn insist(&self, ask: impl AsyncFn() -> Result<(), kube::Error>) -> Answer {
        let asked = Cell::new(0);
        wait::until("an edit to be answered", wait::LONG, async || {
            asked.set(asked.get() + 1);
            match ask().await {
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) && asked.get() == 1 => {
                    Ok(Answer::Refused)
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Answer::MaybeDone),
                other => other.map(|()| Answer::MaybeDone),
            }
        })
        .await
    }

    pub(super) async fn patch(&self, name: &str, patch: Value) -> Answer {
        let patch = Patch::Merge(patch);
        self.insist(async || {
            let patched = self.hosts.patch(name, &PatchParams::default(), &patch).await;
            patched.map(drop)
        })
        .await
    }
}
