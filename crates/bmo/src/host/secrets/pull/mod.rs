//! The login to the registry of an OCI image, from a Secret as `kubectl create secret docker-registry` makes it. Pure.
//!
//! Credential helpers that such a file may name are programs of the user's machine: they are never run here.

mod registry;

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use metal3_host_core::PullSecretProblem;
use metal3_provisioner::HostKey;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

pub(super) use registry::is_oci;

/// Why a pull secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// What kind of problem it is.
    pub(crate) problem: PullSecretProblem,
    /// For people; never a part of the content.
    pub(crate) message: String,
}

impl Unusable {
    pub(super) fn missing(key: &HostKey) -> Self {
        Self {
            problem: PullSecretProblem::Missing,
            message: format!("the image pull secret {key} does not exist"),
        }
    }
}

/// `user:password` for the registry of this image.
pub(super) fn login(key: &HostKey, secret: &Secret, url: &str) -> Result<SecretString, Unusable> {
    let broken = |what: &str| Unusable {
        problem: PullSecretProblem::Content,
        message: format!("the image pull secret {key} {what}"),
    };
    let type_ = secret.type_.as_deref().unwrap_or_default();
    let (entry, wrapped) = match type_ {
        "kubernetes.io/dockerconfigjson" => (".dockerconfigjson", true),
        "kubernetes.io/dockercfg" => (".dockercfg", false),
        other => {
            return Err(Unusable {
                problem: PullSecretProblem::Format,
                message: format!(
                    "the image pull secret {key} is of type {other:?}; kubernetes.io/dockerconfigjson and \
                     kubernetes.io/dockercfg are known"
                ),
            });
        }
    };
    let ByteString(text) = secret
        .data
        .as_ref()
        .and_then(|data| data.get(entry))
        .ok_or_else(|| broken(&format!("has no key {entry}")))?;
    let unreadable = |_| broken(&format!("holds no JSON of that type under {entry}"));
    let logins = if wrapped {
        serde_json::from_slice::<DockerConfig>(text)
            .map_err(unreadable)?
            .auths
    } else {
        serde_json::from_slice(text).map_err(unreadable)?
    };
    let registry =
        registry::of(url).ok_or_else(|| broken(&format!("is for {url:?}, which names no registry")))?;
    let login = registry::find(&logins, &registry)
        .ok_or_else(|| broken(&format!("has no login for the registry {registry}")))?;
    // Read alone: an entry of another registry may be as odd as it likes.
    serde_json::from_value::<Login>(login.clone())
        .ok()
        .and_then(Login::text)
        .ok_or_else(|| {
            broken(&format!(
                "has no user name and password for the registry {registry}; credential helpers are not run"
            ))
        })
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct Login {
    username: Option<String>,
    password: Option<String>,
    /// Base64 of `user:password`.
    auth: Option<ByteString>,
    identitytoken: Option<String>,
}

impl Login {
    fn text(self) -> Option<SecretString> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = given(self.identitytoken) {
            return Some(format!(":{token}").into());
        }
        if let (Some(user), Some(password)) = (given(self.username), given(self.password)) {
            return Some(format!("{user}:{password}").into());
        }
        let ByteString(bytes) = self.auth?;
        // Some tools end it with a zero byte.
        let text = String::from_utf8(bytes).ok()?.trim_end_matches('\0').to_owned();
        let (user, password) = text.split_once(':')?;
        (!user.is_empty() && !password.is_empty()).then(|| text.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;

    const CONFIG: &str = "kubernetes.io/dockerconfigjson";
    const OLD: &str = "kubernetes.io/dockercfg";

    fn secret(type_: &str, key: &str, content: &str) -> Secret {
        Secret {
            type_: Some(type_.into()),
            data: Some([(key.to_owned(), ByteString(content.into()))].into()),
            ..Secret::default()
        }
    }

    fn config(auths: &Value) -> Secret {
        secret(CONFIG, ".dockerconfigjson", &json!({"auths": auths}).to_string())
    }

    fn read(secret: &Secret, url: &str) -> Result<String, Unusable> {
        login(&HostKey::new("ns", "pull"), secret, url).map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn all_forms_of_a_login_are_read() {
        for (entry, text) in [
            (json!({"username": "u", "password": "p"}), "u:p"),
            (json!({"auth": "dTpwOnE="}), "u:p:q"),
            (json!({"auth": "dTpwAA=="}), "u:p"),
            (
                json!({"identitytoken": "t", "username": "u", "password": "p"}),
                ":t",
            ),
            (
                json!({"username": "u", "password": "p", "auth": "dTpwOnE="}),
                "u:p",
            ),
        ] {
            let auths = json!({"registry.test": entry, "other.test": {"auth": "no base64!"}});
            assert_eq!(
                read(&config(&auths), "oci://registry.test/img:1"),
                Ok(text.into()),
                "{entry}"
            );
        }
        let old = json!({"registry.test:5000": {"auth": "dTpw"}}).to_string();
        let old = secret(OLD, ".dockercfg", &old);
        assert_eq!(
            read(&old, "OCI://registry.test:5000/a/b@sha256:00"),
            Ok("u:p".into())
        );
    }

    #[test]
    fn helpers_are_not_run() {
        let helpers = json!({
            "credsStore": "evil", "credHelpers": {"registry.test": "evil"}, "auths": {"registry.test": {}},
        });
        let secret = secret(CONFIG, ".dockerconfigjson", &helpers.to_string());
        let problem = read(&secret, "oci://registry.test/img").unwrap_err();
        assert_eq!(problem.problem, PullSecretProblem::Content);
        assert!(problem.message.contains("helpers are not run"), "{problem:?}");
    }

    #[test]
    fn what_is_wrong_is_named_without_the_content() {
        let parse = PullSecretProblem::Content;
        let cases = [
            (
                secret("Opaque", "x", "hunter2"),
                PullSecretProblem::Format,
                "Opaque",
            ),
            (secret(CONFIG, "other", "hunter2"), parse, ".dockerconfigjson"),
            (secret(CONFIG, ".dockerconfigjson", "hunter2"), parse, "no JSON"),
            (secret(OLD, ".dockercfg", r#"["hunter2"]"#), parse, "no JSON"),
            (
                config(&json!({"other.test": {"auth": "dTpw"}})),
                parse,
                "registry.test",
            ),
            (
                config(&json!({"registry.test": {"auth": "hunter2"}})),
                parse,
                "registry.test",
            ),
            (
                config(&json!({"registry.test": {"username": "hunter2"}})),
                parse,
                "registry.test",
            ),
        ];
        for (secret, kind, part) in cases {
            let problem = read(&secret, "oci://registry.test/img").unwrap_err();
            assert_eq!(problem.problem, kind, "{problem:?}");
            assert!(problem.message.contains("ns/pull"), "{problem:?}");
            assert!(problem.message.contains(part), "{part}: {problem:?}");
            assert!(!problem.message.contains("hunter2"), "{problem:?}");
        }
    }
}
