//! Asks and verdicts in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use metal3_api::metal3::host::BareMetalHostStatus;
use metal3_host_core::{Ask, EventKind, Finish, Requeue, Verdict, Write, backoff_minutes};
use metal3_provisioner::{CleaningMode, Force, OnFailure, Ramdisk};
use serde_json::Value;

/// The kind of an ask, and what is worth seeing of it.
pub(crate) fn ask(ask: &Ask) -> (&'static str, String) {
    let mut words = Vec::new();
    let retry = |on_failure| (on_failure == OnFailure::Restart).then(|| "again".to_owned());
    let kind = match ask {
        Ask::Capacity(args) => {
            words.push(args.since.map(|since| format!("since {since}")));
            "capacity"
        }
        Ask::PreprovisioningImage { .. } => "ramdisk",
        Ask::Service(_) => "service",
        Ask::Register(args) => {
            words.push(Some(format!("in {:?}", args.state.as_str())));
            words.push(args.credentials_changed.then(|| "with new credentials".into()));
            words.push(retry(args.on_failure));
            words.push(
                args.current_image
                    .as_ref()
                    .map(|image| format!("image {}", image.url)),
            );
            words.push(args.inspection.map(|mode| format!("inspection {mode:?}")));
            words.push((args.cleaning == CleaningMode::Disabled).then(|| "without cleaning".into()));
            words.push(args.disable_power_off.then(|| "never off".into()));
            words.push(args.servicing.then(|| "servicing".into()));
            words.push(match &args.ramdisk {
                Ramdisk::Configured => None,
                Ramdisk::Missing => Some("without a ramdisk".into()),
                Ramdisk::Built(built) => Some(format!("ramdisk {}", built.url)),
            });
            "register"
        }
        Ask::Inspect(args) => {
            words.push(retry(args.on_failure));
            words.push(args.refresh.then(|| "afresh".into()));
            words.push((args.force_reboot == Force::Yes).then(|| "with reboot".into()));
            "inspect"
        }
        Ask::Adopt(args) => {
            words.push(Some(format!("in {:?}", args.state.as_str())));
            words.push(retry(args.on_failure));
            "adopt"
        }
        Ask::Prepare(args) => {
            let device = args
                .root_device_hints
                .as_ref()
                .and_then(|hints| hints.device_name.clone());
            words.push(device.map(|device| format!("on {device}")));
            words.push(args.unprepared.then(|| {
                let volumes = |raid| serde_json::to_string(raid).expect("volumes");
                let (target, actual) = (volumes(&args.target_raid), volumes(&args.actual_raid));
                format!("volumes {target} over {actual}")
            }));
            words.push(retry(args.on_failure));
            "prepare"
        }
        Ask::Provision(args) => {
            words.push(args.deploy.image.as_ref().map(|image| image.url.clone()));
            words.push(args.deploy.custom_deploy_method.clone());
            words.push(Some(format!("{:?}", args.boot_mode)));
            words.push((args.force_reboot == Force::Yes).then(|| "with reboot".into()));
            "provision"
        }
        Ask::Deprovision(args) => {
            words.push(retry(args.on_failure));
            words.push((args.cleaning == CleaningMode::Disabled).then(|| "without cleaning".into()));
            "deprovision"
        }
        Ask::Delete => "delete",
        Ask::Detach(args) => {
            words.push((args.force == Force::Yes).then(|| "by force".into()));
            "detach"
        }
        Ask::Hardware => "hardware",
        Ask::SetPower(args) => {
            words.push(Some(format!("{:?}", args.target)));
            words.push(retry(args.on_failure));
            "power"
        }
    };
    let words: Vec<_> = words.into_iter().flatten().collect();
    (kind, format!("{kind} {}", words.join(", ")).trim_end().to_owned())
}

/// What the verdict says, as far as it is news.
pub(crate) fn verdict(page: &mut String, before: &BareMetalHostStatus, verdict: &Verdict) {
    for (from, to) in &verdict.transitions {
        let _ = writeln!(page, "  state {:?} -> {:?}", from.as_str(), to.as_str());
    }
    for event in &verdict.events {
        let kind = match event.kind {
            EventKind::Normal => "event",
            EventKind::Warning => "warning",
        };
        let _ = writeln!(page, "  {kind} {}: {}", event.reason, event.message);
    }
    for write in &verdict.writes {
        let text = match write {
            Write::RemoveAnnotations(names) => format!("remove annotation {}", names.join(", ")),
            Write::Architecture(architecture) => format!("write architecture {architecture}"),
            Write::HardwareData(_) => "write HardwareData".into(),
            Write::ReleaseOwned => "release what the host owns".into(),
        };
        let _ = writeln!(page, "  {text}");
    }
    match verdict.finish {
        Finish::Keep => {}
        Finish::AddFinalizer => page.push_str("  add finalizer\n"),
        Finish::RemoveFinalizer => page.push_str("  remove finalizer\n"),
    }
    let (old, new) = (flat(before), flat(&verdict.status));
    for (path, value) in &new {
        match old.get(path) {
            None => _ = writeln!(page, "  {path} = {value}"),
            // The new message of a condition says enough.
            Some(was) if was != value && path.starts_with('{') => {
                let was = was.split(':').next().unwrap_or_default();
                let _ = writeln!(page, "  {path} = {value}  (was {was})");
            }
            Some(was) if was != value => _ = writeln!(page, "  {path} = {value}  (was {was})"),
            Some(_) => {}
        }
    }
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        let _ = writeln!(page, "  {path} removed");
    }
    let next = match verdict.next.requeue() {
        Requeue::Now => "at once".into(),
        Requeue::After(time) => format!("after {time:#}"),
        Requeue::Backoff { attempt } => {
            format!(
                "after {}-{} min",
                backoff_minutes(attempt) as f64 / 2.0,
                backoff_minutes(attempt)
            )
        }
        Requeue::OnChange => "when something changes".to_owned(),
    };
    let _ = writeln!(page, "  next {next}");
}

/// Each leaf of the status by its path; conditions by type, the times of operations only as known or not.
fn flat(status: &BareMetalHostStatus) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    let mut value = serde_json::to_value(status).expect("a status");
    let object = value.as_object_mut().expect("an object");
    object.remove("lastUpdated");
    object.remove("conditions");
    collect(&mut leaves, String::new(), &value);
    for condition in &status.conditions {
        let mut text = format!("{}/{}", condition.status, condition.reason);
        if !condition.message.is_empty() {
            text.push_str(&format!(": {}", condition.message));
        }
        leaves.insert(format!("{{{}}}", condition.type_), text);
    }
    leaves
}

fn collect(leaves: &mut BTreeMap<String, String>, path: String, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                collect(leaves, path, value);
            }
        }
        Value::Null => {}
        leaf => _ = leaves.insert(path, leaf.to_string()),
    }
}
