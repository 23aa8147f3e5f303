//! The object that a host keeps. Pure: what it must look like, and what to write for that.

use kube::api::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::metal3::preprovisioning_image::{
    ImageFormat, PreprovisioningImage, PreprovisioningImageSpec,
};
use metal3_api::names;
use metal3_bmc::Bmc;
use serde_json::{Value, json};

/// What to do about the object of a host.
#[derive(Debug, PartialEq)]
pub(super) enum Keep {
    /// It is as it must be.
    Fine,
    /// There is none.
    Create(Box<PreprovisioningImage>),
    /// It differs.
    Patch(Value),
    /// It goes, and another must follow.
    Wait,
}

/// What the host asks of a builder.
///
/// # Errors
/// When the BMC address says nothing about what the host boots.
pub(super) fn spec(
    host: &BareMetalHost,
    architecture: Option<String>,
) -> Result<PreprovisioningImageSpec, String> {
    let bmc: Bmc = host
        .spec
        .bmc
        .address
        .parse()
        .map_err(|error| format!("spec.bmc.address: {error}"))?;
    let formats = if bmc.driver.boots_iso {
        vec![ImageFormat::Iso, ImageFormat::Initrd]
    } else {
        vec![ImageFormat::Initrd]
    };
    let network = host.spec.preprovisioning_network_data_name.clone();
    Ok(PreprovisioningImageSpec {
        network_data_name: network.filter(|name| !name.is_empty()),
        architecture,
        accept_formats: formats,
    })
}

/// Compares what is there with what must be.
pub(super) fn keep(
    current: Option<&PreprovisioningImage>,
    host: &BareMetalHost,
    spec: PreprovisioningImageSpec,
) -> Keep {
    let owner = host.controller_owner_ref(&());
    let Some(current) = current else {
        return Keep::Create(Box::new(PreprovisioningImage {
            metadata: ObjectMeta {
                name: host.metadata.name.clone(),
                namespace: host.metadata.namespace.clone(),
                labels: host.metadata.labels.clone(),
                owner_references: owner.map(|owner| vec![owner]),
                finalizers: Some(vec![names::FINALIZER_PREPROVISIONING_IMAGE.to_owned()]),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        }));
    };
    let protected = current
        .finalizers()
        .iter()
        .any(|name| name == names::FINALIZER_PREPROVISIONING_IMAGE);
    if current.metadata.deletion_timestamp.is_some() {
        // With our finalizer it stays until the host has no more use for it.
        return if protected { Keep::Fine } else { Keep::Wait };
    }
    let mut patch = json!({"metadata": {"resourceVersion": current.resource_version()}});
    let mut differs = false;
    let lacking: serde_json::Map<String, Value> = host
        .labels()
        .iter()
        .filter(|(key, value)| current.labels().get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    if !lacking.is_empty() {
        patch["metadata"]["labels"] = Value::Object(lacking);
        differs = true;
    }
    let owners = current.owner_references();
    let owned = owners
        .iter()
        .any(|owner| Some(&owner.uid) == host.metadata.uid.as_ref() || owner.controller == Some(true));
    if !owned {
        patch["metadata"]["ownerReferences"] = json!(owners.iter().cloned().chain(owner).collect::<Vec<_>>());
        differs = true;
    }
    if !protected {
        let others = current.finalizers().iter().map(String::as_str);
        let all: Vec<_> = others.chain([names::FINALIZER_PREPROVISIONING_IMAGE]).collect();
        patch["metadata"]["finalizers"] = json!(all);
        differs = true;
    }
    if current.spec != spec {
        patch["spec"] = json!({
            "networkDataName": spec.network_data_name,
            "architecture": spec.architecture,
            "acceptFormats": spec.accept_formats,
        });
        differs = true;
    }
    if differs { Keep::Patch(patch) } else { Keep::Fine }
}

/// Takes our finalizer off; `None` when it is not there.
pub(super) fn release(current: &ObjectMeta) -> Option<Value> {
    let finalizers = current.finalizers.as_deref().unwrap_or_default();
    let rest: Vec<_> = finalizers
        .iter()
        .filter(|name| *name != names::FINALIZER_PREPROVISIONING_IMAGE)
        .collect();
    (rest.len() < finalizers.len())
        .then(|| json!({"metadata": {"finalizers": rest, "resourceVersion": current.resource_version}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(address: &str) -> BareMetalHost {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "ns", "uid": "u", "labels": {"rack": "7"}},
            "spec": {
                "online": true,
                "bmc": {"address": address, "credentialsName": "s"},
                "preprovisioningNetworkDataName": "net",
            },
        }))
        .unwrap()
    }

    fn virtual_media() -> BareMetalHost {
        host("redfish-virtualmedia://bmc/redfish/v1/Systems/1")
    }

    fn wanted(host: &BareMetalHost) -> PreprovisioningImageSpec {
        spec(host, Some("x86_64".into())).unwrap()
    }

    fn created(host: &BareMetalHost) -> PreprovisioningImage {
        match keep(None, host, wanted(host)) {
            Keep::Create(image) => *image,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_driver_decides_what_is_accepted() {
        use ImageFormat::{Initrd, Iso};
        assert_eq!(wanted(&virtual_media()).accept_formats, [Iso, Initrd]);
        assert_eq!(wanted(&host("ipmi://bmc")).accept_formats, [Initrd]);
        let problem = spec(&host("pigeon://bmc"), None).unwrap_err();
        assert!(problem.contains("pigeon"), "{problem}");
    }

    #[test]
    fn it_is_created_with_all_that_belongs_to_it_and_then_left_alone() {
        let host = virtual_media();
        let image = created(&host);
        assert_eq!(image.name_any(), "a");
        assert_eq!(image.labels()["rack"], "7");
        assert_eq!(
            image.finalizers(),
            ["baremetalhost.metal3.io/preprovisioningImage"]
        );
        assert_eq!(image.owner_references()[0].controller, Some(true));
        assert_eq!(image.spec.network_data_name.as_deref(), Some("net"));
        assert_eq!(keep(Some(&image), &host, wanted(&host)), Keep::Fine);
    }

    #[test]
    fn only_what_differs_is_written_and_labels_of_others_stay() {
        let host = virtual_media();
        let mut image = created(&host);
        image.labels_mut().insert("mine".into(), "x".into());
        assert_eq!(keep(Some(&image), &host, wanted(&host)), Keep::Fine);
        image.labels_mut().remove("rack");
        let patch = |image: &PreprovisioningImage| match keep(Some(image), &host, wanted(&host)) {
            Keep::Patch(patch) => patch,
            other => panic!("{other:?}"),
        };
        let labels = patch(&image);
        assert_eq!(labels["metadata"]["labels"], json!({"rack": "7"}));
        assert!(labels.get("spec").is_none(), "{labels}");
        let mut image = created(&host);
        image.spec.architecture = Some("aarch64".into());
        let changed = patch(&image);
        assert_eq!(changed["spec"]["architecture"], "x86_64");
        assert!(changed["metadata"].get("labels").is_none(), "{changed}");
        let mut image = created(&host);
        image.finalizers_mut().clear();
        image.owner_references_mut().clear();
        let adopted = patch(&image);
        assert_eq!(adopted["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(adopted["metadata"]["finalizers"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn one_that_goes_serves_on_if_the_host_holds_it() {
        let host = virtual_media();
        let mut image = created(&host);
        image.metadata.deletion_timestamp = Some(metal3_api::conditions::time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(keep(Some(&image), &host, wanted(&host)), Keep::Fine);
        let freed = release(&image.metadata).unwrap();
        assert_eq!(freed["metadata"]["finalizers"], json!([]));
        image.finalizers_mut().clear();
        assert_eq!(keep(Some(&image), &host, wanted(&host)), Keep::Wait);
        assert!(release(&image.metadata).is_none());
    }
}
