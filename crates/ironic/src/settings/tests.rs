//! Which variables are understood, and what is said of those that are not.

use super::*;

const ENDPOINT: (&str, &str) = ("IRONIC_ENDPOINT", "http://i/v1");

fn parse_with(images: AgentImages, pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::from_env_with(images, |name| {
        pairs
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn parse(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    parse_with(AgentImages::Given, pairs)
}

#[test]
fn a_bad_variable_is_named_with_what_to_do() {
    for (name, value, word) in [
        ("PROVISIONING_LIMIT", "x", "number of hosts"),
        ("PROVISIONING_LIMIT", "-1", "number of hosts"),
        ("DEPLOY_KERNEL_URL", "k", "DEPLOY_RAMDISK_URL"),
        ("DEPLOY_RAMDISK_URL", "r", "DEPLOY_KERNEL_URL"),
        ("IRONIC_CLIENT_TIMEOUT", "0s", "longer than 0"),
        ("IRONIC_CLIENT_TIMEOUT", "-1s", "longer than 0"),
        ("IRONIC_CLIENT_TIMEOUT", "30", "unit"),
        ("IRONIC_CLIENT_CACHE_TTL", "-5s", "unit"),
        ("IRONIC_CLIENT_CACHE_TTL", "soon", "unit"),
        ("IRONIC_ORPHAN_GRACE", "60", "unit"),
        (
            "LIVE_ISO_FORCE_PERSISTENT_BOOT_DEVICE",
            "always",
            "Default, Always or Never",
        ),
        (
            "DIRECT_DEPLOY_FORCE_PERSISTENT_BOOT_DEVICE",
            "x",
            "Default, Always or Never",
        ),
    ] {
        let error = parse(&[ENDPOINT, (name, value)]).unwrap_err().to_string();
        for part in [name, value, word] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert!(parse(&[]).unwrap_err().to_string().contains("IRONIC_ENDPOINT"));
    for endpoint in ["ironic:6385", "ftp://ironic", "admin:hidden@ironic", "/v1"] {
        let error = parse(&[("IRONIC_ENDPOINT", endpoint)]).unwrap_err().to_string();
        assert!(
            error.contains("give a URL") && !error.contains("hidden"),
            "{error}"
        );
    }
}

#[test]
fn a_kernel_alone_is_enough_for_those_who_build_the_rest() {
    let built = |pairs: &[(&str, &str)]| parse_with(AgentImages::Built, pairs);
    assert!(built(&[ENDPOINT, ("DEPLOY_KERNEL_URL", "k")]).is_ok());
    assert!(built(&[ENDPOINT, ("DEPLOY_RAMDISK_URL", "r")]).is_err());
}

#[test]
fn times_are_those_of_go() {
    for (text, millis) in [
        ("30s", 30_000),
        ("1m30s", 90_000),
        ("1.5s", 1_500),
        ("250ms", 250),
        ("2h", 7_200_000),
    ] {
        let settings = parse(&[
            ENDPOINT,
            ("IRONIC_CLIENT_TIMEOUT", text),
            ("IRONIC_CLIENT_CACHE_TTL", text),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.timeout.as_millis(), millis);
        assert_eq!(settings.trust.as_millis(), millis);
    }
    let never = parse(&[ENDPOINT, ("IRONIC_CLIENT_CACHE_TTL", "0")]).unwrap();
    assert_eq!(never.trust, Duration::ZERO);
}

#[test]
fn a_resource_is_looked_for_where_upstream_does() {
    let name = ("IRONIC_NAME", "ironic");
    for (pairs, namespace) in [
        (
            &[("IRONIC_NAMESPACE", "a"), ("POD_NAMESPACE", "b")][..],
            Some("a"),
        ),
        (&[("POD_NAMESPACE", "b"), ("WATCH_NAMESPACE", "c")], Some("b")),
        (&[("WATCH_NAMESPACE", "c")], Some("c")),
        (&[("WATCH_NAMESPACE", "c,d")], None),
        (&[], None),
    ] {
        let pairs: Vec<_> = [name].into_iter().chain(pairs.iter().copied()).collect();
        match (parse(&pairs), namespace) {
            (Ok(settings), Some(namespace)) => {
                let resource = settings.resource.unwrap();
                assert_eq!(resource.to_string(), format!("{namespace}/ironic"));
                assert_eq!(settings.endpoint, "");
            }
            (Err(error), None) => assert!(error.to_string().contains("IRONIC_NAMESPACE"), "{error}"),
            (seen, _) => panic!("{pairs:?}: {seen:?}"),
        }
    }
    let both = parse(&[name, ENDPOINT, ("POD_NAMESPACE", "a")]).unwrap();
    assert!(both.resource.is_some() && both.endpoint.is_empty(), "as upstream");
}

#[test]
fn defaults_are_upstreams() {
    let settings = parse(&[ENDPOINT]).unwrap();
    assert_eq!(
        (
            settings.provisioning_limit,
            settings.timeout.as_secs(),
            settings.trust.as_secs()
        ),
        (20, 30, 5)
    );
    assert!(settings.access.login.is_none() && !settings.insecure);
    assert!(settings.resource.is_none() && settings.external_url_v6.is_none());
    let files = format!("{:?}", settings.files);
    for path in [
        "auth/ironic",
        "certs/ca/tls.crt",
        "certs/client/tls.crt",
        "certs/client/tls.key",
    ] {
        assert!(files.contains(&format!("\"/opt/metal3/{path}\"")), "{files}");
    }
}

#[test]
fn switches_are_words_in_any_case() {
    let on = parse(&[
        ENDPOINT,
        ("IRONIC_INSECURE", "TRUE"),
        ("PROVISIONING_NETWORK_DISABLED", "true"),
        ("IRONIC_SKIP_CLIENT_SAN_VERIFY", "true"),
        ("IRONIC_EXTERNAL_URL_V6", "http://[2001:db8::1]"),
    ]);
    let on = on.unwrap();
    assert!(on.insecure && on.provisioning_network_disabled);
    assert_eq!(on.external_url_v6.as_deref(), Some("http://[2001:db8::1]"));
}
