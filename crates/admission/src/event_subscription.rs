//! BMCEventSubscriptions.

use metal3_api::metal3::event_subscription::BMCEventSubscriptionSpec;
use serde_json::Value;

use crate::problem::Problem;
use crate::{Findings, Subject, given, metadata, spec, uri};

/// A BMCEventSubscription.
#[derive(Clone, Debug)]
pub struct EventSubscription {
    namespace: String,
    spec: BMCEventSubscriptionSpec,
}

impl Subject for EventSubscription {
    fn read(object: &Value) -> Result<Self, serde_json::Error> {
        Ok(Self {
            namespace: metadata(object, "namespace"),
            spec: spec(object)?,
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if given(self.spec.host_name.as_ref()).is_none() {
            problems.push(Problem::new(
                "spec.hostName",
                "hostName cannot be empty: name the BareMetalHost whose events are wanted",
                (),
            ));
        }
        problems.extend(self.destination());
        let headers = self.spec.http_headers_ref.as_ref();
        if let Some(other) = headers.and_then(|secret| given(secret.namespace.as_ref()))
            && other != self.namespace
        {
            let text = format!(
                "httpHeadersRef namespace must be the subscription's own: remove it, or set it to {:?}",
                self.namespace
            );
            problems.push(Problem::new("spec.httpHeadersRef.namespace", &text, other));
        }
        problems
    }

    /// By value: an update that changes something else, like the finalizer, must pass.
    fn compare(&self, old: &Self) -> Findings {
        let mut findings = Findings::default();
        if self.spec != old.spec {
            findings.errors.push(
                "spec: subscriptions cannot be updated, please recreate it: delete this object and create another".into(),
            );
        }
        findings
    }
}

impl EventSubscription {
    fn destination(&self) -> Option<Problem> {
        let destination = given(self.spec.destination.as_ref());
        let text = match destination.map(uri::path) {
            None => "destination cannot be empty: give the URL that receives the events".to_owned(),
            Some(Err(error)) => format!("destination is invalid: {error}"),
            Some(Ok("")) => "hostname-only destination must have a trailing slash: append /".to_owned(),
            Some(Ok(_)) => return None,
        };
        Some(Problem::new("spec.destination", &text, destination))
    }
}
