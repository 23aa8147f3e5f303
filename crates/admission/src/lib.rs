//! What the admission webhooks of `metal3.io` refuse, and why: upstream's rules, as pure functions of objects.
//!
//! * [`review`] judges one object of a [`Subject`]: [`Host`], [`DataImage`], [`FirmwareComponents`],
//!   [`EventSubscription`], [`HostClaim`] or [`Attachment`].
//! * An update is refused for what it changes only. A [`Problem`] that the stored object has already, for the same cause,
//!   is not brought up again: what an older release let in can still be labelled, finalized and corrected in parts.
//! * Objects that are being deleted always pass: nobody must have to correct what goes away.

mod attachment;
mod data_image;
mod event_subscription;
mod firmware_components;
mod host;
mod host_claim;
mod image;
mod labels;
mod problem;
mod reboot;
mod uri;

use serde_json::Value;

pub use attachment::{Attachment, users};
pub use data_image::DataImage;
pub use event_subscription::EventSubscription;
pub use firmware_components::FirmwareComponents;
pub use host::Host;
pub use host_claim::HostClaim;
pub use problem::Problem;

/// What is to say about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Reasons against it; none lets it pass.
    pub errors: Vec<String>,
    /// What the user should know although it passes.
    pub warnings: Vec<String>,
}

/// A kind with rules.
pub trait Subject: Sized {
    /// What the rules look at.
    ///
    /// # Errors
    /// When the spec does not have the form of its kind.
    fn read(object: &Value) -> Result<Self, serde_json::Error>;

    /// What is wrong with the object as it is.
    fn problems(&self) -> Vec<Problem>;

    /// What is wrong with the change from another to this one; by default every change is fine.
    fn compare(&self, _old: &Self) -> Findings {
        Findings::default()
    }
}

/// Judges the creation of an object, or its change from the old one.
pub fn review<S: Subject>(object: &Value, old: Option<&Value>) -> Findings {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return Findings::default();
    }
    let new = match S::read(object) {
        Ok(new) => new,
        // It was stored before its schema forbade it; whoever changes its labels only did not do that.
        Err(_) if old.is_some_and(|old| old["spec"] == object["spec"]) => return Findings::default(),
        Err(error) => {
            return Findings {
                errors: vec![format!("spec: cannot be read: {error}")],
                warnings: Vec::new(),
            };
        }
    };
    let old = old.and_then(|old| S::read(old).ok());
    let known = old.as_ref().map(S::problems).unwrap_or_default();
    let mut findings = old.map(|old| new.compare(&old)).unwrap_or_default();
    let problems = new.problems().into_iter();
    findings.errors.extend(
        problems
            .filter(|problem| !known.contains(problem))
            .map(|problem| problem.message),
    );
    findings
}

/// The spec of an object; one without is as good as empty.
fn spec<T: serde::de::DeserializeOwned + Default>(object: &Value) -> Result<T, serde_json::Error> {
    match &object["spec"] {
        Value::Null => Ok(T::default()),
        spec => serde_json::from_value(spec.clone()),
    }
}

/// A text of the metadata.
fn metadata(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}

/// The annotations of an object.
fn annotations(object: &Value) -> std::collections::BTreeMap<String, String> {
    let annotations = object["metadata"]["annotations"].as_object();
    annotations
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// What was given: upstream knows no difference between an absent and an empty text.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}
