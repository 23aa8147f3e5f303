//! What Secrets say: BMC credentials, and texts under a key of their own or the key `value`.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use metal3_provisioner::{Credentials, HostKey};
use secrecy::{ExposeSecret as _, SecretString};

/// The content of a BMC Secret, or what is wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct BmcCredentials {
    pub(crate) version: String,
    /// Earlier versions with the same content, the newest last.
    pub(crate) same: Vec<String>,
    pub(crate) credentials: Result<Credentials, String>,
}

/// Versions of a Secret that are remembered: hosts that share it have not all looked at it since each change.
pub(super) const REMEMBERED: usize = 16;

impl BmcCredentials {
    /// What is known once a version was read: who edits labels, as claims do, changes the version and nothing else.
    pub(super) fn after(
        known: Option<Self>,
        version: String,
        credentials: Result<Credentials, String>,
    ) -> Self {
        let mut same = match known {
            Some(mut known) if gives(&known.credentials, &credentials) => {
                if known.version != version {
                    known.same.push(known.version);
                }
                known.same
            }
            Some(_) | None => Vec::new(),
        };
        same.drain(..same.len().saturating_sub(REMEMBERED));
        Self {
            version,
            same,
            credentials,
        }
    }

    /// Whether a version is known to have this content.
    pub(super) fn covers(&self, version: &str) -> bool {
        self.version == version || self.same.iter().any(|same| same == version)
    }

    /// The version before which an earlier one is to be looked for.
    pub(super) fn oldest(&self) -> &str {
        self.same.first().unwrap_or(&self.version)
    }

    /// Takes an earlier version into account; false when it said something else.
    pub(super) fn recall(&mut self, version: String, credentials: &Result<Credentials, String>) -> bool {
        let same = gives(&self.credentials, credentials);
        if same {
            self.same.insert(0, version);
        }
        same
    }
}

fn gives(one: &Result<Credentials, String>, other: &Result<Credentials, String>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            one.username == other.username && one.password.expose_secret() == other.password.expose_secret()
        }
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// User name and password, without the spaces around them.
pub(super) fn credentials(key: &HostKey, secret: &Secret) -> Result<Credentials, String> {
    let field = |name: &str| {
        let data = secret.data.as_ref();
        data.and_then(|data| data.get(name))
            .and_then(|ByteString(bytes)| std::str::from_utf8(bytes).ok())
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("the BMC secret {key} has no {name}"))
    };
    Ok(Credentials {
        username: field("username")?.to_owned(),
        password: field("password")?.to_owned().into(),
    })
}

/// The text under the name of the field, else under `value`.
pub(super) fn text(
    key: &HostKey,
    secret: &Secret,
    field: &str,
    required: bool,
) -> Result<Option<SecretString>, String> {
    let data = secret.data.as_ref();
    let found = data.and_then(|data| data.get(field).or_else(|| data.get("value")));
    match found.map(|ByteString(bytes)| std::str::from_utf8(bytes)) {
        Some(Ok(text)) => Ok(Some(text.to_owned().into())),
        Some(Err(_)) => Err(format!("the {field} secret {key} is not text")),
        None if required => Err(format!(
            "the {field} secret {key} has neither key {field} nor value"
        )),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn login(password: &str) -> Result<Credentials, String> {
        Ok(Credentials {
            username: "admin".into(),
            password: password.into(),
        })
    }

    fn read(known: Option<BmcCredentials>, version: &str, password: &str) -> BmcCredentials {
        BmcCredentials::after(known, version.into(), login(password))
    }

    #[test]
    fn versions_with_the_same_content_are_known_as_such() {
        let first = read(None, "1", "a");
        let again = read(Some(first), "1", "a");
        assert!(again.same.is_empty());
        let labelled = read(Some(again), "2", "a");
        let labelled = read(Some(labelled), "3", "a");
        assert_eq!(labelled.same, ["1", "2"]);
        let changed = read(Some(labelled.clone()), "4", "b");
        assert!(changed.same.is_empty());
        let broken = BmcCredentials::after(Some(labelled), "4".into(), Err("no password".into()));
        assert!(broken.same.is_empty());
        assert!(read(Some(broken), "5", "a").same.is_empty());
        let mut many = read(None, "0", "a");
        for version in 1..40 {
            many = read(Some(many), &version.to_string(), "a");
        }
        assert_eq!(
            (many.same.len(), many.same.last().map(String::as_str)),
            (REMEMBERED, Some("38"))
        );
    }

    #[test]
    fn history_is_recalled_up_to_the_last_change_of_content() {
        let mut found = read(None, "9", "b");
        assert!(found.recall("7".into(), &login("b")));
        assert!(found.covers("7") && found.oldest() == "7");
        assert!(!found.recall("5".into(), &login("a")));
        assert!(!found.covers("5"));
        assert_eq!(found.same, ["7"]);
    }

    #[test]
    fn texts_come_from_their_own_key_first() {
        let key = HostKey::new("ns", "s");
        let secret = |data: serde_json::Value| {
            let data: std::collections::BTreeMap<String, ByteString> = data
                .as_object()
                .unwrap()
                .iter()
                .map(|(key, value)| (key.clone(), ByteString(value.as_str().unwrap().into())))
                .collect();
            Secret {
                data: Some(data),
                ..Secret::default()
            }
        };
        let read = |data, required| {
            text(&key, &secret(data), "userData", required)
                .map(|text| text.map(|text| text.expose_secret().to_owned()))
        };
        assert_eq!(
            read(json!({"userData": "a", "value": "b"}), true),
            Ok(Some("a".into()))
        );
        assert_eq!(read(json!({"value": "b"}), true), Ok(Some("b".into())));
        assert_eq!(read(json!({"other": "c"}), false), Ok(None));
        let missing = read(json!({"other": "c"}), true).unwrap_err();
        assert!(
            missing.contains("ns/s") && missing.contains("userData"),
            "{missing}"
        );
        let login = credentials(&key, &secret(json!({"username": " admin\n", "password": "p "}))).unwrap();
        assert_eq!(
            (login.username.as_str(), login.password.expose_secret()),
            ("admin", "p")
        );
        let blank = credentials(&key, &secret(json!({"username": "admin", "password": " "}))).unwrap_err();
        assert_eq!(blank, "the BMC secret ns/s has no password");
    }
}
