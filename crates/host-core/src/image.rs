//! What is wrong with an image, as far as its description tells. The webhook says the same, where it is installed.

use metal3_api::metal3::host::{CustomDeploy, Image};

/// Kinds of checksums that the backend knows.
const CHECKSUMS: [&str; 4] = ["md5", "sha256", "sha512", "auto"];

/// Why an image cannot be deployed; found out before anything is cleaned for it.
pub(crate) fn problem(image: Option<&Image>, custom: Option<&CustomDeploy>) -> Option<String> {
    let image = image.filter(|image| !image.url.is_empty())?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (checksum, kind) = (given(&image.checksum), given(&image.checksum_type));
    if !image.url.contains("://") {
        return Some(format!(
            "image URL {:?} has no scheme; begin it with http, https or oci",
            image.url
        ));
    }
    if custom.is_some_and(|custom| !custom.method.is_empty()) {
        // What its step does with the image is its own affair.
        return None;
    }
    if image
        .url
        .get(..6)
        .is_some_and(|begin| begin.eq_ignore_ascii_case("oci://"))
    {
        return checksum.map(|_| {
            "spec.image.checksum must be empty for OCI images (oci:// images have embedded checksums)"
                .to_owned()
        });
    }
    if image.format.as_deref() == Some("live-iso") {
        return None;
    }
    if checksum.is_none() {
        return Some("checksum is required for normal images; set spec.image.checksum".to_owned());
    }
    let unknown = kind.filter(|kind| !CHECKSUMS.contains(&kind.as_str()))?;
    Some(format!(
        "unknown checksumType {unknown:?}; use one of {}",
        CHECKSUMS.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_deployed_is_without_a_problem() {
        for (url, checksum, kind, format, fine) in [
            ("http://a/b", Some("abc"), None, None, true),
            ("http://a/b", Some("abc"), Some("sha256"), Some("qcow2"), true),
            ("http://a/b", Some("abc"), Some(""), None, true),
            ("http://a/b", Some("abc"), Some("crc"), None, false),
            ("http://a/b", None, None, None, false),
            ("http://a/b", Some(""), None, None, false),
            ("http://a/b", None, None, Some("live-iso"), true),
            ("oci://a/b", None, None, None, true),
            ("OCI://a/b", Some("abc"), None, None, false),
            ("a/b", Some("abc"), None, None, false),
        ] {
            let image = Image {
                url: url.into(),
                checksum: checksum.map(Into::into),
                checksum_type: kind.map(Into::into),
                format: format.map(Into::into),
                ..Image::default()
            };
            let found = problem(Some(&image), None);
            assert_eq!(found.is_none(), fine, "{image:?}: {found:?}");
        }
        let method = CustomDeploy {
            method: "install".into(),
        };
        let bare = Image {
            url: "http://a/b".into(),
            ..Image::default()
        };
        assert_eq!(problem(Some(&bare), Some(&method)), None);
        assert_eq!(problem(None, None), None);
    }
}
