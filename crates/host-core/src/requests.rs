//! What users ask for by annotations. What is not understood is never taken for the more dangerous wish.

use metal3_api::names::{ANNOTATION_DETACHED, ANNOTATION_REBOOT};
use serde_json::{Map, Value};

use crate::HostView;

/// The wish to detach a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Detach {
    /// A deleted host stays until the annotation is removed or changed.
    pub(crate) delay: bool,
    /// What runs may be interrupted.
    pub(crate) force: bool,
    problem: Option<String>,
}

/// A request to reboot, or to be held off: all clients together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reboot {
    /// The plain annotation, which the operator removes once the host is off.
    pub(crate) plain: bool,
    /// Somebody asks.
    pub(crate) wanted: bool,
    /// Without asking the operating system.
    pub(crate) hard: bool,
    /// Asked for outside provisioned states, too.
    pub(crate) force: bool,
    /// Each request, by annotation and a fingerprint of its value.
    pub(crate) requests: Vec<String>,
}

/// Whether the host is to be detached, and how. Any text will do; what looks like arguments and is not understood must not
/// have the host deleted without being cleaned.
pub(crate) fn detach(view: &HostView<'_>) -> Option<Detach> {
    let text = view.annotation(ANNOTATION_DETACHED)?;
    if !text.trim_start().starts_with('{') {
        return Some(Detach::default());
    }
    Some(arguments(text).unwrap_or_else(|problem| Detach {
        delay: true,
        force: false,
        problem: Some(problem),
    }))
}

fn arguments(text: &str) -> Result<Detach, String> {
    let mut detach = Detach::default();
    let arguments: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for (name, value) in &arguments {
        match (name.as_str(), value) {
            ("deleteAction" | "force", Value::Null) => {}
            ("deleteAction", Value::String(action)) if action == "delay" => detach.delay = true,
            ("deleteAction", Value::String(action)) if action == "delete" || action.is_empty() => {}
            ("force", Value::Bool(force)) => detach.force = *force,
            (name, value) => return Err(format!("{name:?} cannot be {value}")),
        }
    }
    Ok(detach)
}

/// What the reboot annotations ask for.
pub(crate) fn reboot(view: &HostView<'_>) -> Reboot {
    let mut wish = Reboot::default();
    for (name, value) in reboots(view) {
        wish.wanted = true;
        wish.plain |= name == ANNOTATION_REBOOT;
        wish.requests.push(format!("{name}#{:016x}", fingerprint(value)));
        // What is not understood is a gentle reboot, as for upstream.
        if let Ok((hard, force)) = mode(value) {
            wish.hard |= hard;
            wish.force |= force;
        }
    }
    wish
}

fn reboots<'a>(view: &'a HostView<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let annotations = view.host.metadata.annotations.iter().flatten();
    annotations
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| {
            let client = name.strip_prefix(ANNOTATION_REBOOT);
            client.is_some_and(|client| client.is_empty() || client.starts_with('/'))
        })
}

fn mode(text: &str) -> Result<(bool, bool), String> {
    if text.is_empty() {
        return Ok((false, false));
    }
    let request: Option<Map<String, Value>> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let request = Value::from(request.unwrap_or_default());
    let force = &request["force"];
    if !force.is_null() && !force.is_boolean() {
        return Err(format!("\"force\" cannot be {force}"));
    }
    let mode = &request["mode"];
    let hard = match mode.as_str() {
        Some("hard") => true,
        Some("soft" | "") => false,
        None if mode.is_null() => false,
        Some(_) | None => return Err(format!("\"mode\" cannot be {mode}")),
    };
    Ok((hard, force.as_bool().unwrap_or_default()))
}

/// FNV-1a: the same in each release, unlike the hashes of the standard library.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Which annotations are not understood, and what is done instead; empty when all are.
pub(crate) fn problems(view: &HostView<'_>) -> String {
    let detach = detach(view)
        .and_then(|detach| detach.problem)
        .map(|problem| format!("{ANNOTATION_DETACHED}: {problem}; a deletion waits until it is corrected"));
    let reboots = reboots(view).filter_map(|(name, value)| {
        let problem = mode(value).err()?;
        Some(format!("{name}: {problem}; taken for a soft reboot"))
    });
    detach.into_iter().chain(reboots).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use metal3_api::metal3::host::BareMetalHost;
    use serde_json::json;

    use super::*;
    use crate::{BmcSecret, Settings};

    fn with<T>(annotations: &Value, look: impl Fn(&HostView<'_>) -> T) -> T {
        let host: BareMetalHost = serde_json::from_value(json!({
            "metadata": {"name": "a", "annotations": annotations}, "spec": {"online": true},
        }))
        .unwrap();
        look(&HostView {
            host: &host,
            hardware: None,
            secret: BmcSecret::NotNeeded,
            settings: &Settings::default(),
        })
    }

    #[test]
    fn what_looks_like_arguments_and_is_none_delays_a_deletion() {
        for (text, delay, force, understood) in [
            ("", false, false, true),
            ("yes", false, false, true),
            ("true", false, false, true),
            ("{}", false, false, true),
            (r#"{"deleteAction":"delete"}"#, false, false, true),
            (r#"{"deleteAction":"delay","force":true}"#, true, true, true),
            (r#"{"deleteAction":null,"force":null}"#, false, false, true),
            (r#"{"deleteAction":"Delay"}"#, true, false, false),
            (r#"{"deleteAction":"delete","force":"true"}"#, true, false, false),
            (r#"{"deleteaction":"delete"}"#, true, false, false),
            (r#"{"force":true"#, true, false, false),
            (" {force: true}", true, false, false),
        ] {
            let annotations = json!({ANNOTATION_DETACHED: text});
            let found = with(&annotations, detach).unwrap();
            assert_eq!((found.delay, found.force), (delay, force), "{text}");
            assert_eq!(with(&annotations, problems).is_empty(), understood, "{text}");
        }
        assert_eq!(with(&json!({}), detach), None);
    }

    #[test]
    fn reboots_of_several_clients_combine() {
        let asked = json!({
            "reboot.metal3.io/a": "", "reboot.metal3.io/b": r#"{"mode": "hard"}"#, "reboot.metal3.iox": "",
        });
        let wish = with(&asked, reboot);
        assert!(wish.wanted && wish.hard && !wish.plain && !wish.force);
        assert_eq!(wish.requests.len(), 2);
        let plain = with(&json!({ANNOTATION_REBOOT: r#"{"force": true}"#}), reboot);
        assert!(plain.plain && plain.force && !plain.hard);
    }

    #[test]
    fn a_request_with_another_value_is_another_request() {
        let requests = |value: &str| with(&json!({"reboot.metal3.io/a": value}), reboot).requests;
        assert_eq!(requests(""), requests(""));
        assert_ne!(requests(""), requests("{}"));
    }

    #[test]
    fn a_reboot_that_is_not_understood_is_soft_and_told() {
        for text in [
            "hard",
            "[]",
            "1",
            r#"{"mode": "cold"}"#,
            r#"{"force": 1, "mode": "hard"}"#,
        ] {
            let annotations = json!({"reboot.metal3.io/a": text});
            let wish = with(&annotations, reboot);
            assert!(wish.wanted && !wish.hard && !wish.force, "{text}");
            assert!(
                with(&annotations, problems).contains("reboot.metal3.io/a"),
                "{text}"
            );
        }
        assert_eq!(with(&json!({"reboot.metal3.io/a": "null"}), problems), "");
    }
}
