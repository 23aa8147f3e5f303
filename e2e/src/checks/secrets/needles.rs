//! What must not be seen: the secret parts of Secrets, in plain and as base64.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

/// Keys whose values everybody may know.
const PUBLIC: [&str; 6] = ["ca.crt", "tls.crt", "username", "format", "namespace", "release"];
/// A word that is shorter than this is in every text.
const SHORTEST: usize = 6;
/// Lines of a private key that are shorter than this are its end only.
const KEY_LINE: usize = 32;

/// Passwords of test beds that are words of every log: they are looked for where a password would stand.
const WORDS: [&str; 3] = ["secret", "password", "metal3"];

/// A value that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Needle {
    /// Namespace and name of the Secret.
    pub(super) secret: String,
    pub(super) key: String,
    /// In plain, as base64, and as the header of basic authentication.
    forms: Vec<String>,
}

impl Needle {
    fn new(secret: &Secret, key: &str, value: &str) -> Self {
        let mut forms = vec![base64(value.as_bytes())];
        if WORDS.contains(&value) {
            forms.extend(
                ["password: ", "password=", "password\":\"", "password\\\":\\\""]
                    .map(|before| format!("{before}{value}")),
            );
            forms.push(format!(":{value}@"));
        } else {
            forms.push(value.to_owned());
        }
        let user = secret.data.as_ref().and_then(|data| data.get("username"));
        if let Some(ByteString(user)) = user.filter(|_| key == "password") {
            forms.push(base64(&[user, b":".as_slice(), value.as_bytes()].concat()));
        }
        Self {
            secret: format!("{}/{}", secret.namespace().unwrap_or_default(), secret.name_any()),
            key: key.to_owned(),
            forms,
        }
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form))
    }

    /// The words before it, so that it is found without being shown.
    pub(super) fn near(&self, text: &str) -> String {
        let at = self.forms.iter().find_map(|form| text.find(form));
        let before = text.get(..at.unwrap_or_default()).unwrap_or_default();
        let words: Vec<&str> = before.split_whitespace().rev().take(4).collect();
        words.into_iter().rev().collect::<Vec<_>>().join(" ")
    }
}

/// The secret values of a Secret.
pub(super) fn of(secret: &Secret) -> Vec<Needle> {
    values(secret)
        .into_iter()
        .map(|(key, value)| Needle::new(secret, key, value))
        .collect()
}

fn values(secret: &Secret) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (key, ByteString(bytes)) in secret.data.iter().flatten() {
        let Ok(text) = std::str::from_utf8(bytes) else {
            continue;
        };
        if PUBLIC.contains(&key.as_str()) {
            continue;
        }
        let mut values = if text.trim().contains('\n') {
            parts(text)
        } else {
            vec![text.trim()]
        };
        values.retain(|value| value.len() >= SHORTEST);
        found.extend(values.into_iter().map(|value| (key.as_str(), value)));
    }
    found
}

/// The secret parts of a file: lines of private keys, keys and tokens of kubeconfigs, tokens to join a cluster.
fn parts(text: &str) -> Vec<&str> {
    let (mut found, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        let line = line.trim();
        let mut words = line.split([' ', '"', '\'', '{', '}', ',']);
        if line.contains("PRIVATE KEY-----") {
            inside = line.contains("BEGIN");
        } else if inside && line.len() >= KEY_LINE {
            found.push(line);
        } else if words.any(|word| matches!(word, "client-key-data:" | "token:" | "password:")) {
            found.extend(words.filter(|word| !word.is_empty()));
        }
    }
    found
}

/// The beginning of a ServiceAccount token, which is a JSON Web Token.
pub(super) fn token_in(text: &str) -> Option<&str> {
    text.match_indices("eyJhbGciOi").find_map(|(at, _)| {
        let rest = text.get(at..)?;
        let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || "-_.".contains(letter)));
        let word = rest.get(..end.unwrap_or(rest.len()))?;
        (word.matches('.').count() == 2).then(|| word.get(..12)).flatten()
    })
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let (a, b, c) = (chunk.first(), chunk.get(1), chunk.get(2));
        let bits = [a, b, c].iter().fold(0_usize, |bits, byte| {
            bits << 8 | usize::from(byte.copied().unwrap_or_default())
        });
        for place in 0..4 {
            let letter = LETTERS
                .get(bits >> (18 - 6 * place) & 63)
                .copied()
                .unwrap_or_default();
            text.push(if place > chunk.len() {
                '='
            } else {
                char::from(letter)
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(pairs: &[(&str, &str)]) -> Secret {
        let data = pairs
            .iter()
            .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
        Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    fn values(key: &str, text: &str) -> Vec<String> {
        let secret = secret(&[(key, text)]);
        super::values(&secret)
            .into_iter()
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    #[test]
    fn what_is_secret_is_looked_for_and_nothing_else() {
        assert_eq!(values("password", "calvin\n"), ["calvin"]);
        assert!(values("username", "operator").is_empty());
        assert!(values("password", "root").is_empty());
        let line = "A".repeat(40);
        let file = format!(
            "x: 1\n  -----BEGIN EC PRIVATE KEY-----\n  {line}\n  AA==\n  -----END EC PRIVATE KEY-----\n{line}B\n"
        );
        assert_eq!(values("value", &file), [line]);
        let file = "kind: Config\n- user: {client-key-data: abcdefgh}\ntoken: \"abcdef.0123456789abcdef\"\n";
        assert_eq!(values("value", file), ["abcdefgh", "abcdef.0123456789abcdef"]);
    }

    #[test]
    fn it_is_found_in_plain_and_encoded_and_not_shown() {
        let secret = secret(&[("username", "root"), ("password", "calvin")]);
        let needle = of(&secret).pop().unwrap();
        assert!(needle.is_in("a calvin b") && needle.is_in("Y2Fsdmlu") && !needle.is_in("calvi n"));
        assert!(needle.is_in("Basic cm9vdDpjYWx2aW4="));
        assert_eq!(needle.near("user root, password calvin"), "user root, password");
        assert_eq!(
            ["", "a", "ab", "abc"].map(|text| base64(text.as_bytes())),
            ["", "YQ==", "YWI=", "YWJj"]
        );
    }

    #[test]
    fn a_common_word_is_looked_for_as_a_password_only() {
        let needle = of(&secret(&[("password", "secret")])).pop().unwrap();
        assert!(!needle.is_in("secret host-1-bmc not found"));
        for text in [
            r#"{"password":"secret"}"#,
            "https://admin:secret@ironic",
            "password=secret",
            "c2VjcmV0",
        ] {
            assert!(needle.is_in(text), "{text}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_look() {
        assert_eq!(
            token_in("x eyJhbGciOiJSUzI1NiJ9.eyJhdWQi.c2ln, y"),
            Some("eyJhbGciOiJS")
        );
        assert_eq!(token_in("x eyJhbGciOiJSUzI1NiJ9 y"), None);
    }
}
