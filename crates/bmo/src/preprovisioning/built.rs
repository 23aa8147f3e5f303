//! What a PreprovisioningImage says to its host. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use metal3_api::conditions;
use metal3_api::metal3::preprovisioning_image::{PreprovisioningImage, PreprovisioningImageSpec};
use metal3_host_core::Built;
use metal3_provisioner::BuiltRamdisk;

use super::{ERROR, MISSING_NETWORK_DATA, READY};

/// The Secret with network data, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NetworkData {
    /// None is asked for.
    Unused,
    /// It does not exist.
    Missing,
    /// Its resourceVersion.
    Version(String),
}

/// Whether the ramdisk of a host can be used.
pub(super) fn built(
    image: &PreprovisioningImage,
    spec: &PreprovisioningImageSpec,
    network: &NetworkData,
) -> Built {
    let name = format!("{}/{}", image.namespace().unwrap_or_default(), image.name_any());
    let not_yet = |detail: String| Built::NotYet {
        detail: format!("PreprovisioningImage {name}: {detail}"),
    };
    if *network == NetworkData::Missing {
        let secret = spec.network_data_name.as_deref().unwrap_or_default();
        return not_yet(format!("the network data secret {secret} does not exist"));
    }
    let Some(status) = &image.status else {
        return not_yet("no builder has looked at it".into());
    };
    let error = conditions::find(&status.conditions, ERROR).filter(|error| error.status == "True");
    if let Some(error) = error {
        // That the Secret was missing is old news once it is there.
        return if error.reason == MISSING_NETWORK_DATA || !current(image, error) {
            not_yet(error.message.clone())
        } else {
            Built::Failed(format!(
                "PreprovisioningImage {name} cannot be built: {}",
                error.message
            ))
        };
    }
    let secret = status.network_data.as_ref();
    let version = secret.and_then(|secret| secret.version.as_deref());
    let fits = status.architecture == spec.architecture
        && status
            .format
            .is_some_and(|format| spec.accept_formats.contains(&format))
        && secret
            .and_then(|secret| secret.name.as_deref())
            .filter(|name| !name.is_empty())
            == spec.network_data_name.as_deref()
        && match network {
            NetworkData::Version(now) => version == Some(now),
            NetworkData::Unused | NetworkData::Missing => true,
        };
    let ready = conditions::find(&status.conditions, READY);
    let usable = ready.is_some_and(|ready| {
        ready.status == "True" && ready.observed_generation == image.metadata.generation
    });
    let url = status.image_url.clone().filter(|url| !url.is_empty());
    match (status.format, url) {
        (Some(format), Some(url)) if fits && usable => Built::Ready(BuiltRamdisk {
            url,
            kernel_url: status.kernel_url.clone().filter(|url| !url.is_empty()),
            extra_kernel_params: status.extra_kernel_params.clone().filter(|text| !text.is_empty()),
            format,
        }),
        _ => not_yet(match ready {
            Some(ready) if ready.status != "True" && !ready.message.is_empty() => ready.message.clone(),
            Some(_) => "it is built for what the host was before".into(),
            None => "it is not built yet".into(),
        }),
    }
}

/// Whether a condition is about the spec of now; not every builder says.
fn current(image: &PreprovisioningImage, condition: &Condition) -> bool {
    condition.observed_generation.is_none() || condition.observed_generation == image.metadata.generation
}

#[cfg(test)]
mod tests {
    use metal3_api::metal3::preprovisioning_image::ImageFormat;
    use serde_json::{Value, json};

    use super::*;

    fn condition(type_: &str, status: &str, reason: &str, generation: i64) -> Value {
        json!({
            "type": type_, "status": status, "reason": reason, "message": format!("because {reason}"),
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    }

    fn image(status: &Value) -> PreprovisioningImage {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "ns", "generation": 2},
            "spec": {"architecture": "x86_64", "acceptFormats": ["iso", "initrd"], "networkDataName": "net"},
            "status": status,
        }))
        .unwrap()
    }

    fn good() -> Value {
        json!({
            "imageUrl": "http://images.test/a.iso", "format": "iso", "architecture": "x86_64",
            "extraKernelParams": "quiet",
            "networkData": {"name": "net", "version": "5"},
            "conditions": [condition("Ready", "True", "ImageSuccess", 2), condition("Error", "False", "ImageSuccess", 2)],
        })
    }

    fn ask(status: &Value, network: &NetworkData) -> Built {
        let image = image(status);
        built(&image, &image.spec, network)
    }

    fn version(version: &str) -> NetworkData {
        NetworkData::Version(version.into())
    }

    #[test]
    fn a_ready_image_of_all_that_is_asked_for_is_used() {
        let Built::Ready(ramdisk) = ask(&good(), &version("5")) else {
            panic!("not ready")
        };
        assert_eq!(ramdisk.url, "http://images.test/a.iso");
        assert_eq!(ramdisk.format, ImageFormat::Iso);
        assert_eq!(
            (ramdisk.kernel_url, ramdisk.extra_kernel_params.as_deref()),
            (None, Some("quiet"))
        );
    }

    #[test]
    fn one_of_something_else_is_waited_for() {
        for (path, value) in [
            ("/architecture", json!("aarch64")),
            ("/format", json!(null)),
            ("/imageUrl", json!("")),
            ("/networkData/version", json!("4")),
            ("/networkData/name", json!("other")),
            ("/conditions/0/status", json!("False")),
            ("/conditions/0/observedGeneration", json!(1)),
        ] {
            let mut status = good();
            *status.pointer_mut(path).unwrap() = value;
            let answer = ask(&status, &version("5"));
            assert!(matches!(answer, Built::NotYet { .. }), "{path}: {answer:?}");
        }
        assert!(matches!(ask(&json!(null), &version("5")), Built::NotYet { .. }));
    }

    #[test]
    fn an_error_fails_the_host_with_its_words() {
        let mut status = good();
        status["conditions"][1] = condition("Error", "True", "ConfigurationError", 2);
        let Built::Failed(message) = ask(&status, &version("5")) else {
            panic!("no failure")
        };
        assert!(
            message.contains("ns/a") && message.contains("because ConfigurationError"),
            "{message}"
        );
        status["conditions"][1]["observedGeneration"] = json!(1);
        assert!(matches!(ask(&status, &version("5")), Built::NotYet { .. }));
    }

    #[test]
    fn a_missing_secret_is_waited_for_and_named() {
        let Built::NotYet { detail } = ask(&json!(null), &NetworkData::Missing) else {
            panic!("no wait")
        };
        assert!(detail.contains("secret net does not exist"), "{detail}");
        let mut status = good();
        status["conditions"][1] = condition("Error", "True", "MissingNetworkData", 2);
        assert!(matches!(ask(&status, &version("5")), Built::NotYet { .. }));
    }
}
