//! Taking a host, and letting go of one that was taken too much.

use jiff::Timestamp;
use metal3_api::names;
use metal3_rpc::v1::{ClaimHostRequest, Consumer, Host};
use serde_json::{Map, Value, json};
use tonic::Status;

use super::provision::provision_fields;
use super::reference;
use super::reservation::moment;

/// The claim itself; a reservation ends with it. `clusterctl move` waits for the host from now on, until `PrepareMove`. What
/// is to run there is only looked at: it is recorded once it is certain
/// that the host stays with this consumer.
///
/// # Errors
/// As those of `record`.
pub(in super::super) fn claim(
    host: &Host,
    request: &ClaimHostRequest,
    consumer: &Consumer,
) -> Result<Value, Status> {
    if let Some(provision) = &request.provision {
        provision_fields(host, provision)?;
    }
    let mut labels = Map::from_iter([(names::LABEL_NODE_REUSE.to_owned(), Value::Null)]);
    if !request.cluster_name.is_empty() {
        labels.insert(names::LABEL_CLUSTER_NAME.into(), json!(request.cluster_name));
    }
    let annotations = json!({names::ANNOTATION_RESERVED_UNTIL: null, names::ANNOTATION_BLOCK_MOVE: ""});
    Ok(json!({
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"consumerRef": reference(consumer)},
    }))
}

/// What a claim records on the host of its consumer: the cluster, and what is to run; `None` when it has it already, or is
/// about to go.
///
/// # Errors
/// As [`super::provision`].
pub(in super::super) fn record(host: &Host, request: &ClaimHostRequest) -> Result<Option<Value>, Status> {
    if host.deleting {
        return Ok(None);
    }
    let fields = match &request.provision {
        Some(provision) => provision_fields(host, provision)?,
        None => Map::new(),
    };
    let mut labels = Map::new();
    if !request.cluster_name.is_empty() && request.cluster_name != host.cluster_name {
        labels.insert(names::LABEL_CLUSTER_NAME.into(), json!(request.cluster_name));
    }
    if !host.reuse_key.is_empty() {
        // Left behind by another tool: nobody waits for this host any more.
        labels.insert(names::LABEL_NODE_REUSE.into(), Value::Null);
    }
    let nothing = fields.is_empty() && labels.is_empty();
    Ok((!nothing).then(|| json!({"metadata": {"labels": labels}, "spec": fields})))
}

/// Whether something runs on the host, or was asked to.
pub(in super::super) fn is_used(host: &Host) -> bool {
    let idle = [
        "",
        "unmanaged",
        "registering",
        "match profile",
        "inspecting",
        "preparing",
        "ready",
        "available",
    ];
    host.requested_image.is_some()
        || !host.requested_custom_deploy_method.is_empty()
        || !idle.contains(&host.provisioning_state.as_str())
}

/// Undoes a claim of a host that is not used: as it was `before`, or as nobody's when that is not known.
pub(in super::super) fn retract(host: &Host, before: Option<&Host>, cluster: &str) -> Value {
    let text = |text: Option<&String>| {
        text.filter(|text| !text.is_empty())
            .map_or(Value::Null, |text| json!(text))
    };
    let mut labels = Map::new();
    if !cluster.is_empty() && host.cluster_name == cluster {
        let cluster = before.map(|before| &before.cluster_name);
        labels.insert(names::LABEL_CLUSTER_NAME.into(), text(cluster));
    }
    // Nobody moves a host without a consumer.
    let mut annotations = Map::from_iter([(names::ANNOTATION_BLOCK_MOVE.to_owned(), Value::Null)]);
    if let Some(before) = before.filter(|before| !before.reuse_key.is_empty()) {
        labels.insert(names::LABEL_NODE_REUSE.into(), json!(before.reuse_key));
        let until: Option<Timestamp> = before.reserved_until.and_then(moment);
        annotations.insert(
            names::ANNOTATION_RESERVED_UNTIL.into(),
            json!(until.map(|until| until.to_string())),
        );
    }
    let consumer = before.and_then(|before| before.consumer.as_ref());
    json!({
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"consumerRef": consumer.map(reference)},
    })
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::{Image, ProvisionSpec};

    use super::super::Seen;
    use super::super::tests::{after, consumer, seen};
    use super::*;

    fn request() -> ClaimHostRequest {
        ClaimHostRequest {
            cluster_name: "c".into(),
            provision: Some(ProvisionSpec {
                image: Some(Image {
                    url: "http://i".into(),
                    checksum: "c".into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn reserved() -> Seen {
        seen(&json!({
            "metadata": {
                "labels": {names::LABEL_NODE_REUSE: "md-x", names::LABEL_CLUSTER_NAME: "old"},
                "annotations": {names::ANNOTATION_RESERVED_UNTIL: "2026-01-01T00:00:00Z"},
            },
            "spec": {"consumerRef": {
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "namespace": "ns", "name": "c",
            }},
        }))
    }

    #[test]
    fn a_claim_ends_the_reservation_and_says_nothing_of_what_is_to_run() {
        let patch = claim(&reserved().host, &request(), &consumer()).unwrap();
        let claimed = after(&reserved(), &patch).host;
        assert!(claimed.consumer.unwrap().same_object(&consumer()));
        assert_eq!((claimed.reuse_key.as_str(), claimed.reserved_until), ("", None));
        assert_eq!(
            (claimed.cluster_name.as_str(), claimed.requested_image),
            ("c", None)
        );
    }

    #[test]
    fn clusterctl_waits_for_a_claimed_host_and_no_longer_for_one_that_was_given_back() {
        let free = seen(&json!({}));
        let claimed = after(&free, &claim(&free.host, &request(), &consumer()).unwrap());
        assert_eq!(claimed.annotation(names::ANNOTATION_BLOCK_MOVE), Some(""));
        let back = after(&claimed, &retract(&claimed.host, Some(&free.host), "c"));
        assert_eq!(back.annotation(names::ANNOTATION_BLOCK_MOVE), None);
    }

    #[test]
    fn what_a_claim_records_is_recorded_once() {
        let first = record(&reserved().host, &request()).unwrap().unwrap();
        let recorded = after(&reserved(), &first);
        assert_eq!(recorded.host.requested_image.as_ref().unwrap().url, "http://i");
        assert_eq!(record(&recorded.host, &request()).unwrap(), None);
    }

    #[test]
    fn a_retracted_claim_leaves_the_host_as_it_was() {
        for before in [seen(&json!({})), reserved()] {
            let patch = claim(&before.host, &request(), &consumer()).unwrap();
            let claimed = after(&before, &patch);
            let back = retract(&claimed.host, Some(&before.host), "c");
            assert_eq!(after(&claimed, &back).host, before.host);
        }
        let patch = claim(&reserved().host, &request(), &consumer()).unwrap();
        let claimed = after(&reserved(), &patch);
        let free = after(&claimed, &retract(&claimed.host, None, "c")).host;
        assert_eq!((free.consumer, free.cluster_name.as_str()), (None, ""));
    }

    #[test]
    fn a_host_is_used_from_the_wish_to_deploy_it_until_it_is_idle_again() {
        for (host, used) in [
            (json!({}), false),
            (json!({"spec": {"image": {"url": "http://i"}}}), true),
            (json!({"spec": {"customDeploy": {"method": "m"}}}), true),
            (
                json!({"status": {"provisioning": {"state": "deprovisioning"}}}),
                true,
            ),
            (
                json!({"status": {"provisioning": {"state": "inspecting"}}}),
                false,
            ),
        ] {
            assert_eq!(is_used(&seen(&host).host), used, "{host}");
        }
    }
}
