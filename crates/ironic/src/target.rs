//! Where Ironic is, when somebody else tells and may tell otherwise later.

use secrecy::{ExposeSecret as _, SecretString};

/// What is told of Ironic's whereabouts, for example by its custom resource.
#[derive(Clone, Debug)]
pub enum Target {
    /// It is there.
    At {
        /// Base URL, with or without `/v1`.
        endpoint: String,
        /// User name and password for `http_basic`.
        login: Option<(String, SecretString)>,
        /// PEM of what to trust instead of the system's CAs; Ironic's own certificate is enough.
        ca: Option<Vec<u8>>,
    },
    /// It cannot be used yet; why, and what to do.
    NotReady(String),
}

impl Target {
    /// Both tell the same.
    pub fn same(&self, other: &Self) -> bool {
        fn shown(login: Option<&(String, SecretString)>) -> Option<(&str, &str)> {
            login.map(|(user, password)| (user.as_str(), password.expose_secret()))
        }
        match (self, other) {
            (
                Self::At { endpoint, login, ca },
                Self::At {
                    endpoint: other_endpoint,
                    login: other_login,
                    ca: other_ca,
                },
            ) => {
                endpoint == other_endpoint
                    && ca == other_ca
                    && shown(login.as_ref()) == shown(other_login.as_ref())
            }
            (Self::NotReady(why), Self::NotReady(other)) => why == other,
            (Self::At { .. }, Self::NotReady(_)) | (Self::NotReady(_), Self::At { .. }) => false,
        }
    }
}
