//! Registries: of an image, and in a list of logins.

use std::collections::BTreeMap;

use serde_json::Value;

/// How Docker names its own registry in files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Whether an image comes from a registry.
pub(crate) fn is_oci(url: &str) -> bool {
    location(url).is_some()
}

fn location(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_at_checked("oci://".len())?;
    scheme.eq_ignore_ascii_case("oci://").then_some(rest)
}

/// The registry of an image, as lists of logins name it.
pub(super) fn of(url: &str) -> Option<String> {
    let authority = location(url)?.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.to_ascii_lowercase();
    match host.as_str() {
        "" => None,
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => Some(DOCKER_HUB.to_owned()),
        _ => Some(host),
    }
}

/// The login for a registry; people write it with or without scheme and path.
pub(super) fn find<'a>(logins: &'a BTreeMap<String, Value>, registry: &str) -> Option<&'a Value> {
    let same = |name: &str| bare(name) == bare(registry);
    let exact = logins.get(registry);
    exact.or_else(|| logins.iter().find(|(name, _)| same(name)).map(|(_, login)| login))
}

/// A name without scheme and path; all names of Docker's registry are one.
fn bare(name: &str) -> String {
    let name = name.trim_start_matches("https://").trim_start_matches("http://");
    let host = name.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match host.as_str() {
        "docker.io" | "registry-1.docker.io" => "index.docker.io".to_owned(),
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_registry_of_an_image_is_its_host_and_port() {
        for (url, registry) in [
            ("oci://quay.io/a/b:c", Some("quay.io")),
            ("oci://localhost:5000/b", Some("localhost:5000")),
            ("Oci://QUAY.io/a", Some("quay.io")),
            ("oci://docker.io/library/a", Some(DOCKER_HUB)),
            ("oci://index.docker.io/a", Some(DOCKER_HUB)),
            ("oci://registry-1.docker.io/a", Some(DOCKER_HUB)),
            ("oci:///a", None),
            ("https://quay.io/a", None),
            ("oci", None),
        ] {
            assert_eq!(of(url).as_deref(), registry, "{url}");
        }
        assert!(is_oci("OCI://a/b") && !is_oci("http://a/b") && !is_oci("öci://"));
    }

    #[test]
    fn a_login_is_found_under_each_way_to_write_the_registry() {
        for (name, registry) in [
            ("quay.io", "quay.io"),
            ("https://quay.io", "quay.io"),
            ("https://quay.io/v2/", "quay.io"),
            ("QUAY.IO", "quay.io"),
            ("https://index.docker.io/v1/", DOCKER_HUB),
            ("docker.io", DOCKER_HUB),
            ("registry-1.docker.io", DOCKER_HUB),
        ] {
            let logins = [(name.to_owned(), json!(name))].into();
            assert_eq!(find(&logins, registry), Some(&json!(name)), "{name}");
            assert_eq!(find(&logins, "quay.io:5000"), None, "{name}");
        }
    }
}
