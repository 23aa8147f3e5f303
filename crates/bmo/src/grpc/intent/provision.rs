//! What a consumer wants to run on its host.

use metal3_rpc::reason::Reason;
use metal3_rpc::v1::{CleaningMode, Host, Image, ProvisionSpec};
use serde_json::{Map, Value, json};
use tonic::Status;

use super::{Seen, stays, title};

/// The provisioning fields; `None` when the host has them already.
///
/// # Errors
/// `FAILED_PRECONDITION` when something else is or was asked to run there, or the host is being deleted.
pub(in super::super) fn provision(seen: &Seen, spec: &ProvisionSpec) -> Result<Option<Value>, Status> {
    stays(&seen.host)?;
    let fields = provision_fields(&seen.host, spec)?;
    Ok((!fields.is_empty()).then(|| json!({"spec": fields})))
}

/// The cleaning mode; `None` when the host has it already.
pub(in super::super) fn set_cleaning_mode(seen: &Seen, mode: CleaningMode) -> Option<Value> {
    let fields = cleaning(&seen.host, mode);
    (!fields.is_empty()).then(|| json!({"spec": fields}))
}

pub(super) fn provision_fields(host: &Host, spec: &ProvisionSpec) -> Result<Map<String, Value>, Status> {
    let namespace = host.r#ref.as_ref().map_or("", |host| host.namespace.as_str());
    let mut fields = Map::new();
    let references = references(spec, namespace);
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
            fields.extend(references);
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
    fields.extend(cleaning(host, spec.cleaning_mode()));
    if spec.power_on && !host.online {
        fields.insert("online".into(), json!(true));
    }
    Ok(fields)
}

fn cleaning(host: &Host, mode: CleaningMode) -> Map<String, Value> {
    let word = match mode {
        CleaningMode::Unspecified => return Map::new(),
        CleaningMode::Disabled => "disabled",
        CleaningMode::Metadata => "metadata",
    };
    if mode == host.cleaning_mode() {
        return Map::new();
    }
    Map::from_iter([("automatedCleaningMode".to_owned(), json!(word))])
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

/// The Secrets of a deployment, which go with it and are kept as long as it lasts. They are of the host's own namespace,
/// whatever was asked for.
fn references(spec: &ProvisionSpec, namespace: &str) -> Map<String, Value> {
    let secrets = [
        ("userData", &spec.user_data),
        ("metaData", &spec.meta_data),
        ("networkData", &spec.network_data),
    ];
    let named = secrets.into_iter().filter_map(|(field, secret)| {
        let secret = secret.as_ref().filter(|secret| !secret.name.is_empty())?;
        let reference = json!({"name": secret.name, "namespace": namespace});
        Some((field.to_owned(), reference))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::SecretRef;

    use super::super::tests::seen;
    use super::*;

    fn image(url: &str) -> Image {
        Image {
            url: url.into(),
            checksum: "c".into(),
            format: "raw".into(),
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

    fn off(spec: &Value) -> Seen {
        let mut all = json!({"online": false});
        json_patch::merge(&mut all, spec);
        seen(&json!({"spec": all}))
    }

    #[test]
    fn provisioning_writes_what_upstream_writes() {
        let patch = provision(&off(&json!({})), &spec()).unwrap().unwrap();
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
    fn a_host_is_never_given_another_image_or_method() {
        for (have, want) in [
            (json!({"image": {"url": "http://other"}}), spec()),
            (json!({"customDeploy": {"method": "install"}}), spec()),
            (
                json!({"image": {"url": "http://i", "checksum": "c", "format": "raw"}}),
                ProvisionSpec {
                    custom_deploy_method: "install".into(),
                    ..spec()
                },
            ),
        ] {
            let status = provision(&off(&have), &want).unwrap_err();
            assert_eq!(
                Reason::of(&status),
                Some(Reason::AlreadyProvisionedDifferently),
                "{have}"
            );
        }
    }

    #[test]
    fn a_host_that_goes_is_not_provisioned() {
        let going = seen(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        let status = provision(&going, &spec()).unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::HostDeleting));
    }

    #[test]
    fn a_cleaning_mode_is_written_when_it_is_another() {
        for (have, want, written) in [
            ("metadata", CleaningMode::Disabled, Some("disabled")),
            ("disabled", CleaningMode::Metadata, Some("metadata")),
            ("disabled", CleaningMode::Disabled, None),
            ("disabled", CleaningMode::Unspecified, None),
        ] {
            let host = seen(&json!({"spec": {"automatedCleaningMode": have}}));
            let expected = written.map(|mode| json!({"spec": {"automatedCleaningMode": mode}}));
            assert_eq!(set_cleaning_mode(&host, want), expected, "{have} {want:?}");
        }
        // Unset is metadata.
        let unset = seen(&json!({"spec": {"automatedCleaningMode": null}}));
        assert_eq!(set_cleaning_mode(&unset, CleaningMode::Metadata), None);
    }
}
