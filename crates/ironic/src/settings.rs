//! Configuration by upstream's environment variables and files.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use thiserror::Error;
use tokio::sync::watch;

use crate::Target;
use crate::access::{Access, Files};

/// How to reach Ironic and what to tell it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base URL, normally ending in `/v1`; empty when a resource tells it.
    pub endpoint: String,
    /// The object that tells where Ironic is, instead of `endpoint`.
    pub resource: Option<Resource>,
    /// What it tells.
    pub target: Option<watch::Receiver<Target>>,
    /// Login, certificates and key.
    pub access: Access,
    /// Where these come from, when they may be renewed.
    pub files: Option<Files>,
    /// The files are not read again sooner.
    pub reread: Duration,
    /// Accept any certificate.
    pub insecure: bool,
    /// Bound of one request.
    pub timeout: Duration,
    /// What was found out about Ironic is believed for so long before something is changed.
    pub trust: Duration,
    /// `DEPLOY_KERNEL_URL`.
    pub deploy_kernel: Option<String>,
    /// `DEPLOY_RAMDISK_URL`.
    pub deploy_ramdisk: Option<String>,
    /// `DEPLOY_ISO_URL`.
    pub deploy_iso: Option<String>,
    /// `IRONIC_EXTERNAL_URL_V6`: where machines whose BMC has an IPv6 address find Ironic.
    pub external_url_v6: Option<String>,
    /// Hosts with network boot that may be busy at once.
    pub provisioning_limit: u32,
    /// How long a node has to be without a host before it is told as an orphan.
    pub orphan_grace: Duration,
    /// Drivers that need a provisioning network are refused.
    pub provisioning_network_disabled: bool,
    /// `LIVE_ISO_FORCE_PERSISTENT_BOOT_DEVICE`.
    pub live_iso_boot_device: String,
    /// `DIRECT_DEPLOY_FORCE_PERSISTENT_BOOT_DEVICE`.
    pub direct_deploy_boot_device: String,
}

/// Name and namespace of an object of `ironics.ironic.metal3.io`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Who makes the images that hosts boot for inspection and deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AgentImages {
    /// They are given by URL, or known to Ironic.
    #[default]
    Given,
    /// They are built for each host, `--build-preprov-image`: a kernel may be given without a ramdisk.
    Built,
}

/// The configuration cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A variable that must be there.
    #[error("{name} is not set: {remedy}")]
    Missing {
        /// Variable.
        name: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A value that makes no sense.
    #[error("{name}={value:?} is not valid: {remedy}")]
    Invalid {
        /// Variable.
        name: &'static str,
        /// Value; never a secret.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A file without which another is of no use.
    #[error("{} is {problem}: {remedy}", path.display())]
    Lacking {
        /// Which one.
        path: PathBuf,
        /// Missing or empty.
        problem: &'static str,
        /// What to do.
        remedy: String,
    },
    /// Files that are not what they should be.
    #[error("{files} cannot be used ({cause}): {remedy}")]
    Unfit {
        /// Which ones.
        files: String,
        /// Why; never their content.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl Settings {
    /// For an endpoint, everything else at its default.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            resource: None,
            target: None,
            access: Access::default(),
            files: None,
            reread: Duration::from_secs(30),
            insecure: false,
            timeout: Duration::from_secs(30),
            trust: Duration::from_secs(5),
            deploy_kernel: None,
            deploy_ramdisk: None,
            deploy_iso: None,
            external_url_v6: None,
            provisioning_limit: 20,
            orphan_grace: Duration::from_secs(60),
            provisioning_network_disabled: false,
            live_iso_boot_device: "Default".into(),
            direct_deploy_boot_device: "Default".into(),
        }
    }

    /// Reads the environment through `get`.
    ///
    /// # Errors
    /// Names the variable or file that is wrong.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        Self::from_env_with(AgentImages::Given, get)
    }

    /// The same, with a say in what must be given.
    ///
    /// # Errors
    /// Names the variable or file that is wrong.
    pub fn from_env_with(
        images: AgentImages,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let resource = resource(get)?;
        let endpoint = match (&resource, get("IRONIC_ENDPOINT")) {
            (Some(_), _) => String::new(),
            (None, Some(endpoint)) => checked_url(endpoint)?,
            (None, None) => {
                return Err(SettingsError::Missing {
                    name: "IRONIC_ENDPOINT",
                    remedy: "give Ironic's URL, for example https://ironic.example.com:6385/v1, or the name of an Ironic \
                             resource in IRONIC_NAME",
                });
            }
        };
        let mut settings = Self {
            resource,
            deploy_kernel: get("DEPLOY_KERNEL_URL"),
            deploy_ramdisk: get("DEPLOY_RAMDISK_URL"),
            deploy_iso: get("DEPLOY_ISO_URL"),
            external_url_v6: get("IRONIC_EXTERNAL_URL_V6"),
            insecure: truthy(get("IRONIC_INSECURE").as_deref()),
            provisioning_network_disabled: truthy(get("PROVISIONING_NETWORK_DISABLED").as_deref()),
            ..Self::new(endpoint)
        };
        settings.check_images(images)?;
        if let Some(limit) = get("PROVISIONING_LIMIT") {
            settings.provisioning_limit = limit.parse().map_err(|_| SettingsError::Invalid {
                name: "PROVISIONING_LIMIT",
                value: limit,
                remedy: "give a number of hosts",
            })?;
        }
        if let Some(text) = get("IRONIC_CLIENT_TIMEOUT") {
            let timeout = duration(&text).filter(|timeout| !timeout.is_zero());
            settings.timeout = timeout.ok_or(SettingsError::Invalid {
                name: "IRONIC_CLIENT_TIMEOUT",
                value: text,
                remedy: "give a time longer than 0, with its unit, for example 30s or 1m30s",
            })?;
        }
        if let Some(text) = get("IRONIC_CLIENT_CACHE_TTL") {
            settings.trust = duration(&text).ok_or(SettingsError::Invalid {
                name: "IRONIC_CLIENT_CACHE_TTL",
                value: text,
                remedy: "give a time with its unit, for example 5s, or 0 to ask before every change",
            })?;
        }
        for (name, field) in [
            (
                "LIVE_ISO_FORCE_PERSISTENT_BOOT_DEVICE",
                &mut settings.live_iso_boot_device,
            ),
            (
                "DIRECT_DEPLOY_FORCE_PERSISTENT_BOOT_DEVICE",
                &mut settings.direct_deploy_boot_device,
            ),
        ] {
            match get(name) {
                None => {}
                Some(value) if ["Default", "Always", "Never"].contains(&value.as_str()) => *field = value,
                Some(value) => {
                    return Err(SettingsError::Invalid {
                        name,
                        value,
                        remedy: "use Default, Always or Never",
                    });
                }
            }
        }
        // IRONIC_SKIP_CLIENT_SAN_VERIFY changes nothing, as upstream: only servers look at the names in our certificate.
        let files = Files::from_env(get);
        settings.access = match &settings.resource {
            None => files.read()?,
            // It tells the rest.
            Some(_) => Access {
                identity: files.identity()?,
                ..Access::default()
            },
        };
        settings.files = Some(files);
        Ok(settings)
    }

    fn check_images(&self, images: AgentImages) -> Result<(), SettingsError> {
        let (name, value) = match (&self.deploy_kernel, &self.deploy_ramdisk) {
            (None, Some(ramdisk)) => ("DEPLOY_RAMDISK_URL", ramdisk),
            (Some(kernel), None) if images == AgentImages::Given => ("DEPLOY_KERNEL_URL", kernel),
            (Some(_), None | Some(_)) | (None, None) => return Ok(()),
        };
        Err(SettingsError::Invalid {
            name,
            value: value.clone(),
            remedy: "set DEPLOY_KERNEL_URL and DEPLOY_RAMDISK_URL both, or none of them",
        })
    }
}

/// The object that tells where Ironic is, if one was named.
fn resource(get: impl Fn(&str) -> Option<String>) -> Result<Option<Resource>, SettingsError> {
    let Some(name) = get("IRONIC_NAME") else {
        return Ok(None);
    };
    // A list of namespaces to watch names none.
    let watched = get("WATCH_NAMESPACE").filter(|namespaces| !namespaces.contains(','));
    let namespace = get("IRONIC_NAMESPACE")
        .or_else(|| get("POD_NAMESPACE"))
        .or(watched);
    namespace
        .map(|namespace| Some(Resource { namespace, name }))
        .ok_or(SettingsError::Missing {
            name: "IRONIC_NAMESPACE",
            remedy: "give the namespace of the Ironic resource that IRONIC_NAME names",
        })
}

fn checked_url(endpoint: String) -> Result<String, SettingsError> {
    let fits = reqwest::Url::parse(&endpoint)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if fits {
        return Ok(endpoint);
    }
    Err(SettingsError::Invalid {
        name: "IRONIC_ENDPOINT",
        // There may be a login in it.
        value: endpoint.rsplit('@').next().unwrap_or_default().to_owned(),
        remedy: "give a URL, for example https://ironic.example.com:6385/v1",
    })
}

/// A Go duration that is not negative: `1h30m`, `1.5s`, `250ms`, `0`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let duration: SignedDuration = text.parse().ok()?;
    duration.try_into().ok()
}

fn truthy(value: Option<&str>) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
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
}
