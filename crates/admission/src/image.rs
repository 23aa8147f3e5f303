//! Rules on images, which hosts and claims share.

use metal3_api::metal3::common::{CustomDeploy, Image};

use crate::problem::Problem;
use crate::{given, uri};

const SCHEMES: [&str; 5] = ["http", "https", "ftp", "gopher", "oci"];
const CHECKSUMS: [&str; 4] = ["md5", "sha256", "sha512", "auto"];

/// What is wrong with the location of a file.
pub(crate) fn location(field: &str, url: &str) -> Option<Problem> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_lowercase());
    let text = match scheme {
        Some(scheme) if !SCHEMES.contains(&scheme.as_str()) => {
            format!("invalid scheme in URL, {scheme:?} not allowed")
        }
        Some(_) | None => uri::path(url).err()?,
    };
    let known = SCHEMES.join(", ");
    let text = format!("image URL {url} is invalid: {text}; it has to begin with one of {known}");
    Some(Problem::new(field, &text, url))
}

/// What is wrong with an image that may be given.
pub(crate) fn image(image: Option<&Image>, custom: Option<&CustomDeploy>) -> Vec<Problem> {
    let Some(image) = image else { return Vec::new() };
    let mut problems: Vec<_> = location("spec.image.url", &image.url).into_iter().collect();
    let oci = image
        .url
        .get(..6)
        .is_some_and(|begin| begin.eq_ignore_ascii_case("oci://"));
    let custom = custom.is_some_and(|custom| !custom.method.is_empty());
    let checksum = given(image.checksum.as_ref());
    let kind = given(image.checksum_type.as_ref());
    let cause = (&image.url, checksum, kind, &image.format, custom);
    let mut complain = |field: &str, text: &str| problems.push(Problem::new(field, text, cause));
    if oci {
        // The registry's digest plays that part.
        if checksum.is_some() || kind.is_some() {
            complain(
                "spec.image.checksum",
                "spec.image.checksum must be empty for OCI images, whose registry names a digest; remove checksum and \
                 checksumType",
            );
        }
    } else if image.format.as_deref() != Some("live-iso") {
        if checksum.is_none() && !custom {
            complain(
                "spec.image.checksum",
                "checksum is required for normal images: give the checksum of the file, or the URL of a file of checksums",
            );
        }
        if let Some(kind) = kind.filter(|kind| !CHECKSUMS.contains(kind)) {
            let known = CHECKSUMS.join(", ");
            complain(
                "spec.image.checksumType",
                &format!("unknown checksumType {kind:?}; use one of {known}"),
            );
        }
    }
    problems
}
