//! Admission and conversion reviews of the Kubernetes API server.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::tls::TlsListener;

/// The API server accepts objects of 3 MiB; a review holds the old and the new one.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// What an admission handler is told.
#[derive(Clone, Debug)]
pub struct Admission {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: String,
    /// The object as it would be stored.
    pub object: Value,
    /// The object as it is stored, on update and delete.
    pub old_object: Option<Value>,
    /// Nothing will be stored.
    pub dry_run: bool,
}

/// What an admission handler answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Reasons against the request; none lets it pass.
    pub errors: Vec<String>,
    /// Shown to the user although the request passes.
    pub warnings: Vec<String>,
    /// JSON patch operations, for defaulting.
    pub patch: Vec<Value>,
}

/// A set of webhooks on one TLS port.
#[derive(Default)]
pub struct Webhooks {
    router: Router,
}

impl Webhooks {
    /// Adds an admission webhook.
    #[must_use]
    pub fn admission(
        self,
        path: &str,
        handler: impl Fn(&Admission) -> Verdict + Clone + Send + Sync + 'static,
    ) -> Self {
        self.admission_by(path, move |admission| std::future::ready(handler(&admission)))
    }

    /// Adds an admission webhook that has to ask others.
    #[must_use]
    pub fn admission_by<F, A>(mut self, path: &str, handler: F) -> Self
    where
        F: Fn(Admission) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Verdict> + Send,
    {
        let handle = move |body: Bytes| async move {
            let reviewed = match admission(&body) {
                Ok((admission, frame)) => Ok(frame.close(handler(admission).await)),
                Err(message) => Err(message),
            };
            answer(reviewed)
        };
        self.router = self.router.route(path, post(handle));
        self
    }

    /// Adds a conversion webhook: the handler gets one object and the API version wanted.
    #[must_use]
    pub fn conversion(
        mut self,
        path: &str,
        handler: impl Fn(Value, &str) -> Result<Value, String> + Clone + Send + Sync + 'static,
    ) -> Self {
        let handler = Arc::new(handler);
        let handle = move |body: Bytes| {
            let handler = Arc::clone(&handler);
            async move { answer(conversion(&body, handler.as_ref())) }
        };
        self.router = self.router.route(path, post(handle));
        self
    }

    /// Serves until shutdown.
    ///
    /// # Errors
    /// When serving fails.
    pub async fn serve(self, listener: TlsListener, shutdown: CancellationToken) -> Result<()> {
        let router = self.router.layer(DefaultBodyLimit::max(BODY_LIMIT));
        axum::serve(listener, router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await?;
        Ok(())
    }
}

fn answer(result: Result<Value, String>) -> Response {
    match result {
        Ok(review) => ([(header::CONTENT_TYPE, "application/json")], review.to_string()).into_response(),
        Err(message) => (StatusCode::BAD_REQUEST, message).into_response(),
    }
}

/// The request of a review, its UID and the review's own API version.
fn request(body: &[u8], kind: &str) -> Result<(Map<String, Value>, Value, Value), String> {
    let mut review: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    if review["kind"] != kind {
        return Err(format!("expected a {kind}, got {}", review["kind"]));
    }
    let version = review["apiVersion"].clone();
    match review["request"].take() {
        Value::Object(request) => {
            let uid = request.get("uid").cloned().unwrap_or_default();
            Ok((request, uid, version))
        }
        _ => Err(format!("the {kind} has no request")),
    }
}

/// What of a review comes back with the answer.
struct Frame {
    uid: Value,
    version: Value,
}

fn admission(body: &[u8]) -> Result<(Admission, Frame), String> {
    let (mut request, uid, version) = request(body, "AdmissionReview")?;
    let admission = Admission {
        operation: request
            .get("operation")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        object: request.remove("object").unwrap_or_default(),
        old_object: request.remove("oldObject").filter(|object| !object.is_null()),
        dry_run: request.get("dryRun") == Some(&json!(true)),
    };
    Ok((admission, Frame { uid, version }))
}

impl Frame {
    fn close(self, verdict: Verdict) -> Value {
        let Self { uid, version } = self;
        let Verdict {
            errors,
            warnings,
            patch,
        } = verdict;
        let mut response = json!({"uid": uid, "allowed": errors.is_empty()});
        if !errors.is_empty() {
            let message = match errors.as_slice() {
                [one] => one.clone(),
                several => format!("[{}]", several.join(", ")),
            };
            response["status"] =
                json!({"status": "Failure", "message": message, "reason": "Forbidden", "code": 403});
        }
        if !warnings.is_empty() {
            response["warnings"] = json!(warnings);
        }
        if errors.is_empty() && !patch.is_empty() {
            use k8s_openapi::ByteString;
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(ByteString(Value::Array(patch).to_string().into_bytes()));
        }
        json!({"apiVersion": version, "kind": "AdmissionReview", "response": response})
    }
}

fn conversion(body: &[u8], handler: &impl Fn(Value, &str) -> Result<Value, String>) -> Result<Value, String> {
    let (mut request, uid, version) = request(body, "ConversionReview")?;
    let desired = request
        .get("desiredAPIVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let objects = match request.remove("objects") {
        Some(Value::Array(objects)) => objects,
        _ => return Err("the ConversionReview has no objects".into()),
    };
    let converted: Result<Vec<Value>, String> = objects
        .into_iter()
        .map(|object| {
            let title = title(&object);
            handler(object, &desired).map_err(|error| format!("cannot convert {title} to {desired}: {error}"))
        })
        .collect();
    let response = match converted {
        Ok(objects) => json!({"uid": uid, "convertedObjects": objects, "result": {"status": "Success"}}),
        Err(message) => {
            json!({"uid": uid, "convertedObjects": [], "result": {"status": "Failure", "message": message}})
        }
    };
    Ok(json!({"apiVersion": version, "kind": "ConversionReview", "response": response}))
}

/// `Kind namespace/name`, as far as the object tells.
fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let metadata = &object["metadata"];
    format!(
        "{} {}/{}",
        text(&object["kind"]),
        text(&metadata["namespace"]),
        text(&metadata["name"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(kind: &str, request: &Value) -> Vec<u8> {
        json!({"apiVersion": "x/v1", "kind": kind, "request": request})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn several_reasons_are_told_at_once() {
        let body = review(
            "AdmissionReview",
            &json!({"uid": "u", "operation": "CREATE", "object": {"a": 1}}),
        );
        let (asked, frame) = admission(&body).unwrap();
        assert_eq!((asked.operation.as_str(), &asked.old_object), ("CREATE", &None));
        let denied = frame.close(Verdict {
            errors: vec!["one".into(), "two".into()],
            ..Verdict::default()
        });
        let response = &denied["response"];
        assert_eq!(response["allowed"], false);
        assert_eq!(response["uid"], "u");
        assert_eq!(response["status"]["message"], "[one, two]");
    }

    #[test]
    fn a_patch_is_encoded_as_the_api_server_wants_it() {
        let body = review("AdmissionReview", &json!({"uid": "u", "object": {}}));
        let patch = vec![json!({"op": "add", "path": "/a", "value": 1})];
        let (_, frame) = admission(&body).unwrap();
        let allowed = frame.close(Verdict {
            patch,
            ..Verdict::default()
        });
        assert_eq!(allowed["response"]["patchType"], "JSONPatch");
        assert!(allowed["response"]["patch"].as_str().unwrap().starts_with("W3"));
    }

    #[test]
    fn one_object_that_cannot_be_converted_fails_the_review_and_is_named() {
        let objects =
            json!([{"kind": "A", "metadata": {"name": "good"}}, {"kind": "A", "metadata": {"name": "bad"}}]);
        let body = review(
            "ConversionReview",
            &json!({"uid": "u", "desiredAPIVersion": "g/v2", "objects": objects}),
        );
        let handler = |object: Value, version: &str| {
            assert_eq!(version, "g/v2");
            if object["metadata"]["name"] == "bad" {
                Err("broken".to_owned())
            } else {
                Ok(object)
            }
        };
        let failed = conversion(&body, &handler).unwrap();
        let message = failed["response"]["result"]["message"].as_str().unwrap();
        assert_eq!(message, "cannot convert A ?/bad to g/v2: broken");
    }

    #[test]
    fn what_is_no_review_is_refused() {
        for body in [&b"{"[..], b"{}", b"{\"kind\":\"ConversionReview\"}"] {
            assert!(conversion(body, &|object, _| Ok(object)).is_err());
            assert!(admission(body).is_err());
        }
    }
}
