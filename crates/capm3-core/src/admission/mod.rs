//! What the admission webhooks refuse. Paths are spelt as upstream spells them.

mod data;
mod remediation;

pub use data::{data, data_claim, data_template, data_template_warnings};
pub use remediation::{remediation, remediation_template, strategy_defaults};

use k8s_openapi::api::core::v1::SecretReference;
use metal3_api::infra::v1beta2::{
    Image, Metal3ClusterSpec, Metal3ClusterTemplateSpec, Metal3MachineSpec, Metal3MachineTemplateSpec,
};

use crate::label_sync::{Prefixes, events};

/// Port of an API server when the user gives none.
pub const DEFAULT_PORT: i32 = 6443;

/// Why a Metal3Cluster is refused.
pub fn cluster(spec: &Metal3ClusterSpec) -> Vec<String> {
    endpoint(spec, "spec.controlPlaneEndpoint", Port::Defaulted)
}

/// What of the prefixes that a Metal3Cluster asks for will have no effect. It is accepted, as by upstream: the others work.
pub fn label_sync_warnings(asked: &str) -> Vec<String> {
    let (_, malformed) = Prefixes::read(asked);
    if malformed.is_empty() {
        return Vec::new();
    }
    vec![events::invalid(&malformed).message]
}

/// Why a Metal3ClusterTemplate is refused. Its port is not defaulted.
pub fn cluster_template(spec: &Metal3ClusterTemplateSpec) -> Vec<String> {
    endpoint(
        &spec.template.spec,
        "spec.template.spec.controlPlaneEndpoint",
        Port::Required,
    )
}

/// Why a Metal3Machine is refused.
pub fn machine(spec: &Metal3MachineSpec, namespace: &str) -> Vec<String> {
    machine_spec(spec, namespace, "Spec")
}

/// Why a Metal3MachineTemplate is refused.
pub fn machine_template(spec: &Metal3MachineTemplateSpec, namespace: &str) -> Vec<String> {
    machine_spec(&spec.template.spec, namespace, "Spec.Template.Spec")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Defaulted,
    Required,
}

fn endpoint(spec: &Metal3ClusterSpec, path: &str, port: Port) -> Vec<String> {
    let endpoint = spec.control_plane_endpoint.as_ref();
    let host = endpoint
        .and_then(|endpoint| endpoint.host.as_deref())
        .unwrap_or_default();
    let mut errors = Vec::new();
    if host.is_empty() {
        errors.push(format!(
            "{path}.host: Required value: set the address that the API server of the cluster will have"
        ));
    }
    let number = endpoint.and_then(|endpoint| endpoint.port).unwrap_or_default();
    if port == Port::Required && number == 0 {
        errors.push(format!(
            "{path}.port: Required value: set the port of the API server, usually {DEFAULT_PORT}"
        ));
    }
    errors
}

fn machine_spec(spec: &Metal3MachineSpec, namespace: &str, path: &str) -> Vec<String> {
    let custom = spec
        .custom_deploy
        .as_ref()
        .is_some_and(|deploy| !deploy.method.is_empty());
    let mut errors = if custom {
        Vec::new()
    } else {
        image(spec.image.as_ref(), path)
    };
    for (field, secret) in [
        ("UserData", &spec.user_data),
        ("MetaData", &spec.meta_data),
        ("NetworkData", &spec.network_data),
    ] {
        errors.extend(foreign(secret.as_ref(), namespace).map(|other| {
            format!(
                "{path}.{field}.Namespace: Invalid value: {other:?}: must be empty or the namespace of the object; a Secret \
                 of another namespace cannot be used"
            )
        }));
    }
    errors
}

fn foreign<'a>(secret: Option<&'a SecretReference>, namespace: &str) -> Option<&'a str> {
    let other = secret?.namespace.as_deref()?;
    (!other.is_empty() && other != namespace).then_some(other)
}

fn image(image: Option<&Image>, path: &str) -> Vec<String> {
    let url = image.map(|image| image.url.as_str()).unwrap_or_default();
    let checksum = image.and_then(|image| image.checksum.as_deref());
    let checksum_type = image
        .and_then(|image| image.checksum_type.as_deref())
        .unwrap_or_default();
    let format = image
        .and_then(|image| image.disk_format.as_deref())
        .unwrap_or_default();
    if url.is_empty() && checksum.is_none() {
        return vec![format!(
            "{path}.Image: Required value: either image or customDeploy is required"
        )];
    }
    let mut errors = Vec::new();
    if url.is_empty() {
        errors.push(format!(
            "{path}.Image.URL: Required value: say where the image is downloaded from"
        ));
    } else if !is_url(url) {
        errors.push(format!(
            "{path}.Image.URL: Invalid value: {url:?}: not a valid URL"
        ));
    }
    let checksum = checksum.unwrap_or_default();
    if is_oci(url) {
        // The registry's digest plays that part.
        if !checksum.is_empty() {
            errors.push(format!(
                "{path}.Image.Checksum: Invalid value: {checksum:?}: must be empty for oci:// images"
            ));
        }
        if !checksum_type.is_empty() {
            errors.push(format!(
                "{path}.Image.ChecksumType: Invalid value: {checksum_type:?}: must be empty for oci:// images"
            ));
        }
    } else if format != "live-iso" && checksum.is_empty() {
        errors.push(format!(
            "{path}.Image.Checksum: Required value: without it a damaged image would be installed"
        ));
    } else if (checksum.starts_with("http://") || checksum.starts_with("https://")) && !is_url(checksum) {
        errors.push(format!(
            "{path}.Image.Checksum: Invalid value: {checksum:?}: not a valid URL"
        ));
    }
    errors
}

fn is_oci(url: &str) -> bool {
    url.get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("oci://"))
}

/// An absolute URL or an absolute path, as Go's `ParseRequestURI` takes them.
fn is_url(text: &str) -> bool {
    if text
        .chars()
        .any(|character| character.is_control() || character == ' ')
    {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let scheme_fits = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character));
    scheme_fits && rest.starts_with('/') && rest != "/" && rest != "//"
}

#[cfg(test)]
mod tests {
    use metal3_api::infra::v1beta2::{APIEndpoint, CustomDeploy};

    use super::*;

    fn errors(url: &str, checksum: Option<&str>, format: &str) -> Vec<String> {
        let spec = Metal3MachineSpec {
            image: Some(Image {
                url: url.into(),
                checksum: checksum.map(str::to_owned),
                checksum_type: None,
                disk_format: Some(format.into()),
            }),
            ..Metal3MachineSpec::default()
        };
        machine(&spec, "ns")
    }

    #[test]
    fn an_image_needs_url_and_checksum() {
        for (url, checksum, format, error) in [
            ("http://a/i.qcow2", Some("abc"), "qcow2", ""),
            ("/i.qcow2", Some("http://a/sums"), "qcow2", ""),
            ("http://a/i.iso", None, "live-iso", ""),
            ("oci://r/i", None, "raw", ""),
            ("OCI://r/i", Some("abc"), "raw", "Spec.Image.Checksum: Invalid"),
            ("http://a/i", None, "raw", "Spec.Image.Checksum: Required"),
            (
                "http://a/i",
                Some("http://"),
                "raw",
                "Spec.Image.Checksum: Invalid",
            ),
            ("i.qcow2", Some("abc"), "raw", "Spec.Image.URL: Invalid"),
            ("http://a b", Some("abc"), "raw", "Spec.Image.URL: Invalid"),
            ("", Some("abc"), "raw", "Spec.Image.URL: Required"),
            (
                "",
                None,
                "raw",
                "Spec.Image: Required value: either image or customDeploy",
            ),
        ] {
            let found = errors(url, checksum, format);
            match error {
                "" => assert!(found.is_empty(), "{url}: {found:?}"),
                error => assert!(
                    found.len() == 1 && found[0].starts_with(error),
                    "{url}: {found:?}"
                ),
            }
        }
    }

    #[test]
    fn a_custom_deploy_needs_no_image_and_no_secret_leaves_its_namespace() {
        let secret = |namespace: &str| {
            Some(SecretReference {
                name: Some("s".into()),
                namespace: Some(namespace.into()),
            })
        };
        let spec = Metal3MachineSpec {
            custom_deploy: Some(CustomDeploy { method: "m".into() }),
            user_data: secret("ns"),
            meta_data: secret(""),
            ..Metal3MachineSpec::default()
        };
        assert_eq!(machine(&spec, "ns"), Vec::<String>::new());
        let foreign = Metal3MachineSpec {
            network_data: secret("other"),
            ..spec
        };
        let found = machine(&foreign, "ns");
        assert!(found[0].starts_with("Spec.NetworkData.Namespace"), "{found:?}");
    }

    #[test]
    fn a_cluster_needs_an_endpoint_and_its_template_a_port_too() {
        let spec = |host: Option<&str>| Metal3ClusterSpec {
            control_plane_endpoint: Some(APIEndpoint {
                host: host.map(str::to_owned),
                port: None,
            }),
            ..Metal3ClusterSpec::default()
        };
        assert_eq!(cluster(&spec(Some("a"))).len(), 0);
        assert_eq!(cluster(&spec(None)).len(), 1);
        let mut template = Metal3ClusterTemplateSpec::default();
        assert_eq!(cluster_template(&template).len(), 2);
        template.template.spec = spec(Some("a"));
        assert!(cluster_template(&template)[0].contains("controlPlaneEndpoint.port"));
    }
}
