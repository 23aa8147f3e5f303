//! Power holds: annotations that keep a host off, one for each client.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use metal3_api::names;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::Host;
use metal3_rpc::v1::hold_power_off_request::Mode;
use serde_json::{Map, Value, json};
use tonic::Status;

use super::{Seen, annotate, stays, title};

/// What upstream's remediation calls its holds. They end with the machine that is remediated.
const REMEDIATION: &str = "metal3-remediation-";

pub(super) fn of_remediation(key: &str) -> bool {
    key.starts_with(REMEDIATION)
}

pub(super) fn annotation(key: &str) -> String {
    format!("{}/{key}", names::ANNOTATION_REBOOT)
}

/// Who writes a hold: a manager of fields of its own, so that Kubernetes tells when it was written.
pub(in super::super) fn hold_manager(key: &str) -> String {
    format!("metal3-power-hold/{key}")
}

/// Holds the host off; `None` when it is held off in this way already.
///
/// # Errors
/// `FAILED_PRECONDITION` when the host is off anyway, because its user wants so, or is being deleted.
pub(in super::super) fn hold(seen: &Seen, key: &str, mode: Mode) -> Result<Option<Value>, Status> {
    let (name, word) = (annotation(key), word(mode));
    if seen.annotation(&name).is_some_and(|value| asks_for(value, word)) {
        return Ok(None);
    }
    stays(&seen.host)?;
    online(&seen.host)?;
    // As upstream's provider writes it.
    let value = format!(r#"{{"mode":"{word}","force":false}}"#);
    Ok(annotate(Map::from_iter([(name, json!(value))])))
}

/// Ends a hold; `None` when there is none.
pub(in super::super) fn unhold(seen: &Seen, key: &str) -> Option<Value> {
    let name = annotation(key);
    seen.annotation(&name)?;
    annotate(Map::from_iter([(name, Value::Null)]))
}

/// Since when the hold is there, as Kubernetes recorded it: exact for holds that this service wrote.
pub(in super::super) fn held_since(seen: &Seen, key: &str) -> Option<Timestamp> {
    let field = format!("f:{}", annotation(key));
    let managers = seen.object.metadata.managed_fields.iter().flatten();
    managers
        .filter(|entry| manages(entry, &field))
        .filter_map(|entry| entry.time.as_ref())
        .map(|time| time.0)
        .max()
}

fn manages(entry: &ManagedFieldsEntry, field: &str) -> bool {
    let fields = entry.fields_v1.as_ref();
    fields.is_some_and(|fields| fields.0["f:metadata"]["f:annotations"].get(field).is_some())
}

const fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Hard => "hard",
        // As the operator takes a request that names none.
        Mode::Soft | Mode::Unspecified => "soft",
    }
}

/// Whether a value asks for this mode, whoever wrote it.
fn asks_for(value: &str, mode: &str) -> bool {
    if value.is_empty() {
        return mode == "soft";
    }
    let Ok(Value::Object(request)) = serde_json::from_str(value) else {
        return false;
    };
    match request.get("mode").and_then(Value::as_str) {
        Some("hard") => mode == "hard",
        Some("soft" | "") | None => mode == "soft",
        Some(_) => false,
    }
}

fn online(host: &Host) -> Result<(), Status> {
    if host.online {
        return Ok(());
    }
    let title = title(host);
    Err(Reason::PoweredOffByUser.status(
        format!("host {title} is off because its spec.online is false: a hold would change nothing, and ending it neither"),
        [("host", title.as_str())],
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{after, seen};
    use super::*;

    const KEY: &str = "metal3-remediation-1";

    fn with(annotations: &Value) -> Seen {
        seen(&json!({"metadata": {"annotations": annotations}}))
    }

    #[test]
    fn a_hold_is_written_as_upstreams_remediation_writes_it() {
        for (mode, value) in [
            (Mode::Hard, r#"{"mode":"hard","force":false}"#),
            (Mode::Soft, r#"{"mode":"soft","force":false}"#),
            (Mode::Unspecified, r#"{"mode":"soft","force":false}"#),
        ] {
            let patch = hold(&seen(&json!({})), KEY, mode).unwrap().unwrap();
            let expected =
                json!({"metadata": {"annotations": {"reboot.metal3.io/metal3-remediation-1": value}}});
            assert_eq!(patch, expected);
        }
    }

    #[test]
    fn a_hold_that_is_there_is_kept_whoever_wrote_it_in_whatever_words() {
        let name = annotation(KEY);
        for (value, mode, kept) in [
            (r#"{"mode":"hard","force":false}"#, Mode::Hard, true),
            (r#"{"mode": "hard"}"#, Mode::Hard, true),
            (r#"{"mode": "hard", "force": true}"#, Mode::Hard, true),
            ("", Mode::Soft, true),
            ("{}", Mode::Soft, true),
            (r#"{"mode":""}"#, Mode::Soft, true),
            ("", Mode::Hard, false),
            (r#"{"mode":"soft"}"#, Mode::Hard, false),
            (r#"{"mode":"hard"}"#, Mode::Soft, false),
            ("hard", Mode::Hard, false),
            ("null", Mode::Hard, false),
            (r#"{"mode":"cold"}"#, Mode::Soft, false),
        ] {
            let found = hold(&with(&json!({&name: value})), KEY, mode).unwrap();
            assert_eq!(found.is_none(), kept, "{value} {mode:?}");
        }
    }

    #[test]
    fn a_host_that_its_user_switched_off_cannot_be_held() {
        let off = json!({"spec": {"online": false}});
        let status = hold(&seen(&off), KEY, Mode::Hard).unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::PoweredOffByUser));
        let mut held = off;
        held["metadata"] = json!({"annotations": {annotation(KEY): r#"{"mode":"hard"}"#}});
        assert_eq!(
            hold(&seen(&held), KEY, Mode::Hard).unwrap(),
            None,
            "a repeated call gives the same answer"
        );
    }

    #[test]
    fn holds_of_others_stay() {
        let both = json!({annotation(KEY): "", annotation("repair"): "", names::ANNOTATION_REBOOT: ""});
        let host = with(&both);
        assert_eq!(host.host.power_holds, [KEY, "repair"]);
        let host = after(&host, &unhold(&host, KEY).unwrap());
        assert_eq!(host.host.power_holds, ["repair"]);
        assert!(host.annotation(names::ANNOTATION_REBOOT).is_some());
        assert_eq!(unhold(&host, KEY), None);
    }

    #[test]
    fn the_time_of_a_hold_is_when_its_annotation_was_written() {
        let fields =
            |name: &str| json!({"f:metadata": {"f:annotations": {".": {}, format!("f:{name}"): {}}}});
        let entry = |manager: &str, time: &str, name: &str| {
            json!({
                "manager": manager, "operation": "Update", "apiVersion": "metal3.io/v1alpha1", "time": time,
                "fieldsType": "FieldsV1", "fieldsV1": fields(name),
            })
        };
        let host = seen(&json!({"metadata": {
            "annotations": {annotation(KEY): ""},
            "managedFields": [
                entry("kubectl", "2026-01-01T01:00:00Z", "reboot.metal3.io/other"),
                entry(&hold_manager(KEY), "2026-01-01T02:00:00Z", &annotation(KEY)),
                entry("bmo", "2026-01-01T03:00:00Z", "a"),
            ],
        }}));
        let since = held_since(&host, KEY).unwrap();
        assert_eq!(since.to_string(), "2026-01-01T02:00:00Z");
        assert_eq!(held_since(&host, "repair"), None);
    }
}
