//! What is deployed, as a node's `instance_info`.

use metal3_api::metal3::host::{BootMode, Image};
use metal3_provisioner::{ProvisionArgs, PullSecret};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::hints;
use crate::client::Node;

/// The kinds of checksums that Ironic knows.
const ALGORITHMS: [&str; 3] = ["md5", "sha256", "sha512"];

/// The ways of deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// An image is written to the disk.
    Disk,
    /// An ISO runs, nothing is written.
    LiveIso,
    /// A step of the ramdisk does what it likes.
    Custom,
}

/// `None`: the key is left as it is. Null: it is to be absent.
type Entry = (&'static str, Option<Value>);

/// The image, unless there is none.
pub(super) fn of(args: &ProvisionArgs) -> Option<&Image> {
    args.deploy.image.as_ref().filter(|image| !image.url.is_empty())
}

pub(super) fn method(args: &ProvisionArgs) -> Method {
    if args.deploy.custom_deploy_method.is_some() {
        Method::Custom
    } else if of(args).is_some_and(|image| image.format.as_deref() == Some("live-iso")) {
        Method::LiveIso
    } else {
        Method::Disk
    }
}

/// What the image is called in messages.
pub(super) fn title(args: &ProvisionArgs) -> &str {
    of(args)
        .map(|image| image.url.as_str())
        .or(args.deploy.custom_deploy_method.as_deref())
        .unwrap_or_default()
}

fn is_oci(image: &Image) -> bool {
    image
        .url
        .get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("oci://"))
}

fn checksum(image: &Image) -> &str {
    image.checksum.as_deref().unwrap_or_default()
}

/// The kind of checksum that Ironic is told; `None` lets it find out.
fn algorithm(image: &Image) -> Option<&str> {
    image
        .checksum_type
        .as_deref()
        .filter(|kind| !kind.is_empty() && *kind != "auto")
}

fn checksum_problem(image: &Image) -> Option<String> {
    if is_oci(image) {
        return (!checksum(image).is_empty()).then(|| {
            "spec.image.checksum must be empty for OCI images (oci:// images have embedded checksums)"
                .to_owned()
        });
    }
    if checksum(image).is_empty() {
        return Some("checksum is required for normal images".to_owned());
    }
    algorithm(image)
        .filter(|kind| !ALGORITHMS.contains(kind))
        .map(|kind| {
            format!(
                "unknown checksumType {kind}; known are auto, {}",
                ALGORITHMS.join(", ")
            )
        })
}

/// Why it cannot be deployed, as far as that is known without asking.
pub(super) fn problem(args: &ProvisionArgs) -> Option<String> {
    match (method(args), of(args)) {
        // What a step of the ramdisk makes of the image is its own matter.
        (Method::Custom, _) | (Method::LiveIso, _) => None,
        (Method::Disk, Some(image)) => checksum_problem(image),
        (Method::Disk, None) => Some("there is neither an image nor a custom deploy method".to_owned()),
    }
}

/// Whether the registry of the image wants a login that nobody can tell.
pub(super) fn lacks_login(args: &ProvisionArgs) -> bool {
    matches!(args.pull_secret, PullSecret::Unusable) && pulled(args).is_some()
}

/// The image that Ironic, or its ramdisk, pulls from a registry. Of an ISO it is told no login.
fn pulled(args: &ProvisionArgs) -> Option<&Image> {
    of(args).filter(|image| method(args) != Method::LiveIso && is_oci(image))
}

/// What the node must hold.
pub(super) fn instance_info(args: &ProvisionArgs) -> Vec<Entry> {
    let capabilities = match args.boot_mode {
        BootMode::UefiSecureBoot => json!({"secure_boot": "true"}),
        BootMode::Uefi | BootMode::Legacy => json!({}),
    };
    let method = method(args);
    let image = of(args).filter(|_| method != Method::LiveIso);
    let or_absent = |value: Option<Value>| Some(value.unwrap_or_default());
    let mut info = vec![
        ("capabilities", Some(capabilities)),
        (
            "root_device",
            Some(hints::root_device(args.root_device_hints.as_ref())),
        ),
        ("image_source", or_absent(image.map(|image| json!(image.url)))),
    ];
    info.extend(match method {
        Method::Custom => custom_checksum(image),
        Method::Disk | Method::LiveIso => checksums(image),
    });
    info.push((
        "boot_iso",
        or_absent(
            of(args)
                .filter(|_| method == Method::LiveIso)
                .map(|image| json!(image.url)),
        ),
    ));
    // An ISO has neither: what is there stays, as upstream leaves it.
    if method != Method::LiveIso {
        let format = image
            .and_then(|image| image.format.as_deref())
            .filter(|format| !format.is_empty());
        info.push(("image_disk_format", or_absent(format.map(|format| json!(format)))));
        let login = match &args.pull_secret {
            PullSecret::Login(login) if pulled(args).is_some() => Some(json!(login.expose_secret())),
            PullSecret::Login(_) | PullSecret::None | PullSecret::Unusable => None,
        };
        info.push(("image_pull_secret", or_absent(login)));
    }
    info
}

/// One that is typed is told as such; Ironic finds out what an untyped one is.
fn checksums(image: Option<&Image>) -> Vec<Entry> {
    let given = image.filter(|image| !checksum(image).is_empty() && !is_oci(image));
    let typed = given.and_then(|image| Some((algorithm(image)?, checksum(image))));
    let untyped = given.filter(|image| algorithm(image).is_none()).map(checksum);
    let text = |text: Option<&str>| Some(text.map_or(Value::Null, |text| json!(text)));
    vec![
        ("image_checksum", text(untyped)),
        ("image_os_hash_algo", text(typed.map(|(kind, _)| kind))),
        ("image_os_hash_value", text(typed.map(|(_, sum)| sum))),
    ]
}

/// A step of the ramdisk gets it as it was given.
fn custom_checksum(image: Option<&Image>) -> Vec<Entry> {
    let valid = image.filter(|image| checksum_problem(image).is_none());
    let text = |text: Option<&str>| Some(text.map_or(Value::Null, |text| json!(text)));
    vec![
        ("image_checksum", Some(Value::Null)),
        (
            "image_os_hash_algo",
            text(valid.map(|image| algorithm(image).unwrap_or_default())),
        ),
        ("image_os_hash_value", text(valid.map(checksum))),
    ]
}

/// The deployment on the node is of this very image.
pub(super) fn is_same(node: &Node, args: &ProvisionArgs) -> bool {
    const KEYS: [&str; 5] = [
        "image_source",
        "image_checksum",
        "image_os_hash_algo",
        "image_os_hash_value",
        "boot_iso",
    ];
    instance_info(args)
        .into_iter()
        .filter(|(key, _)| KEYS.contains(key))
        .all(|(key, wanted)| {
            node.instance_info.get(key).unwrap_or(&Value::Null) == &wanted.unwrap_or_default()
        })
}

/// A failed deployment, told with what was deployed.
pub(super) fn failure(args: &ProvisionArgs, error: &str) -> String {
    let checksum = of(args)
        .map(checksum)
        .filter(|checksum| !checksum.is_empty())
        .map(|checksum| format!(", checksum: {checksum}"))
        .unwrap_or_default();
    format!(
        "Image provisioning failed (url: {}{checksum}): {error}",
        title(args)
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use metal3_provisioner::DeployImage;

    use super::*;

    fn args(image: Image) -> ProvisionArgs {
        ProvisionArgs {
            deploy: DeployImage {
                image: Some(image),
                ..DeployImage::default()
            },
            pull_secret: PullSecret::Login("user:word".into()),
            ..ProvisionArgs::default()
        }
    }

    fn custom(image: Option<Image>) -> ProvisionArgs {
        ProvisionArgs {
            deploy: DeployImage {
                image,
                custom_deploy_method: Some("install".into()),
            },
            ..ProvisionArgs::default()
        }
    }

    fn disk() -> Image {
        Image {
            url: "http://i".into(),
            checksum: Some("abc".into()),
            ..Image::default()
        }
    }

    fn live() -> Image {
        Image {
            format: Some("live-iso".into()),
            checksum: None,
            ..disk()
        }
    }

    fn oci() -> Image {
        Image {
            url: "OCI://r/i".into(),
            checksum: None,
            format: Some("raw".into()),
            ..Image::default()
        }
    }

    /// The table of the specification, a row for each image: source, checksum, algorithm, value, format, secret, ISO.
    /// `-` is absent, `=` left as it is.
    #[test]
    fn each_way_of_deployment_has_its_own_instance_info() {
        let typed = || Image {
            checksum_type: Some("sha256".into()),
            format: Some("qcow2".into()),
            ..disk()
        };
        for (what, args, expected) in [
            ("untyped", args(disk()), "http://i abc - - - - -"),
            ("typed", args(typed()), "http://i - sha256 abc qcow2 - -"),
            ("live", args(live()), "- - - - = = http://i"),
            ("oci", args(oci()), "OCI://r/i - - - raw user:word -"),
            ("custom", custom(None), "- - - - - - -"),
            ("custom, untyped", custom(Some(disk())), "http://i - '' abc - - -"),
            (
                "custom, typed",
                custom(Some(typed())),
                "http://i - sha256 abc qcow2 - -",
            ),
            ("custom, oci", custom(Some(oci())), "OCI://r/i - '' '' raw - -"),
            (
                "custom, without checksum",
                custom(Some(Image {
                    checksum: None,
                    ..disk()
                })),
                "http://i - - - - - -",
            ),
        ] {
            let info: BTreeMap<_, _> = instance_info(&args).into_iter().collect();
            let shown: Vec<&str> = [
                "image_source",
                "image_checksum",
                "image_os_hash_algo",
                "image_os_hash_value",
                "image_disk_format",
                "image_pull_secret",
                "boot_iso",
            ]
            .into_iter()
            .map(|key| match info.get(key) {
                None => "=",
                Some(Some(Value::String(text))) if text.is_empty() => "''",
                Some(Some(Value::String(text))) => text,
                Some(_) => "-",
            })
            .collect();
            assert_eq!(shown.join(" "), expected, "{what}");
        }
    }

    #[test]
    fn a_login_is_missed_only_where_one_would_be_told() {
        let unusable = |args: ProvisionArgs| ProvisionArgs {
            pull_secret: PullSecret::Unusable,
            ..args
        };
        let live_oci = Image {
            format: Some("live-iso".into()),
            ..oci()
        };
        assert!(lacks_login(&unusable(args(oci()))));
        assert!(lacks_login(&unusable(custom(Some(oci())))));
        for without in [
            args(oci()),
            unusable(args(disk())),
            unusable(args(live_oci)),
            unusable(custom(None)),
        ] {
            assert!(!lacks_login(&without), "{without:?}");
        }
    }

    #[test]
    fn images_that_cannot_be_deployed_are_told_before_anything_happens() {
        let with = |url: &str, checksum: Option<&str>, kind: Option<&str>| {
            args(Image {
                url: url.into(),
                checksum: checksum.map(Into::into),
                checksum_type: kind.map(Into::into),
                ..Image::default()
            })
        };
        for (args, expected) in [
            (with("http://i", Some("abc"), None), None),
            (with("http://i", Some("abc"), Some("auto")), None),
            (with("http://i", Some("abc"), Some("sha512")), None),
            (with("http://i", None, None), Some("checksum is required")),
            (
                with("http://i", Some("abc"), Some("crc")),
                Some("unknown checksumType crc"),
            ),
            (with("oci://r/i", None, None), None),
            (
                with("Oci://r/i", Some("abc"), None),
                Some("must be empty for OCI images"),
            ),
            (with("", None, None), Some("neither an image")),
            (args(live()), None),
            (custom(None), None),
            (custom(Some(disk())), None),
        ] {
            let problem = problem(&args);
            match (problem.as_deref(), expected) {
                (None, None) => {}
                (Some(problem), Some(expected)) => assert!(problem.contains(expected), "{problem}"),
                (seen, expected) => panic!("{args:?}: {seen:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn a_failed_deployment_of_another_image_is_recognised() {
        let node = Node {
            instance_info: json!({"image_source": "http://i", "image_checksum": "abc", "image_pull_secret": "******"}),
            ..Node::default()
        };
        assert!(is_same(&node, &args(disk())));
        for other in [
            Image {
                url: "http://j".into(),
                ..disk()
            },
            Image {
                checksum_type: Some("md5".into()),
                ..disk()
            },
            live(),
        ] {
            assert!(!is_same(&node, &args(other.clone())), "{other:?}");
        }
    }
}
