//! What a mutation writes to the BareMetalHost: pure functions from host and request to a JSON merge patch.
//!
//! The written fields are those that upstream's provider writes (image, references, `online`, `consumerRef`, labels), so
//! that `kubectl`, `clusterctl` and other tools see the same objects.

use metal3_api::names;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::release_host_response::Phase;
use metal3_rpc::v1::{
    ClaimHostRequest, CleaningMode, Consumer, Host, Image, ProvisionSpec, ReleaseHostRequest, SecretRef,
    release_host_request::PowerPolicy,
};
use serde_json::{Map, Value, json};
use tonic::Status;

/// What to do next about a release.
#[derive(Debug, PartialEq)]
pub(super) enum Release {
    /// Ask the host's controller to deprovision.
    Start(Value),
    /// The controller works on it.
    Wait(Phase),
    /// Take the consumer's last traces off the host.
    Finish(Value),
    /// Nothing left to give back.
    Released,
}

/// The claim itself, with the provisioning fields when they are given.
pub(super) fn claim(host: &Host, request: &ClaimHostRequest, consumer: &Consumer) -> Result<Value, Status> {
    let mut spec = match &request.provision {
        Some(provision) => provision_fields(host, provision)?,
        None => Map::new(),
    };
    spec.insert("consumerRef".into(), reference(consumer));
    let mut labels = Map::from_iter([(names::LABEL_NODE_REUSE.to_owned(), Value::Null)]);
    if !request.cluster_name.is_empty() {
        labels.insert(names::LABEL_CLUSTER_NAME.into(), json!(request.cluster_name));
    }
    Ok(json!({"metadata": {"labels": labels}, "spec": spec}))
}

/// The provisioning fields; `None` when the host has them already.
///
/// # Errors
/// `FAILED_PRECONDITION` when something else is or was asked to run there, `INVALID_ARGUMENT` for a bad spec.
pub(super) fn provision(host: &Host, spec: &ProvisionSpec) -> Result<Option<Value>, Status> {
    let fields = provision_fields(host, spec)?;
    Ok((!fields.is_empty()).then(|| json!({"spec": fields})))
}

fn provision_fields(host: &Host, spec: &ProvisionSpec) -> Result<Map<String, Value>, Status> {
    let namespace = host.r#ref.as_ref().map_or("", |host| host.namespace.as_str());
    let mut fields = Map::new();
    let image = spec.image.as_ref().filter(|image| !image.url.is_empty());
    if image.is_some() || !spec.custom_deploy_method.is_empty() {
        let requested = host
            .requested_image
            .as_ref()
            .filter(|image| !image.url.is_empty());
        if requested.is_none() && host.requested_custom_deploy_method.is_empty() {
            if let Some(image) = image {
                fields.insert("image".into(), image_value(image));
            }
            if !spec.custom_deploy_method.is_empty() {
                fields.insert(
                    "customDeploy".into(),
                    json!({"method": spec.custom_deploy_method}),
                );
            }
            for (field, reference) in [
                ("userData", &spec.user_data),
                ("metaData", &spec.meta_data),
                ("networkData", &spec.network_data),
            ] {
                if let Some(value) = secret_value(field, reference.as_ref(), namespace)? {
                    fields.insert(field.into(), value);
                }
            }
        } else if requested != image || host.requested_custom_deploy_method != spec.custom_deploy_method {
            let have = requested.map_or(host.requested_custom_deploy_method.as_str(), |image| {
                image.url.as_str()
            });
            return Err(Reason::AlreadyProvisionedDifferently.status(
                format!(
                    "host {} is asked to run {have:?} already; a running host is never given another image: release it \
                     and claim again",
                    title(host)
                ),
                [("host", title(host).as_str())],
            ));
        }
    }
    match spec.cleaning_mode() {
        CleaningMode::Unspecified => {}
        mode if mode == host.cleaning_mode() => {}
        mode => {
            fields.insert("automatedCleaningMode".into(), json!(cleaning_value(mode)));
        }
    }
    if spec.power_on && !host.online {
        fields.insert("online".into(), json!(true));
    }
    Ok(fields)
}

/// The next step of giving a host back; see `ReleaseHost` in the contract.
pub(super) fn release(host: &Host, request: &ReleaseHostRequest, consumer: &Consumer) -> Release {
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

fn finish(host: &Host, request: &ReleaseHostRequest) -> Value {
    let mut labels = Map::new();
    if !host.cluster_name.is_empty() && host.cluster_name == request.cluster_name {
        labels.insert(names::LABEL_CLUSTER_NAME.into(), Value::Null);
    }
    let mut consumer = Value::Null;
    if let Some(reservation) = &request.reservation
        && let Some(cluster) = &reservation.cluster
    {
        labels.insert(names::LABEL_NODE_REUSE.into(), json!(reservation.reuse_key));
        consumer = reference(cluster);
    }
    let mut annotations = Map::from_iter([(names::ANNOTATION_BLOCK_MOVE.to_owned(), Value::Null)]);
    if host.paused_by.as_deref() == Some(names::PAUSED_BY_CAPM3) {
        annotations.insert(names::ANNOTATION_PAUSED.into(), Value::Null);
    }
    json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": {"consumerRef": consumer}})
}

fn reference(consumer: &Consumer) -> Value {
    json!({
        "apiVersion": consumer.api_version,
        "kind": consumer.kind,
        "namespace": consumer.namespace,
        "name": consumer.name,
    })
}

fn image_value(image: &Image) -> Value {
    let mut value = Map::from_iter([("url".to_owned(), json!(image.url))]);
    for (field, text) in [
        ("checksum", &image.checksum),
        ("checksumType", &image.checksum_type),
        ("format", &image.format),
    ] {
        // The schema refuses empty strings for the enums.
        if !text.is_empty() {
            value.insert(field.into(), json!(text));
        }
    }
    Value::Object(value)
}

fn secret_value(field: &str, secret: Option<&SecretRef>, namespace: &str) -> Result<Option<Value>, Status> {
    let Some(secret) = secret.filter(|secret| !secret.name.is_empty()) else {
        return Ok(None);
    };
    if !secret.namespace.is_empty() && secret.namespace != namespace {
        return Err(Reason::InvalidField.status(
            format!(
                "{field} refers to Secret {}/{}: only Secrets of the host's namespace {namespace} can be used",
                secret.namespace, secret.name
            ),
            [("field", field)],
        ));
    }
    Ok(Some(json!({"name": secret.name, "namespace": namespace})))
}

const fn cleaning_value(mode: CleaningMode) -> &'static str {
    match mode {
        CleaningMode::Disabled => "disabled",
        CleaningMode::Metadata | CleaningMode::Unspecified => "metadata",
    }
}

/// `namespace/name` of a host.
pub(super) fn title(host: &Host) -> String {
    host.r#ref
        .as_ref()
        .map(|host| format!("{}/{}", host.namespace, host.name))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::HostRef;

    use super::*;

    fn consumer() -> Consumer {
        Consumer {
            api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
            kind: "Metal3Machine".into(),
            namespace: "ns".into(),
            name: "m".into(),
            uid: "u".into(),
        }
    }

    fn image(url: &str) -> Image {
        Image {
            url: url.into(),
            checksum: "c".into(),
            format: "raw".into(),
            ..Default::default()
        }
    }

    fn free() -> Host {
        Host {
            r#ref: Some(HostRef::named("ns", "a")),
            provisioning_state: "available".into(),
            cleaning_mode: CleaningMode::Metadata.into(),
            ..Default::default()
        }
    }

    fn spec() -> ProvisionSpec {
        ProvisionSpec {
            image: Some(image("http://i")),
            user_data: Some(SecretRef {
                name: "s".into(),
                namespace: String::new(),
            }),
            power_on: true,
            ..Default::default()
        }
    }

    #[test]
    fn provisioning_writes_what_upstream_writes() {
        let patch = provision(&free(), &spec()).unwrap().unwrap();
        assert_eq!(
            patch,
            json!({"spec": {
                "image": {"url": "http://i", "checksum": "c", "format": "raw"},
                "userData": {"name": "s", "namespace": "ns"},
                "online": true,
            }})
        );
    }

    #[test]
    fn a_repeated_call_changes_nothing() {
        let host = Host {
            requested_image: Some(image("http://i")),
            user_data: Some(SecretRef {
                name: "s".into(),
                namespace: "ns".into(),
            }),
            online: true,
            ..free()
        };
        assert_eq!(provision(&host, &spec()).unwrap(), None);
    }

    #[test]
    fn a_host_is_never_given_another_image() {
        let host = Host {
            requested_image: Some(image("http://other")),
            ..free()
        };
        let status = provision(&host, &spec()).unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::AlreadyProvisionedDifferently));
    }

    #[test]
    fn secrets_of_other_namespaces_are_refused() {
        let foreign = SecretRef {
            name: "s".into(),
            namespace: "kube-system".into(),
        };
        let status = provision(
            &free(),
            &ProvisionSpec {
                user_data: Some(foreign),
                ..spec()
            },
        )
        .unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::InvalidField));
    }

    #[test]
    fn a_release_deprovisions_waits_and_leaves_no_trace() {
        let request = ReleaseHostRequest {
            cluster_name: "c".into(),
            ..Default::default()
        };
        let mut host = Host {
            consumer: Some(consumer()),
            cluster_name: "c".into(),
            requested_image: Some(image("http://i")),
            user_data: Some(SecretRef {
                name: "s".into(),
                namespace: "ns".into(),
            }),
            meta_data: Some(SecretRef {
                name: "m".into(),
                namespace: "ns".into(),
            }),
            online: true,
            powered_on: true,
            provisioning_state: "provisioned".into(),
            ..free()
        };
        assert_eq!(
            release(&host, &request, &consumer()),
            Release::Start(
                json!({"spec": {"image": null, "userData": null, "metaData": null, "online": false}})
            )
        );
        host.requested_image = None;
        host.user_data = None;
        host.meta_data = None;
        host.online = false;
        assert_eq!(
            release(&host, &request, &consumer()),
            Release::Wait(Phase::Deprovisioning)
        );
        host.provisioning_state = "available".into();
        let Release::Finish(patch) = release(&host, &request, &consumer()) else {
            panic!("available is the end")
        };
        assert_eq!(patch["spec"], json!({"consumerRef": null}));
        assert_eq!(
            patch["metadata"]["labels"][names::LABEL_CLUSTER_NAME],
            Value::Null
        );
        host.consumer = None;
        assert_eq!(release(&host, &request, &consumer()), Release::Released);
    }

    #[test]
    fn another_consumers_host_is_left_alone() {
        let host = Host {
            consumer: Some(Consumer {
                name: "other".into(),
                ..consumer()
            }),
            ..free()
        };
        let request = ReleaseHostRequest::default();
        assert_eq!(release(&host, &request, &consumer()), Release::Released);
    }

    #[test]
    fn power_after_release_follows_the_table() {
        for (disable_power_off, policy, mode, expected) in [
            (true, PowerPolicy::PowerOff, CleaningMode::Disabled, true),
            (false, PowerPolicy::FastTrack, CleaningMode::Metadata, true),
            (false, PowerPolicy::FastTrack, CleaningMode::Disabled, false),
            (false, PowerPolicy::PowerOff, CleaningMode::Metadata, false),
        ] {
            let host = Host {
                disable_power_off,
                cleaning_mode: mode.into(),
                ..free()
            };
            assert_eq!(stays_online(&host, policy), expected);
        }
    }
}
