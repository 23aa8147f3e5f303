//! Level 1: each documented path of a host as a table in `scenarios/*.yaml`, and its transcript as a snapshot.
//!
//! A scenario is a host and a script. A step of the script is one of
//!
//! * `pass: {ask: answer}`: one pass; asks without an answer get what a healthy backend says;
//! * `run: {ask: answer}`: passes until the core wants to wait;
//! * `crash: {ask: answer}`: a pass whose verdict is lost;
//! * `edit`, `annotate`, `delete`, `secret`, `hardware`, `power`: the world changes;
//! * `wait: 90s`: time passes.
//!
//! Answers: `done`, `working`, `started`, `free`, `full`, `unknown`, `{working: reason}`, `{failed: …}`, `{missing: …}`,
//! `{pull_secret: …}`, `{unusable: …}`, `{node: …}`, `{place: …}`, `{unavailable: …}`, for the hardware `on`, `off`, `fault` or
//! a word of its health.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod transcript;
mod world;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use jiff::SignedDuration;
use metal3_api::metal3::host::{BareMetalHostStatus, ProvisioningState};
use metal3_host_core::{BmcSecret, Observed, Requeue, Step, Verdict, step, transitions, unavailable};
use metal3_provisioner::WaitReason;
use serde::Deserialize;
use serde_json::{Value, json};
use world::World;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    about: String,
    #[serde(default)]
    host: Value,
    #[serde(default)]
    secret: Option<Value>,
    #[serde(default)]
    max_provisioning_retries: Option<u32>,
    #[serde(default)]
    build_ramdisks: bool,
    #[serde(default)]
    hardware: Option<Value>,
    script: Vec<Action>,
}

type Answers = BTreeMap<String, Value>;

#[derive(Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum Action {
    Pass(Answers),
    Run(Answers),
    Crash(Answers),
    Edit(Value),
    Annotate(BTreeMap<String, Option<String>>),
    Delete(serde::de::IgnoredAny),
    Secret(Value),
    Hardware(Value),
    /// Somebody pressed the button.
    Power(bool),
    Wait(SignedDuration),
}

struct Player {
    world: World,
    power: bool,
    node: String,
    page: String,
    /// What was asked since the begin of the action.
    asked: BTreeSet<&'static str>,
    edges: Vec<Edge>,
}

type Edge = (ProvisioningState, ProvisioningState);

#[test]
fn hosts_live_as_documented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let mut failed = Vec::new();
    let mut edges = Vec::new();
    let mut told = String::new();
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let scenario: Scenario =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let check = AssertUnwindSafe(|| {
            let (page, walked) = play(scenario);
            edges.extend(walked);
            told.push_str(&page);
            let mut settings = insta::Settings::clone_current();
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings.set_snapshot_path("scenarios");
            settings.bind(|| insta::assert_snapshot!(name, page));
        });
        if std::panic::catch_unwind(check).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "changed: {failed:?}");
    let untold: Vec<_> = WaitReason::ALL
        .into_iter()
        .filter(|reason| *reason != WaitReason::Paused && !told.contains(&format!("True/{}:", reason.code())))
        .collect();
    // What is done about a paused host is nothing, so that nothing is written either.
    assert!(untold.is_empty(), "no scenario waits for {untold:?}");
    let walked = |(from, to, _): &&(ProvisioningState, ProvisioningState, _)| {
        !edges.contains(&(from.clone(), to.clone()))
    };
    let missing: Vec<_> = transitions::EDGES.iter().filter(walked).collect();
    assert!(missing.is_empty(), "no scenario walks {missing:?}");
}

/// The transcript, and the edges that were walked.
fn play(scenario: Scenario) -> (String, Vec<Edge>) {
    let mut world = World::new(&scenario.host);
    if let Some(limit) = scenario.max_provisioning_retries {
        world.settings.max_provisioning_retries = limit;
    }
    world.settings.build_preprovisioning_images = scenario.build_ramdisks;
    if let Some(details) = &scenario.hardware {
        world.bring(details);
    }
    if let Some(value) = &scenario.secret {
        world.secret = secret(value);
    }
    let power = world.status().powered_on;
    let page = format!("{}\n", scenario.about);
    let mut player = Player {
        world,
        power,
        node: "node-1".into(),
        page,
        asked: BTreeSet::new(),
        edges: Vec::new(),
    };
    for action in scenario.script {
        player.act(action);
    }
    (player.page, player.edges)
}

fn secret(value: &Value) -> BmcSecret {
    match value {
        Value::String(word) if word == "missing" => BmcSecret::Missing,
        Value::String(version) => world::found(version),
        Value::Object(fields) if fields.contains_key("version") => {
            let text = |field: &str| fields[field].as_str().expect("a version").to_owned();
            BmcSecret::Found {
                version: text("version"),
                same: vec![text("same")],
            }
        }
        other => BmcSecret::Incomplete {
            message: other["incomplete"].as_str().expect("incomplete").into(),
        },
    }
}

impl Player {
    fn act(&mut self, action: Action) {
        let said = match action {
            Action::Pass(answers) => {
                self.pass(&answers, true);
                return self.all_asked(&answers);
            }
            Action::Crash(answers) => {
                self.pass(&answers, false);
                return self.all_asked(&answers);
            }
            Action::Run(answers) => {
                for _ in 0..10 {
                    if self.pass(&answers, true) != Requeue::Now || self.world.host.is_none() {
                        return self.all_asked(&answers);
                    }
                }
                panic!("no end:\n{}", self.page);
            }
            Action::Edit(change) => {
                self.world.edit(&change);
                format!("edit {change}")
            }
            Action::Annotate(annotations) => {
                for (name, value) in &annotations {
                    self.world.annotate(name, value.as_deref());
                }
                format!("annotate {}", json!(annotations))
            }
            Action::Delete(_) => {
                self.world.delete();
                "delete".into()
            }
            Action::Secret(value) => {
                self.world.secret = secret(&value);
                format!("secret {value}")
            }
            Action::Hardware(details) => {
                self.world.bring(&details);
                format!("hardware {details}")
            }
            Action::Power(on) => {
                self.power = on;
                format!("power {}", if on { "on" } else { "off" })
            }
            Action::Wait(time) => {
                self.world.pass_time(time);
                format!("wait {time:#}")
            }
        };
        let _ = writeln!(self.page, "\n> {said}");
    }

    /// An answer that nobody asked for is a mistake of the scenario.
    fn all_asked(&mut self, answers: &Answers) {
        let asked = std::mem::take(&mut self.asked);
        for kind in answers.keys() {
            assert!(asked.contains(kind.as_str()), "not asked: {kind}\n{}", self.page);
        }
    }

    fn pass(&mut self, answers: &Answers, commit: bool) -> Requeue {
        let _ = writeln!(self.page, "\n[{}]", self.world.now.strftime("%dT%H:%M:%S"));
        let mut seen = Observed::default();
        let mut asked = Vec::new();
        let verdict = loop {
            let ask = match step(&self.world.view(), &seen, self.world.now) {
                Step::Finish(verdict) => break *verdict,
                Step::Ask(ask) => ask,
            };
            let (kind, text) = transcript::ask(&ask);
            assert!(!asked.contains(&kind), "asked twice: {kind}\n{}", self.page);
            asked.push(kind);
            let given = answers.get(kind);
            let said = given.map_or_else(String::new, |answer| {
                format!(
                    "  => {}",
                    answer.as_str().map_or_else(|| answer.to_string(), Into::into)
                )
            });
            let _ = writeln!(self.page, "  ask {text}{said}");
            if let Some(cause) = given.and_then(|answer| answer["unavailable"].as_str()) {
                break unavailable(&self.world.view(), cause, self.world.now);
            }
            let answer = self.answer(&ask, given);
            seen.record(answer);
        };
        self.asked.extend(asked);
        let before = self.world.status();
        for (from, to) in &verdict.transitions {
            self.edges.push((from.clone(), to.clone()));
            assert!(
                transitions::allowed(from, to),
                "{from} -> {to} is no edge\n{}",
                self.page
            );
        }
        if commit {
            self.world.commit(&verdict, usize::MAX);
            self.tell(&before, &verdict);
        } else {
            self.page.push_str("  killed before the verdict was written\n");
        }
        verdict.next.requeue()
    }

    fn tell(&mut self, before: &BareMetalHostStatus, verdict: &Verdict) {
        transcript::verdict(&mut self.page, before, verdict);
        if self.world.host.is_none() {
            self.page.push_str("  the host is gone\n");
        }
    }
}
