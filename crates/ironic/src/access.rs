//! What Ironic is shown and what it is known by. It comes from files, which may be renewed while we run.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fs, str};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use crate::SettingsError;

/// Login, certificates and key.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// User name and password for `http_basic`.
    pub login: Option<(String, SecretString)>,
    /// PEM of the CAs to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// PEM of our certificate and its key, for an Ironic that asks for one.
    pub identity: Option<SecretString>,
}

impl Access {
    /// What is not the same.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        fn shown(login: Option<&(String, SecretString)>) -> Option<(&str, &str)> {
            login.map(|(user, password)| (user.as_str(), password.expose_secret()))
        }
        fn exposed(identity: Option<&SecretString>) -> Option<&str> {
            identity.map(SecretString::expose_secret)
        }
        [
            ("login", shown(self.login.as_ref()) != shown(other.login.as_ref())),
            ("CA", self.ca != other.ca),
            (
                "client certificate",
                exposed(self.identity.as_ref()) != exposed(other.identity.as_ref()),
            ),
        ]
        .into_iter()
        .filter_map(|(what, differs)| differs.then_some(what))
        .collect()
    }
}

/// Where it comes from.
#[derive(Clone, Debug)]
pub struct Files {
    /// Folder with `username` and `password`.
    login: PathBuf,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    pub(crate) fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        let path = |name: &str, default: &str| PathBuf::from(get(name).unwrap_or_else(|| default.to_owned()));
        Self {
            login: path("METAL3_AUTH_ROOT_DIR", "/opt/metal3/auth").join("ironic"),
            ca: path("IRONIC_CACERT_FILE", "/opt/metal3/certs/ca/tls.crt"),
            certificate: path("IRONIC_CLIENT_CERT_FILE", "/opt/metal3/certs/client/tls.crt"),
            key: path(
                "IRONIC_CLIENT_PRIVATE_KEY_FILE",
                "/opt/metal3/certs/client/tls.key",
            ),
        }
    }

    /// What they hold. What is not there is not used.
    ///
    /// # Errors
    /// When a file cannot be read, is not what it should be, or one of two that belong together is missing.
    pub(crate) fn read(&self) -> Result<Access, SettingsError> {
        Ok(Access {
            login: self.login()?,
            ca: self.ca()?,
            identity: self.identity()?,
        })
    }

    /// As [`Self::read`], in place of what was read before.
    ///
    /// # Errors
    /// Also when the CA is gone: without it, many more certificates would be trusted.
    pub(crate) fn read_again(&self, before: &Access) -> Result<Access, SettingsError> {
        let access = self.read()?;
        if before.ca.is_some() && access.ca.is_none() {
            return Err(SettingsError::Lacking {
                path: self.ca.clone(),
                problem: "gone",
                remedy: "put it back, or restart to trust the system's CAs".to_owned(),
            });
        }
        Ok(access)
    }

    fn login(&self) -> Result<Option<(String, SecretString)>, SettingsError> {
        let read = |name: &str| {
            let path = self.login.join(name);
            let text = optional(&path)?.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
            Ok((path, text))
        };
        let (user_file, user) = read("username")?;
        let (password_file, password) = read("password")?;
        let given = |text: Option<&String>| text.is_some_and(|text| !text.is_empty());
        let (path, text) = match (given(user.as_ref()), given(password.as_ref())) {
            (true, true) => return Ok(user.zip(password.map(SecretString::from))),
            // A Secret that nobody filled, such as clusterctl's default.
            (false, false) => return Ok(None),
            (true, false) => (password_file, password),
            (false, true) => (user_file, user),
        };
        Err(SettingsError::Lacking {
            path,
            problem: text.map_or("missing", |_| "empty"),
            remedy: format!(
                "give both username and password of Ironic in {}, or none of them for an Ironic without \
                 authentication",
                self.login.display()
            ),
        })
    }

    fn ca(&self) -> Result<Option<Vec<u8>>, SettingsError> {
        let Some(pem) = optional(&self.ca)? else {
            return Ok(None);
        };
        let unfit = |cause: String| SettingsError::Unfit {
            files: self.ca.display().to_string(),
            cause,
            remedy: "put the CA of Ironic's certificate there, as PEM (IRONIC_CACERT_FILE)",
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&pem).map_err(unfit)? {
            roots.add(certificate).map_err(|error| unfit(error.to_string()))?;
        }
        Ok(Some(pem))
    }

    pub(crate) fn identity(&self) -> Result<Option<SecretString>, SettingsError> {
        let key = optional(&self.key)?.map(SecretSlice::from);
        let (lacking, present) = match (optional(&self.certificate)?, key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => {
                let (files, cause) = match identity(&certificate, key.expose_secret()) {
                    Ok(pem) => return Ok(Some(pem)),
                    Err(Misfit::Certificate(cause)) => (self.certificate.display().to_string(), cause),
                    Err(Misfit::Key(cause)) => (self.key.display().to_string(), cause.to_owned()),
                    Err(Misfit::Both(cause)) => (
                        format!("{} and {}", self.certificate.display(), self.key.display()),
                        cause,
                    ),
                };
                return Err(SettingsError::Unfit {
                    files,
                    cause,
                    remedy: "put a certificate and its key there, as PEM (IRONIC_CLIENT_CERT_FILE and \
                             IRONIC_CLIENT_PRIVATE_KEY_FILE)",
                });
            }
            (Some(_), None) => (&self.key, &self.certificate),
            (None, Some(_)) => (&self.certificate, &self.key),
        };
        Err(SettingsError::Lacking {
            path: lacking.clone(),
            problem: "missing",
            remedy: format!(
                "it belongs to {}; give both IRONIC_CLIENT_CERT_FILE and IRONIC_CLIENT_PRIVATE_KEY_FILE, or none of \
                 them",
                present.display()
            ),
        })
    }
}

/// Which file is to blame. Nothing of the key's content gets here.
enum Misfit {
    Certificate(String),
    Key(&'static str),
    Both(String),
}

/// Certificate and key in one, if they fit together.
fn identity(certificate: &[u8], key: &[u8]) -> Result<SecretString, Misfit> {
    let chain = certificates(certificate).map_err(Misfit::Certificate)?;
    let private = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| Misfit::Key("there is no private key without a passphrase in it"))?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider())
        .map_err(|error| Misfit::Both(error.to_string()))?;
    let text = str::from_utf8(certificate).map_err(|error| Misfit::Certificate(error.to_string()))?;
    let key = str::from_utf8(key).map_err(|_| Misfit::Key("it is not text"))?;
    Ok(format!("{text}\n{key}").into())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(found)
}

/// The content, if there is such a file.
fn optional(path: &Path) -> Result<Option<Vec<u8>>, SettingsError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SettingsError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use metal3_testkit::certs::{Authority, Pair};
    use metal3_testkit::scratch;

    use super::*;
    use crate::Settings;

    /// Settings of an operator with these files.
    fn read(files: &[(&str, &str)]) -> (PathBuf, Result<Settings, SettingsError>) {
        let folder = scratch::dir("access").unwrap();
        fs::create_dir(folder.join("ironic")).unwrap();
        for (name, content) in files {
            scratch::file(&folder, name, content).unwrap();
        }
        let settings = Settings::from_env(|name| {
            let file = match name {
                "IRONIC_ENDPOINT" => return Some("https://ironic/v1".to_owned()),
                "IRONIC_SKIP_CLIENT_SAN_VERIFY" => return Some("True".to_owned()),
                "METAL3_AUTH_ROOT_DIR" => "",
                "IRONIC_CACERT_FILE" => "ca.crt",
                "IRONIC_CLIENT_CERT_FILE" => "tls.crt",
                "IRONIC_CLIENT_PRIVATE_KEY_FILE" => "tls.key",
                _ => return None,
            };
            Some(folder.join(file).display().to_string())
        });
        (folder, settings)
    }

    fn user() -> Pair {
        Authority::new("ca").unwrap().user("bmo", "metal3").unwrap()
    }

    #[test]
    fn a_login_is_both_or_nothing() {
        let (name, word) = ("ironic/username", "ironic/password");
        for (files, expected) in [
            (&[][..], Ok(None)),
            (&[(name, ""), (word, "")], Ok(None)),
            (&[(name, "\n")], Ok(None)),
            (&[(name, "me\n"), (word, " pw ")], Ok(Some(("me", "pw")))),
            (&[(name, "me")], Err("ironic/password is missing")),
            (&[(name, "me"), (word, "")], Err("ironic/password is empty")),
            (&[(word, "pw")], Err("ironic/username is missing")),
            (&[(name, "\n"), (word, "pw")], Err("ironic/username is empty")),
        ] {
            match (read(files).1, expected) {
                (Ok(settings), Ok(expected)) => {
                    let login = settings.access.login.as_ref();
                    let login = login.map(|(user, password)| (user.as_str(), password.expose_secret()));
                    assert_eq!(login, expected, "{files:?}");
                }
                (Err(error), Err(expected)) => {
                    let error = error.to_string();
                    assert!(error.contains(expected), "{files:?}: {error}");
                    assert!(error.contains("both username and password"), "{error}");
                }
                (seen, expected) => panic!("{files:?}: {seen:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn certificates_that_cannot_be_used_are_named_and_keys_are_not_shown() {
        let (mine, other) = (user(), user());
        let (certificate, key) = (mine.certificate.as_str(), mine.key.as_str());
        let both = "IRONIC_CLIENT_CERT_FILE and IRONIC_CLIENT_PRIVATE_KEY_FILE";
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (files, words) in [
            (&[("tls.crt", certificate)][..], ["tls.key is missing", both]),
            (&[("tls.key", key)], ["tls.crt is missing", both]),
            (
                &[("tls.crt", "x"), ("tls.key", key)],
                ["tls.crt cannot be used (there is no", both],
            ),
            (
                &[("tls.crt", broken), ("tls.key", key)],
                ["tls.crt cannot be used", both],
            ),
            (
                &[("tls.crt", no_der), ("tls.key", key)],
                ["tls.key cannot be used", both],
            ),
            (
                &[("tls.crt", certificate), ("tls.key", "x")],
                ["tls.key cannot be used (there is no", both],
            ),
            (
                &[("tls.crt", certificate), ("tls.key", certificate)],
                ["tls.key cannot be used", both],
            ),
            (
                &[("tls.crt", certificate), ("tls.key", &other.key)],
                ["tls.key cannot be used", "tls.crt and"],
            ),
            (
                &[("ca.crt", "x")],
                ["ca.crt cannot be used (there is no", "IRONIC_CACERT_FILE"],
            ),
            (
                &[("ca.crt", "")],
                ["ca.crt cannot be used (there is no", "IRONIC_CACERT_FILE"],
            ),
            (
                &[("ca.crt", no_der)],
                ["ca.crt cannot be used", "IRONIC_CACERT_FILE"],
            ),
        ] {
            let (_, settings) = read(files);
            let error = settings.unwrap_err();
            for word in words {
                assert!(error.to_string().contains(word), "{error}");
            }
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains("BEGIN"), "{text}");
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        for name in ["ca.crt", "tls.crt", "tls.key", "ironic/password"] {
            let (folder, _) = read(&[]);
            fs::create_dir(folder.join(name)).unwrap();
            let files = Files {
                login: folder.join("ironic"),
                ca: folder.join("ca.crt"),
                certificate: folder.join("tls.crt"),
                key: folder.join("tls.key"),
            };
            let error = files.read().unwrap_err().to_string();
            assert!(error.contains("cannot read") && error.contains(name), "{error}");
        }
    }

    #[test]
    fn what_fits_together_is_used_and_secrets_are_not_shown() {
        let user = user();
        let (folder, settings) = read(&[
            ("ca.crt", &user.certificate),
            ("tls.crt", &user.certificate),
            ("tls.key", &user.key),
            ("ironic/username", "me"),
            ("ironic/password", "hidden"),
        ]);
        let settings = settings.unwrap();
        assert!(
            !settings.insecure,
            "the names in our certificate are not Ironic's"
        );
        assert!(settings.access.ca.is_some() && settings.access.identity.is_some());
        let shown = format!("{settings:?}");
        assert!(!shown.contains("PRIVATE") && !shown.contains("hidden"), "{shown}");

        let files = settings.files.unwrap();
        let same = files.read_again(&settings.access).unwrap();
        assert!(same.differences(&settings.access).is_empty());
        scratch::file(&folder, "ironic/password", "other").unwrap();
        let changed = files.read_again(&settings.access).unwrap();
        assert_eq!(changed.differences(&settings.access), ["login"]);
        scratch::file(&folder, "ca.crt", self::user().certificate).unwrap();
        let changed = files.read_again(&settings.access).unwrap();
        assert_eq!(changed.differences(&settings.access), ["login", "CA"]);
        fs::remove_file(folder.join("tls.crt")).unwrap();
        fs::remove_file(folder.join("tls.key")).unwrap();
        let changed = files.read_again(&settings.access).unwrap();
        assert_eq!(
            changed.differences(&settings.access),
            ["login", "CA", "client certificate"]
        );
        fs::remove_file(folder.join("ca.crt")).unwrap();
        let error = files.read_again(&settings.access).unwrap_err().to_string();
        assert!(error.contains("ca.crt is gone"), "{error}");
    }
}
