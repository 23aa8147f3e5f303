//! What ServiceAccounts asked of the API server.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::ControlPlane;

/// One request, answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// For example `update`.
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// Who asked.
    pub user: User,
    /// What it was about.
    #[serde(default)]
    pub object_ref: Option<Object>,
    /// How it went.
    #[serde(default)]
    pub response_status: Option<Status>,
    /// The program that asked.
    #[serde(default)]
    pub user_agent: String,
}

/// Who asked.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// For example `system:serviceaccount:ns:name`.
    pub username: String,
}

/// What a request was about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Object {
    /// API group.
    pub api_group: String,
    /// Plural.
    pub resource: String,
    /// For example `status`.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// How it went.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// HTTP status.
    pub code: u16,
}

impl Request {
    /// HTTP status of the answer; 0 when there was none.
    pub fn code(&self) -> u16 {
        self.response_status.as_ref().map_or(0, |status| status.code)
    }
}

/// The requests of a user in an audit log.
///
/// # Errors
/// When the log cannot be read.
pub fn requests(log: &Path, user: &str) -> Result<Vec<Request>> {
    let text = std::fs::read_to_string(log)
        .with_context(|| format!("cannot read the audit log {}", log.display()))?;
    text.lines()
        // The last line may be half written.
        .filter(|line| line.ends_with('}') && line.contains(user))
        .map(|line| serde_json::from_str::<Request>(line).with_context(|| format!("odd audit line {line}")))
        .filter(|request| {
            request
                .as_ref()
                .map_or(true, |request| request.user.username == user)
        })
        .collect()
}

impl ControlPlane {
    /// The requests of a user so far, see [`crate::Account::user`].
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn requests_of(&self, user: &str) -> Result<Vec<Request>> {
        requests(&self.dir.join("audit.log"), user)
    }

    /// What RBAC refused to a user; a service that runs under its role is refused nothing.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn denied_to(&self, user: &str) -> Result<Vec<String>> {
        let requests = self.requests_of(user)?;
        let denied = requests.into_iter().filter(|request| request.code() == 403);
        Ok(denied
            .map(|request| format!("{} {}", request.verb, request.uri))
            .collect())
    }
}
