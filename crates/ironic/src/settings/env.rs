//! Reads upstream's environment variables.

use std::time::Duration;

use jiff::SignedDuration;

use super::{AgentImages, Resource, Settings, SettingsError};
use crate::access::{Access, Files};

impl Settings {
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
        if let Some(text) = get("IRONIC_ORPHAN_GRACE") {
            settings.orphan_grace = duration(&text).ok_or(SettingsError::Invalid {
                name: "IRONIC_ORPHAN_GRACE",
                value: text,
                remedy: "give a time with its unit, for example 60s or 10m",
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
