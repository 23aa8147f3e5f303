//! One story per host: what events, logs, conditions and states tell agrees, and nobody told of trouble that was not there.

mod told;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use serde_json::Value;

use self::told::{Line, Transition};
use super::{BMO_PODS, Context};
use crate::bed::Mode;
use crate::stack::{BMO, NAMESPACE as SYSTEM};
use crate::tour::NAMESPACE;

/// Conditions for which False is what is hoped for: they need no message then.
const HOPED_FALSE: [&str; 4] = ["Paused", "Progressing", "Waiting", "Deleting"];
/// Says all in its reason, as upstream's does: whether a host is provisioned is its state, which is shown beside it.
const TERSE: &str = "Provisioned";
/// Kinds whose conditions and events are ours.
const OURS: [&str; 3] = ["BareMetalHost", "Metal3Machine", "Metal3Cluster"];

/// Everything that was told.
struct Book {
    events: Vec<Event>,
    log: Vec<Line>,
    machines: Vec<DynamicObject>,
    /// Nothing was killed: nothing may be missing or told twice.
    calm: bool,
}

impl Book {
    /// Events about an object, in the order in which they were told.
    fn about<'a>(&'a self, kind: &str, name: &str) -> Vec<&'a Event> {
        let is = |field: &Option<String>, word: &str| field.as_deref() == Some(word);
        self.events
            .iter()
            .filter(|event| is(&event.involved_object.kind, kind) && is(&event.involved_object.name, name))
            .collect()
    }
}

pub(super) async fn check(context: &Context) -> Result<()> {
    let book = read(context).await?;
    let hosts = context.objects("metal3.io", "v1alpha1", "BareMetalHost").await?;
    ensure!(!hosts.is_empty(), "there are no hosts");
    no_alarm(&book)?;
    let mut transitions = 0;
    for host in &hosts {
        let name = host.name_any();
        let one = async {
            described(context, &book, &name).await?;
            conditions(host)?;
            agrees(host)?;
            consumer(&book, host)?;
            states(&book, host)
        };
        transitions += one.await.with_context(|| format!("host {name}"))?;
    }
    let clusters = context
        .objects("infrastructure.cluster.x-k8s.io", "v1beta2", "Metal3Cluster")
        .await?;
    for object in book.machines.iter().chain(&clusters) {
        conditions(object).with_context(|| object.name_any())?;
    }
    let used = hosts.iter().filter(|host| consumer_of(host).is_some()).count();
    context.progress.line(&format!(
        "{} hosts, {used} in use by {} Metal3Machines: {} events and {transitions} logged changes of state tell the same",
        hosts.len(),
        book.machines.len(),
        book.events.len()
    ));
    Ok(())
}

async fn read(context: &Context) -> Result<Book> {
    let events: Api<Event> = Api::namespaced(context.client.clone(), NAMESPACE);
    let mut events = events.list(&ListParams::default()).await?.items;
    // Times have seconds only; an event is written once, so its version tells the order.
    events.sort_by_key(|event| {
        event
            .resource_version()
            .and_then(|version| version.parse::<u64>().ok())
    });
    let mut log = Vec::new();
    for text in logs(context).await? {
        log.extend(told::lines(&text)?);
    }
    log.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
    Ok(Book {
        events,
        log,
        machines: context
            .objects("infrastructure.cluster.x-k8s.io", "v1beta2", "Metal3Machine")
            .await?,
        calm: context.plan.chaos.is_none(),
    })
}

async fn logs(context: &Context) -> Result<Vec<String>> {
    if context.plan.mode == Mode::Processes {
        let file = context.bed.capi_dir().join(format!("log/{SYSTEM}.{BMO}.log"));
        let text = std::fs::read_to_string(&file);
        return Ok(vec![
            text.with_context(|| format!("cannot read {}", file.display()))?,
        ]);
    }
    let mut logs = Vec::new();
    for pod in context.pods(BMO_PODS).await? {
        let name = pod.name_any();
        let mut arguments = vec!["logs", &name, "-n", SYSTEM, "--tail=-1"];
        logs.push(context.bed.kubectl(&arguments, None).await?);
        arguments.push("--previous");
        // There is one only when the container was started again.
        logs.extend(context.bed.kubectl(&arguments, None).await.ok());
    }
    ensure!(!logs.is_empty(), "bmo has no pods");
    Ok(logs)
}

/// In a run in which nothing went wrong nobody says that something did.
fn no_alarm(book: &Book) -> Result<()> {
    let ours = |event: &&Event| {
        let kind = event.involved_object.kind.as_deref().unwrap_or_default();
        OURS.contains(&kind)
    };
    for event in book.events.iter().filter(ours) {
        let (reason, message) = (text(&event.reason), text(&event.message));
        ensure!(
            !reason.is_empty() && !message.is_empty(),
            "an event without reason or message: {event:?}"
        );
        let alarm =
            event.type_.as_deref() != Some("Normal") || reason.contains("Error") || reason.contains("Fail");
        ensure!(
            !(book.calm && alarm),
            "{} {} was told {reason}: {message}",
            text(&event.involved_object.kind),
            text(&event.involved_object.name)
        );
    }
    Ok(())
}

/// What a person asks first, and gets everything by.
async fn described(context: &Context, book: &Book, name: &str) -> Result<()> {
    let shown = context
        .bed
        .kubectl(&["describe", "bmh", name, "-n", NAMESPACE], None)
        .await?;
    let (above, below) = shown
        .split_once("\nEvents:")
        .context("kubectl describe shows no events")?;
    ensure!(
        above.contains("Conditions:"),
        "kubectl describe shows no conditions"
    );
    for event in book.about("BareMetalHost", name) {
        let reason = text(&event.reason);
        ensure!(
            below.contains(reason),
            "kubectl describe does not show event {reason}"
        );
    }
    Ok(())
}

fn conditions(object: &DynamicObject) -> Result<()> {
    let list = object
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let list = list
        .filter(|list| !list.is_empty())
        .context("has no conditions")?;
    for condition in list {
        let field = |name: &str| condition[name].as_str().unwrap_or_default();
        let type_ = field("type");
        ensure!(!field("reason").is_empty(), "condition {type_} has no reason");
        ensure!(
            !field("lastTransitionTime").is_empty(),
            "condition {type_} has no time"
        );
        let silent = field("status") == "True"
            || (HOPED_FALSE.contains(&type_) && field("status") == "False")
            || type_ == TERSE
            // What is awaited is said by Progressing, and an error by the message.
            || (matches!(type_, "Ready" | "Manageable") && status(object, "Progressing") == Some("True"))
            || (type_ == "Ready" && matches!(field("reason"), "NotProvisioned"));
        ensure!(
            silent || !field("message").is_empty(),
            "condition {type_} is {} for {} and has no message",
            field("status"),
            field("reason")
        );
    }
    Ok(())
}

fn status<'a>(object: &'a DynamicObject, type_: &str) -> Option<&'a str> {
    let list = object.data.pointer("/status/conditions")?.as_array()?;
    list.iter().find(|condition| condition["type"] == type_)?["status"].as_str()
}

/// Conditions of a host say what its state says.
fn agrees(host: &DynamicObject) -> Result<()> {
    let state = state(host);
    for (type_, holds) in [
        ("AvailableForProvisioning", state == "available"),
        ("Provisioned", state == "provisioned"),
        ("Ready", state == "provisioned"),
    ] {
        let expected = if holds { "True" } else { "False" };
        let seen = status(host, type_);
        ensure!(
            seen == Some(expected),
            "is {state}, and condition {type_} is {seen:?}"
        );
    }
    let error = host.data.pointer("/status/errorMessage").and_then(Value::as_str);
    ensure!(error.unwrap_or_default().is_empty(), "shows an error: {error:?}");
    Ok(())
}

fn state(host: &DynamicObject) -> &str {
    let state = host
        .data
        .pointer("/status/provisioning/state")
        .and_then(Value::as_str);
    state.unwrap_or_default()
}

fn consumer_of(host: &DynamicObject) -> Option<&str> {
    host.data.pointer("/spec/consumerRef/name")?.as_str()
}

/// Both sides name each other, in objects, events and logs.
fn consumer(book: &Book, host: &DynamicObject) -> Result<()> {
    let title = format!("{NAMESPACE}/{}", host.name_any());
    let claims =
        |machine: &&DynamicObject| machine.annotations().get("metal3.io/BareMetalHost") == Some(&title);
    let claimants: Vec<_> = book
        .machines
        .iter()
        .filter(claims)
        .map(ResourceExt::name_any)
        .collect();
    let Some(name) = consumer_of(host) else {
        ensure!(
            claimants.is_empty(),
            "is free, and {claimants:?} say that they have it"
        );
        return Ok(());
    };
    ensure!(
        claimants == [name],
        "is used by {name}, and {claimants:?} say that they have it"
    );
    let machine = book.machines.iter().find(|machine| machine.name_any() == name);
    let machine = machine.with_context(|| format!("Metal3Machine {name} does not exist"))?;
    for (type_, reason) in [
        ("AssociateBareMetalHost", "AssociateBareMetalHostSuccess"),
        ("HostProvisioned", "Provisioned"),
    ] {
        ensure!(
            status(machine, type_) == Some("True"),
            "condition {type_} of {name} is not True"
        );
        let events = book.about("Metal3Machine", name);
        let event = events
            .iter()
            .rev()
            .find(|event| event.reason.as_deref() == Some(reason));
        match event {
            Some(event) => ensure!(
                text(&event.message).contains(&title),
                "{name} was told {reason} of another host"
            ),
            None => ensure!(!book.calm || is_old(machine), "{name} was not told {reason}"),
        }
    }
    let provider = machine.data.pointer("/spec/providerID").and_then(Value::as_str);
    let expected = format!("metal3://{title}/{name}");
    ensure!(
        provider == Some(&expected),
        "the provider ID of {name} is {provider:?}, not {expected}"
    );
    let claimed = book
        .log
        .iter()
        .rev()
        .find(|line| line.message == "host claimed" && line.host == title);
    if let Some(line) = claimed {
        ensure!(
            line.consumer == name,
            "was claimed by {}, says the log, and is used by {name}",
            line.consumer
        );
    }
    let told = book.about("BareMetalHost", &host.name_any());
    match told.iter().rev().find(|event| text(&event.reason) == "Claimed") {
        Some(event) => ensure!(
            text(&event.message).ends_with(&format!(" {NAMESPACE}/{name}")),
            "was told to be {}, and is used by {name}",
            text(&event.message)
        ),
        None => ensure!(
            !book.calm || is_old(machine),
            "was not told to be claimed by {name}"
        ),
    }
    for event in told {
        let related = event.related.as_ref().and_then(|related| related.name.as_deref());
        let last = matches!(
            text(&event.reason),
            "ProvisioningStarted" | "ProvisioningComplete"
        );
        ensure!(
            !last || related.is_some(),
            "event {} does not say for whom",
            text(&event.reason)
        );
    }
    Ok(())
}

/// The states that events tell of are those that the log tells of, and end where the host is now.
fn states(book: &Book, host: &DynamicObject) -> Result<usize> {
    let name = host.name_any();
    let title = format!("{NAMESPACE}/{name}");
    let lines = book.log.iter().filter(|line| line.host == title);
    if !book.calm {
        // Logs of pods that were killed are gone, and with them parts of the story.
        return Ok(lines.filter(|line| line.message == "state changed").count());
    }
    let path = told::path(lines)?;
    let covered = covers(&book.log, host);
    let Some(last) = path.last() else {
        ensure!(!covered, "the log tells of no change of state");
        return Ok(0);
    };
    ensure!(
        last.to == state(host),
        "is {}, and the log ends with {}",
        state(host),
        last.to
    );
    let events: Vec<&str> = book
        .about("BareMetalHost", &name)
        .iter()
        .map(|event| text(&event.reason))
        .collect();
    let (by_events, by_log) = (told::states_by_events(&events), told::states_by_log(&path));
    let whole = covered && !is_old(host);
    let same = if whole {
        by_events == by_log
    } else {
        by_events.ends_with(&by_log) || by_log.ends_with(&by_events)
    };
    if !same {
        let path: Vec<String> = path.iter().map(Transition::to_string).collect();
        bail!(
            "events {events:?} tell of {by_events:?}, the log of {by_log:?}: {}",
            path.join(", ")
        );
    }
    Ok(path.len())
}

/// Whether the log began before the host did: pods that were replaced, as by an upgrade, took theirs along.
fn covers(log: &[Line], host: &DynamicObject) -> bool {
    let began = log
        .first()
        .and_then(|line| line.timestamp.parse::<jiff::Timestamp>().ok());
    let made = host.creation_timestamp().map(|time| time.0);
    matches!((began, made), (Some(began), Some(made)) if began <= made)
}

/// Its first events may have been forgotten: the API server keeps them for an hour.
fn is_old(object: &DynamicObject) -> bool {
    let made = object.creation_timestamp().map_or(0, |time| time.0.as_second());
    jiff::Timestamp::now().as_second() - made > 3300
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}
