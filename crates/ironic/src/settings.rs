//! Configuration by upstream's environment variables and files.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::access::{Access, Files};

/// How to reach Ironic and what to tell it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base URL, normally ending in `/v1`.
    pub endpoint: String,
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
    /// `DEPLOY_KERNEL_URL`.
    pub deploy_kernel: Option<String>,
    /// `DEPLOY_RAMDISK_URL`.
    pub deploy_ramdisk: Option<String>,
    /// `DEPLOY_ISO_URL`.
    pub deploy_iso: Option<String>,
    /// Hosts with network boot that may be busy at once.
    pub provisioning_limit: u32,
    /// Drivers that need a provisioning network are refused.
    pub provisioning_network_disabled: bool,
    /// `LIVE_ISO_FORCE_PERSISTENT_BOOT_DEVICE`.
    pub live_iso_boot_device: String,
    /// `DIRECT_DEPLOY_FORCE_PERSISTENT_BOOT_DEVICE`.
    pub direct_deploy_boot_device: String,
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
            access: Access::default(),
            files: None,
            reread: Duration::from_secs(30),
            insecure: false,
            timeout: Duration::from_secs(30),
            deploy_kernel: None,
            deploy_ramdisk: None,
            deploy_iso: None,
            provisioning_limit: 20,
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
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let endpoint = get("IRONIC_ENDPOINT").ok_or(SettingsError::Missing {
            name: "IRONIC_ENDPOINT",
            remedy: "give Ironic's URL, for example https://ironic.example.com:6385/v1",
        })?;
        let mut settings = Self {
            deploy_kernel: get("DEPLOY_KERNEL_URL"),
            deploy_ramdisk: get("DEPLOY_RAMDISK_URL"),
            deploy_iso: get("DEPLOY_ISO_URL"),
            insecure: truthy(get("IRONIC_INSECURE").as_deref()),
            provisioning_network_disabled: truthy(get("PROVISIONING_NETWORK_DISABLED").as_deref()),
            ..Self::new(endpoint)
        };
        match (&settings.deploy_kernel, &settings.deploy_ramdisk) {
            (Some(_), None) | (None, Some(_)) => {
                return Err(SettingsError::Invalid {
                    name: "DEPLOY_KERNEL_URL",
                    value: settings.deploy_kernel.unwrap_or_default(),
                    remedy: "set DEPLOY_KERNEL_URL and DEPLOY_RAMDISK_URL both, or none of them",
                });
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let Some(limit) = get("PROVISIONING_LIMIT") {
            settings.provisioning_limit = limit.parse().map_err(|_| SettingsError::Invalid {
                name: "PROVISIONING_LIMIT",
                value: limit,
                remedy: "give a number of hosts",
            })?;
        }
        if let Some(timeout) = get("IRONIC_CLIENT_TIMEOUT") {
            let seconds = timeout
                .trim_end_matches('s')
                .parse::<u64>()
                .ok()
                .filter(|seconds| *seconds > 0);
            settings.timeout = Duration::from_secs(seconds.ok_or(SettingsError::Invalid {
                name: "IRONIC_CLIENT_TIMEOUT",
                value: timeout,
                remedy: "give seconds, for example 30s",
            })?);
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
        settings.access = files.read()?;
        settings.files = Some(files);
        Ok(settings)
    }
}

fn truthy(value: Option<&str>) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_env(|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_bad_variable_is_named() {
        for (pairs, word) in [
            (&[][..], "IRONIC_ENDPOINT"),
            (
                &[("IRONIC_ENDPOINT", "http://i"), ("PROVISIONING_LIMIT", "x")],
                "PROVISIONING_LIMIT",
            ),
            (
                &[("IRONIC_ENDPOINT", "http://i"), ("DEPLOY_KERNEL_URL", "k")],
                "DEPLOY_RAMDISK_URL",
            ),
            (
                &[("IRONIC_ENDPOINT", "http://i"), ("IRONIC_CLIENT_TIMEOUT", "0s")],
                "IRONIC_CLIENT_TIMEOUT",
            ),
        ] {
            let error = parse(pairs).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn defaults_are_upstreams() {
        let settings = parse(&[("IRONIC_ENDPOINT", "http://i/v1")]).unwrap();
        assert_eq!(
            (settings.provisioning_limit, settings.timeout.as_secs()),
            (20, 30)
        );
        assert!(settings.access.login.is_none());
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
}
