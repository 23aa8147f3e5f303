//! Giving a host back.

use metal3_api::names;
use metal3_rpc::v1::release_host_response::Phase;
use metal3_rpc::v1::{CleaningMode, Consumer, Host, ReleaseHostRequest, release_host_request::PowerPolicy};
use serde_json::{Map, Value, json};

use super::power::of_remediation;
use super::{Seen, reference};

/// What to do next about a release.
#[derive(Debug, PartialEq)]
pub(in super::super) enum Release {
    /// Ask the host's controller to deprovision.
    Start(Value),
    /// The controller works on it.
    Wait(Phase),
    /// Take the consumer's last traces off the host.
    Finish(Value),
    /// Nothing left to give back.
    Released,
}

/// The next step of giving a host back; see `ReleaseHost` in the contract.
pub(in super::super) fn release(seen: &Seen, request: &ReleaseHostRequest, consumer: &Consumer) -> Release {
    let host = &seen.host;
    if !host
        .consumer
        .as_ref()
        .is_some_and(|current| current.same_object(consumer))
    {
        return Release::Released;
    }
    let mut spec = Map::new();
    let requested = host.requested_image.is_some();
    for (field, present) in [
        ("image", requested),
        ("customDeploy", !host.requested_custom_deploy_method.is_empty()),
        ("userData", host.user_data.is_some()),
        ("metaData", host.meta_data.is_some()),
        ("networkData", host.network_data.is_some()),
    ] {
        if present {
            spec.insert(field.into(), Value::Null);
        }
    }
    let online = stays_online(host, request.power_policy());
    if online != host.online {
        spec.insert("online".into(), json!(online));
    }
    if !spec.is_empty() {
        return Release::Start(json!({"spec": spec}));
    }
    if seen.arriving() {
        // It looks like one that was never begun, and may run a machine.
        return Release::Wait(Phase::Deprovisioning);
    }
    match host.provisioning_state.as_str() {
        "" | "unmanaged" | "registering" | "match profile" | "inspecting" | "ready" | "available" => {
            Release::Finish(finish(host, request))
        }
        // With disablePowerOff the machine never goes off; waiting for that would never end.
        "externally provisioned" if !host.powered_on || host.disable_power_off => {
            Release::Finish(finish(host, request))
        }
        "externally provisioned" => Release::Wait(Phase::WaitingPowerOff),
        _ => Release::Wait(Phase::Deprovisioning),
    }
}

/// Upstream's table: a host that will be cleaned may stay on so that the ramdisk is ready for the next deployment.
fn stays_online(host: &Host, policy: PowerPolicy) -> bool {
    host.disable_power_off
        || (policy == PowerPolicy::FastTrack && host.cleaning_mode() != CleaningMode::Disabled)
}

/// Nothing of the consumer stays, but for what it reserves.
fn finish(host: &Host, request: &ReleaseHostRequest) -> Value {
    let mut labels = Map::new();
    if !host.cluster_name.is_empty() && host.cluster_name == request.cluster_name {
        labels.insert(names::LABEL_CLUSTER_NAME.into(), Value::Null);
    }
    let mut annotations = Map::from_iter([
        (names::ANNOTATION_BLOCK_MOVE.to_owned(), Value::Null),
        (names::ANNOTATION_RESERVED_UNTIL.to_owned(), Value::Null),
    ]);
    let remediations = host.power_holds.iter().filter(|key| of_remediation(key));
    annotations.extend(remediations.map(|key| (super::power::annotation(key), Value::Null)));
    if host.paused_by.as_deref() == Some(names::PAUSED_BY_CAPM3) {
        annotations.insert(names::ANNOTATION_PAUSED.into(), Value::Null);
    }
    let mut consumer = Value::Null;
    if let Some(reservation) = &request.reservation
        && let Some(cluster) = &reservation.cluster
    {
        labels.insert(names::LABEL_NODE_REUSE.into(), json!(reservation.reuse_key));
        consumer = reference(cluster);
        if let Some(end) = reservation.expires.and_then(super::reservation::moment) {
            annotations.insert(names::ANNOTATION_RESERVED_UNTIL.into(), json!(end.to_string()));
        }
    }
    json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": {"consumerRef": consumer}})
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::release_host_request::Reservation;
    use prost_types::Timestamp;

    use super::super::tests::{after, consumer, seen};
    use super::*;

    fn request() -> ReleaseHostRequest {
        ReleaseHostRequest {
            cluster_name: "c".into(),
            ..Default::default()
        }
    }

    /// Host of the consumer, with what is given.
    fn used(given: &Value) -> Seen {
        let host = seen(&json!({
            "metadata": {"labels": {names::LABEL_CLUSTER_NAME: "c"}},
            "spec": {"consumerRef": reference(&consumer())},
        }));
        after(&host, given)
    }

    #[test]
    fn a_release_deprovisions_waits_and_leaves_no_trace() {
        let host = used(&json!({
            "metadata": {"annotations": {
                names::ANNOTATION_BLOCK_MOVE: "",
                names::ANNOTATION_PAUSED: names::PAUSED_BY_CAPM3,
                "reboot.metal3.io/metal3-remediation-1": "",
                "reboot.metal3.io/repair": "",
            }},
            "spec": {
                "image": {"url": "http://i"}, "customDeploy": {"method": "install"},
                "userData": {"name": "u"}, "metaData": {"name": "m"}, "networkData": {"name": "n"},
            },
            "status": {"provisioning": {"state": "provisioned"}},
        }));
        let Release::Start(patch) = release(&host, &request(), &consumer()) else {
            panic!("it runs something")
        };
        assert_eq!(
            patch,
            json!({"spec": {
                "image": null, "customDeploy": null, "userData": null, "metaData": null, "networkData": null,
                "online": false,
            }})
        );
        let host = after(&host, &patch);
        let wait = Release::Wait(Phase::Deprovisioning);
        assert_eq!(release(&host, &request(), &consumer()), wait);
        let host = after(
            &host,
            &json!({"status": {"provisioning": {"state": "available"}}}),
        );
        let Release::Finish(patch) = release(&host, &request(), &consumer()) else {
            panic!("available is the end")
        };
        let host = after(&host, &patch);
        let metadata = &host.object.metadata;
        let annotations: Vec<_> = metadata.annotations.iter().flat_map(|all| all.keys()).collect();
        assert_eq!(annotations, ["reboot.metal3.io/repair"], "somebody else holds it");
        assert_eq!(metadata.labels.clone().unwrap_or_default(), Default::default());
        assert_eq!(host.host.consumer, None);
        assert_eq!(release(&host, &request(), &consumer()), Release::Released);
    }

    #[test]
    fn what_is_not_the_consumers_stays() {
        let host = used(&json!({"metadata": {
            "annotations": {names::ANNOTATION_PAUSED: "me"}, "labels": {names::LABEL_CLUSTER_NAME: "other"},
        }, "spec": {"online": false}}));
        let Release::Finish(patch) = release(&host, &request(), &consumer()) else {
            panic!("it runs nothing")
        };
        let host = after(&host, &patch);
        assert_eq!(host.host.paused_by.as_deref(), Some("me"));
        assert_eq!(host.host.cluster_name, "other");
    }

    #[test]
    fn another_consumers_host_is_left_alone() {
        let other = Consumer {
            name: "other".into(),
            ..consumer()
        };
        for host in [
            seen(&json!({})),
            used(&json!({"spec": {"consumerRef": reference(&other)}})),
        ] {
            assert_eq!(release(&host, &request(), &consumer()), Release::Released);
        }
    }

    #[test]
    fn a_host_that_just_arrived_by_a_move_is_not_free_before_its_status_is_known() {
        let host = used(&json!({
            "metadata": {"annotations": {names::ANNOTATION_STATUS: "{}"}}, "spec": {"online": false}, "status": null,
        }));
        assert_eq!(
            release(&host, &request(), &consumer()),
            Release::Wait(Phase::Deprovisioning)
        );
    }

    #[test]
    fn a_reserved_host_is_its_clusters_until_the_end_that_was_said() {
        let reservation = Reservation {
            reuse_key: "md-x".into(),
            cluster: Some(Consumer {
                api_version: "cluster.x-k8s.io/v1beta2".into(),
                kind: "Cluster".into(),
                name: "c".into(),
                ..consumer()
            }),
            expires: Some(Timestamp {
                seconds: 1_767_225_600,
                nanos: 0,
            }),
        };
        let request = ReleaseHostRequest {
            reservation: Some(reservation.clone()),
            ..request()
        };
        let host = used(&json!({"spec": {"online": false}}));
        let Release::Finish(patch) = release(&host, &request, &consumer()) else {
            panic!("it runs nothing")
        };
        let reserved = after(&host, &patch).host;
        assert_eq!(
            (reserved.reuse_key.as_str(), reserved.cluster_name.as_str()),
            ("md-x", "")
        );
        assert_eq!(reserved.consumer.unwrap().name, "c");
        assert_eq!(reserved.reserved_until, reservation.expires);
    }

    #[test]
    fn states_say_when_a_host_is_free() {
        for (state, powered_on, never_off, expected) in [
            ("", true, false, None),
            ("unmanaged", true, false, None),
            ("registering", true, false, None),
            ("match profile", true, false, None),
            ("inspecting", true, false, None),
            ("ready", true, false, None),
            ("available", true, false, None),
            ("preparing", true, false, Some(Phase::Deprovisioning)),
            ("provisioning", true, false, Some(Phase::Deprovisioning)),
            ("provisioned", true, false, Some(Phase::Deprovisioning)),
            ("deprovisioning", true, false, Some(Phase::Deprovisioning)),
            (
                "powering off before delete",
                true,
                false,
                Some(Phase::Deprovisioning),
            ),
            ("deleting", true, false, Some(Phase::Deprovisioning)),
            ("of a later release", true, false, Some(Phase::Deprovisioning)),
            (
                "externally provisioned",
                true,
                false,
                Some(Phase::WaitingPowerOff),
            ),
            ("externally provisioned", false, false, None),
            ("externally provisioned", true, true, None),
        ] {
            let host = used(&json!({
                "spec": {"online": never_off, "disablePowerOff": never_off},
                "status": {"provisioning": {"state": state}, "poweredOn": powered_on},
            }));
            match release(&host, &request(), &consumer()) {
                Release::Wait(phase) => assert_eq!(Some(phase), expected, "{state}"),
                Release::Finish(_) => assert_eq!(None, expected, "{state}"),
                other => panic!("{state}: {other:?}"),
            }
        }
    }

    #[test]
    fn power_after_release_follows_the_table() {
        for (disable_power_off, policy, mode, expected) in [
            (true, PowerPolicy::PowerOff, CleaningMode::Disabled, true),
            (false, PowerPolicy::FastTrack, CleaningMode::Metadata, true),
            (false, PowerPolicy::FastTrack, CleaningMode::Disabled, false),
            (false, PowerPolicy::PowerOff, CleaningMode::Metadata, false),
            (false, PowerPolicy::Unspecified, CleaningMode::Metadata, false),
        ] {
            let host = Host {
                disable_power_off,
                cleaning_mode: mode.into(),
                ..Default::default()
            };
            assert_eq!(stays_online(&host, policy), expected);
        }
    }
}
