//! What failed requests mean.

use std::error::Error as StdError;
use std::io;

use metal3_provisioner::{Error, Kind};
use reqwest::StatusCode;
use serde_json::Value;

use super::session::Session;

/// Label of lost and refused connections.
pub(super) const UNREACHABLE: &str = "unreachable";

/// Ironic answered, but not as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, body: &Value) -> Self {
        Self {
            status,
            message: fault(body),
        }
    }

    /// HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Ironic's words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The node is locked, or was changed by somebody else.
    pub fn is_conflict(&self) -> bool {
        self.status == StatusCode::CONFLICT
    }

    /// As an error about `what`.
    pub fn into_error(self, what: &str) -> Error {
        let (kind, label) = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (Kind::Config, "denied"),
            StatusCode::NOT_FOUND => (Kind::NotRegistered, "not_found"),
            StatusCode::CONFLICT => (Kind::Conflict, "conflict"),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                (Kind::NotReady, "unavailable")
            }
            status if status.is_server_error() => (Kind::Transient, "server_error"),
            StatusCode::TOO_MANY_REQUESTS => (Kind::Transient, "throttled"),
            _ => (Kind::Bug, "refused"),
        };
        let hint = match kind {
            Kind::Config => "; check the credentials in METAL3_AUTH_ROOT_DIR",
            Kind::NotReady | Kind::Transient | Kind::Conflict | Kind::NotRegistered | Kind::Bug => "",
        };
        let message = if self.message.is_empty() {
            String::new()
        } else {
            format!(": {}", self.message)
        };
        Error::new(
            kind,
            label,
            format!(
                "Ironic answered {} to a request about {what}{message}{hint}",
                self.status
            ),
        )
    }
}

/// Ironic's errors are JSON in a JSON string; others have a message or a description.
fn fault(body: &Value) -> String {
    let message = &body["error_message"];
    let inner = match message {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
        other => other.clone(),
    };
    let candidates = [
        &inner["faultstring"],
        &inner["description"],
        &inner,
        &body["error"]["message"],
    ];
    candidates
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn not_ready(message: String) -> Error {
    Error::new(Kind::NotReady, "not_ready", message)
}

/// The connection failed. The URL stays out of it: it may hold a login.
pub(super) fn transport(error: &reqwest::Error, session: &Session) -> Error {
    let mut cause = String::new();
    let mut source = error.source();
    while let Some(error) = source {
        cause = error.to_string();
        source = error.source();
    }
    let cause = if cause.is_empty() {
        String::new()
    } else {
        format!(": {cause}")
    };
    let (shown, told_by) = (&session.shown, &session.told_by);
    let (label, remedy) = match tls(error) {
        Some(rustls::Error::AlertReceived(_)) => (
            "tls",
            "Ironic ended the TLS handshake: if it asks for client certificates, check IRONIC_CLIENT_CERT_FILE and \
             IRONIC_CLIENT_PRIVATE_KEY_FILE"
                .to_owned(),
        ),
        Some(rustls::Error::InvalidCertificate(_)) => (
            "tls",
            format!(
                "check that IRONIC_CACERT_FILE, or the Secret of an Ironic resource's spec.tls.certificateName, has the \
                 CA of Ironic's certificate, and that this is for the host in {told_by}"
            ),
        ),
        Some(_) | None => {
            let label = if error.is_timeout() { "timeout" } else { UNREACHABLE };
            (label, format!("check {told_by} and that Ironic is up"))
        }
    };
    let what = if error.is_timeout() {
        "did not answer in time"
    } else {
        "cannot be reached"
    };
    Error::new(
        Kind::NotReady,
        label,
        format!("Ironic at {shown} {what}{cause}; {remedy}"),
    )
}

/// What TLS has to say about it. An `io::Error` does not count what it wraps as its source.
fn tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
        .map(|inner| inner as &(dyn StdError + 'static));
    error
        .downcast_ref()
        .or_else(|| wrapped.or_else(|| error.source()).and_then(tls))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ironics_words_are_found_wherever_they_are() {
        let nested = json!({"error_message": "{\"faultstring\": \"node is locked\"}"});
        assert_eq!(fault(&nested), "node is locked");
        assert_eq!(fault(&json!({"error_message": {"faultstring": "x"}})), "x");
        assert_eq!(fault(&json!({"error": {"message": "y", "code": 401}})), "y");
        assert_eq!(fault(&Value::Null), "");
    }

    #[test]
    fn wrong_credentials_are_a_matter_of_configuration() {
        let error = Refusal::new(StatusCode::UNAUTHORIZED, &Value::Null).into_error("nodes");
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains("METAL3_AUTH_ROOT_DIR"));
    }
}
