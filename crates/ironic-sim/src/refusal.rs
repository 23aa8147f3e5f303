//! Answers other than success, in Ironic's form: JSON in a JSON string.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Status code and Ironic's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// `faultstring`.
    pub(crate) message: String,
}

impl Refusal {
    /// Any status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// 400
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 409
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 404 of a node.
    pub(crate) fn no_node(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Node {id} could not be found."))
    }

    /// 406 of something that the negotiated version does not have.
    pub(crate) fn version() -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "Request not acceptable.")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = if self.status.is_server_error() {
            "Server"
        } else {
            "Client"
        };
        let fault = json!({"faultcode": code, "faultstring": self.message, "debuginfo": null});
        (self.status, Json(json!({"error_message": fault.to_string()}))).into_response()
    }
}

/// An error from before a resource was found: another shape, the same envelope.
pub(crate) fn early(status: StatusCode, description: impl AsRef<str>) -> Response {
    let fault = json!({
        "code": status.as_u16(),
        "title": status.canonical_reason(),
        "description": description.as_ref(),
    });
    (status, Json(json!({"error_message": fault.to_string()}))).into_response()
}
