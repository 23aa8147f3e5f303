//! `clusterctl move`: a host is paused and carries its status as long as its objects are copied, and `clusterctl` waits for
//! that.

use metal3_api::metal3::host::BareMetalHostStatus;
use metal3_api::names;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::Host;
use serde_json::{Map, Value, json};
use tonic::Status;

use super::{Seen, annotate, title};

/// Pauses the host, stores its status and lets `clusterctl` go on, in one write; `None` when all that is so already. The
/// pause of somebody else is left as it is, but the status is stored all the same: the host would arrive without one, and be
/// inspected and cleaned once that pause ends.
pub(in super::super) fn prepare(seen: &Seen, token: &str) -> Option<Value> {
    let mut annotations = Map::new();
    if seen.annotation(names::ANNOTATION_BLOCK_MOVE).is_some() {
        annotations.insert(names::ANNOTATION_BLOCK_MOVE.into(), Value::Null);
    }
    if seen.host.paused_by.is_none() {
        annotations.insert(names::ANNOTATION_PAUSED.into(), json!(token));
    }
    if let Some(status) = saved(seen).filter(|status| !is_stored(seen, status)) {
        annotations.insert(names::ANNOTATION_STATUS.into(), json!(status.to_string()));
    }
    annotate(annotations)
}

/// Ends the pause of [`prepare`] and makes `clusterctl` wait again; `None` when all that is so already.
///
/// # Errors
/// `FAILED_PRECONDITION` when the host was labelled for another cluster.
pub(in super::super) fn resume(seen: &Seen, token: &str, cluster: &str) -> Result<Option<Value>, Status> {
    let host = &seen.host;
    if !cluster.is_empty() && host.cluster_name != cluster {
        return Err(foreign(host, cluster));
    }
    let mut annotations = Map::new();
    match host.paused_by.as_deref() {
        Some(by) if by != token => return Ok(None),
        Some(_) => {
            annotations.insert(names::ANNOTATION_PAUSED.into(), Value::Null);
        }
        None => {}
    }
    if !host.deleting && seen.annotation(names::ANNOTATION_BLOCK_MOVE).is_none() {
        annotations.insert(names::ANNOTATION_BLOCK_MOVE.into(), json!(""));
    }
    Ok(annotate(annotations))
}

/// Whether the annotation says this already. One that is left of an earlier move does not.
fn is_stored(seen: &Seen, status: &Value) -> bool {
    let stored = seen.annotation(names::ANNOTATION_STATUS);
    stored.is_some_and(|text| serde_json::from_str::<Value>(text).is_ok_and(|stored| stored == *status))
}

/// The status as upstream stores it: without the hardware, which has an object of its own.
fn saved(seen: &Seen) -> Option<Value> {
    let mut status = json!(seen.object.status.as_ref().filter(|status| begun(status))?);
    status.as_object_mut()?.remove("hardware");
    Some(status)
}

/// Whether there is anything that could be lost.
const fn begun(status: &BareMetalHostStatus) -> bool {
    status.last_updated.is_some()
}

fn foreign(host: &Host, cluster: &str) -> Status {
    let title = title(host);
    let label = names::LABEL_CLUSTER_NAME;
    let have = &host.cluster_name;
    Reason::ForeignCluster.status(
        format!("host {title} is of cluster {have:?}, not of {cluster:?}, as its label {label} says"),
        [("host", title.as_str()), ("cluster", have.as_str())],
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{after, seen};
    use super::*;

    const TOKEN: &str = names::PAUSED_BY_CAPM3;

    fn with(annotations: &Value) -> Seen {
        seen(&json!({
            "metadata": {"labels": {names::LABEL_CLUSTER_NAME: "c"}, "annotations": annotations},
            "status": {"provisioning": {"state": "provisioned"}, "hardware": {"hostname": "h"}},
        }))
    }

    #[test]
    fn a_host_is_paused_keeps_its_status_and_is_let_go_at_once() {
        let host = with(&json!({names::ANNOTATION_BLOCK_MOVE: ""}));
        let patch = prepare(&host, TOKEN).unwrap();
        let annotations = &patch["metadata"]["annotations"];
        assert_eq!(annotations[names::ANNOTATION_PAUSED], "metal3.io/capm3");
        assert_eq!(annotations[names::ANNOTATION_BLOCK_MOVE], Value::Null);
        let stored: Value =
            serde_json::from_str(annotations[names::ANNOTATION_STATUS].as_str().unwrap()).unwrap();
        assert_eq!(stored["provisioning"]["state"], "provisioned");
        assert_eq!(stored.get("hardware"), None);
        assert_eq!(prepare(&after(&host, &patch), TOKEN), None);
    }

    #[test]
    fn the_stored_status_is_one_that_the_operator_takes_over() {
        let host = with(&json!({}));
        let host = after(&host, &prepare(&host, TOKEN).unwrap());
        let stored = host.annotation(names::ANNOTATION_STATUS).unwrap();
        let read = metal3_api::metal3::saved::read(stored).unwrap();
        let mut expected = host.object.status.clone().unwrap();
        expected.hardware = None;
        assert_eq!(read, expected);
    }

    #[test]
    fn the_pause_of_a_user_is_left_as_it_is_and_the_status_is_stored_all_the_same() {
        for by in ["", "maintenance"] {
            let host = with(&json!({names::ANNOTATION_PAUSED: by, names::ANNOTATION_BLOCK_MOVE: ""}));
            let patch = prepare(&host, TOKEN).unwrap();
            let annotations = patch["metadata"]["annotations"].as_object().unwrap();
            let changed: Vec<_> = annotations.keys().collect();
            assert_eq!(changed, [names::ANNOTATION_STATUS, names::ANNOTATION_BLOCK_MOVE]);
            let host = after(&host, &patch);
            assert_eq!(host.host.paused_by.as_deref(), Some(by));
            let stored = metal3_api::metal3::saved::read(host.annotation(names::ANNOTATION_STATUS).unwrap());
            let provisioning = stored.unwrap().provisioning;
            assert_eq!(provisioning, host.object.status.clone().unwrap().provisioning);
            assert_eq!(prepare(&host, TOKEN), None);
            assert_eq!(resume(&host, TOKEN, "c").unwrap(), None);
        }
    }

    #[test]
    fn an_old_status_is_stored_anew_whoever_paused_the_host() {
        for paused in [None, Some(TOKEN), Some("maintenance")] {
            for old in [r#"{"errorCount":1}"#, "rubbish"] {
                let host = with(&json!({names::ANNOTATION_PAUSED: paused, names::ANNOTATION_STATUS: old}));
                let host = after(&host, &prepare(&host, TOKEN).unwrap());
                let stored: Value =
                    serde_json::from_str(host.annotation(names::ANNOTATION_STATUS).unwrap()).unwrap();
                assert_eq!(stored["provisioning"]["state"], "provisioned", "{paused:?} {old}");
                assert_eq!(prepare(&host, TOKEN), None, "once");
            }
        }
    }

    #[test]
    fn a_host_that_was_moved_and_not_begun_goes_on_with_the_status_it_brought() {
        let arrived = seen(&json!({
            "metadata": {"annotations": {names::ANNOTATION_STATUS: r#"{"errorCount":1}"#}}, "status": null,
        }));
        let patch = prepare(&arrived, TOKEN).unwrap();
        let expected = json!({"metadata": {"annotations": {names::ANNOTATION_PAUSED: TOKEN}}});
        assert_eq!(patch, expected);
        let new = seen(&json!({"status": null}));
        assert_eq!(prepare(&new, TOKEN), Some(expected), "nothing to bring along");
    }

    #[test]
    fn a_resumed_host_is_guarded_again_and_keeps_what_the_operator_is_to_read() {
        let host = with(&json!({names::ANNOTATION_PAUSED: TOKEN, names::ANNOTATION_STATUS: "{}"}));
        let patch = resume(&host, TOKEN, "c").unwrap().unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"annotations": {
                names::ANNOTATION_PAUSED: null, names::ANNOTATION_BLOCK_MOVE: "",
            }}})
        );
        assert_eq!(resume(&after(&host, &patch), TOKEN, "c").unwrap(), None);
    }

    #[test]
    fn a_host_of_another_cluster_is_not_resumed() {
        let host = with(&json!({names::ANNOTATION_PAUSED: TOKEN}));
        let status = resume(&host, TOKEN, "other").unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::ForeignCluster));
        assert!(resume(&host, TOKEN, "").unwrap().is_some(), "not compared");
    }

    #[test]
    fn a_host_that_goes_is_not_guarded() {
        let host = seen(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert_eq!(resume(&host, TOKEN, "").unwrap(), None);
    }
}
