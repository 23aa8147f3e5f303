//! What the default builder does about a PreprovisioningImage. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use metal3_api::conditions::{self, New, Status};
use metal3_api::metal3::preprovisioning_image::{
    ImageFormat, PreprovisioningImage, PreprovisioningImageStatus, SecretStatus,
};
use metal3_api::names;

use super::sources::{Source, Sources};
use super::{ERROR, MISSING_NETWORK_DATA, READY};

/// First look for a Secret that is missing, and what is added for the time that it is missing already.
const MISSING_FIRST: SignedDuration = SignedDuration::from_secs(10);
const MISSING_LONGEST: SignedDuration = SignedDuration::from_mins(10);
const SUCCESS: &str = "ImageSuccess";

/// Where the object is in its own life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It needs our finalizer.
    New,
    /// It is worked on.
    Lives,
    /// It goes, and somebody else still holds it.
    Held,
    /// It goes, and waits for us only.
    Free,
    /// It goes without us.
    Gone,
}

pub(super) fn life(image: &PreprovisioningImage) -> Life {
    let finalizers = image.finalizers();
    let own = finalizers
        .iter()
        .any(|name| name == names::FINALIZER_IMAGE_BUILDER);
    match (image.metadata.deletion_timestamp.is_some(), own) {
        (false, false) => Life::New,
        (false, true) => Life::Lives,
        (true, false) => Life::Gone,
        (true, true) if finalizers.len() == 1 => Life::Free,
        (true, true) => Life::Held,
    }
}

/// A decision: the status to write, if it is another one, and when to look again.
#[derive(Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) status: PreprovisioningImageStatus,
    pub(super) again: Option<Duration>,
}

/// Decides about an image that lives; `network` is the version of the Secret that it names, if there is that Secret.
pub(super) fn decide(
    image: &PreprovisioningImage,
    sources: &Sources,
    network: Option<&str>,
    now: Timestamp,
) -> Decision {
    let mut status = image.status.clone().unwrap_or_default();
    let verdict =
        |status: &mut PreprovisioningImageStatus, ready: bool, error: bool, reason, message: &str| {
            for (type_, holds) in [(READY, ready), (ERROR, error)] {
                let new = New {
                    type_,
                    status: Status::from(holds),
                    reason,
                    message: message.to_owned(),
                };
                conditions::set(&mut status.conditions, new, image.metadata.generation, now);
            }
        };
    let mut again = None;
    match wanted(image, sources, network) {
        Err(Problem::NoFormat) => {
            let message = "No acceptable image format supported";
            verdict(&mut status, false, true, "ConfigurationError", message);
        }
        Err(Problem::NoSecret) => {
            verdict(
                &mut status,
                false,
                true,
                MISSING_NETWORK_DATA,
                "NetworkData secret not found",
            );
            again = Some(patience(&status, now));
        }
        // In two steps: whoever uses the image learns that it is replaced before its address is another one.
        Ok(wanted) if !same(&wanted, &status) && conditions::is_true(&status.conditions, READY) => {
            verdict(&mut status, false, false, "ConfigChanged", "Config changed");
        }
        Ok(wanted) => {
            let conditions = std::mem::take(&mut status.conditions);
            status = PreprovisioningImageStatus { conditions, ..wanted };
            verdict(&mut status, true, false, SUCCESS, "Generated image");
        }
    }
    Decision { status, again }
}

enum Problem {
    NoFormat,
    NoSecret,
}

/// The status without conditions of an image that is built.
fn wanted(
    image: &PreprovisioningImage,
    sources: &Sources,
    network: Option<&str>,
) -> Result<PreprovisioningImageStatus, Problem> {
    let spec = &image.spec;
    let architecture = spec.architecture.as_deref().unwrap_or_default();
    let mut possible = spec
        .accept_formats
        .iter()
        .filter_map(|format| Some((*format, sources.get(*format, architecture)?)));
    let (format, source): (ImageFormat, Source) = possible.next().ok_or(Problem::NoFormat)?;
    let named = spec.network_data_name.as_deref().filter(|name| !name.is_empty());
    let network_data = match named {
        None => None,
        Some(name) => Some(SecretStatus {
            name: Some(name.to_owned()),
            version: Some(network.ok_or(Problem::NoSecret)?.to_owned()),
        }),
    };
    Ok(PreprovisioningImageStatus {
        image_url: Some(source.image_url),
        kernel_url: source.kernel_url,
        format: Some(format),
        architecture: spec.architecture.clone(),
        network_data,
        ..PreprovisioningImageStatus::default()
    })
}

/// Whether what was built is what is wanted; where it comes from may change without notice.
fn same(wanted: &PreprovisioningImageStatus, built: &PreprovisioningImageStatus) -> bool {
    wanted.format == built.format
        && wanted.architecture == built.architecture
        && wanted.network_data == built.network_data
}

/// The longer something is missing, the less often it is looked for.
fn patience(status: &PreprovisioningImageStatus, now: Timestamp) -> Duration {
    let since = conditions::find(&status.conditions, ERROR).map_or(now, |error| error.last_transition_time.0);
    let wait = (now.duration_since(since) + MISSING_FIRST).clamp(MISSING_FIRST, MISSING_LONGEST);
    wait.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sources() -> Sources {
        let variables = [
            ("DEPLOY_ISO_URL", "http://i"),
            ("DEPLOY_ISO_URL_AARCH64", "http://a"),
        ];
        Sources::from_env(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap()
    }

    fn image(spec: &Value) -> PreprovisioningImage {
        serde_json::from_value(json!({"metadata": {"name": "a", "generation": 1}, "spec": spec})).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Decides and takes the status over, as the API server would.
    fn step(image: &mut PreprovisioningImage, network: Option<&str>, second: i64) -> Decision {
        let decision = decide(image, &sources(), network, at(second));
        image.status = Some(decision.status.clone());
        decision
    }

    fn condition(image: &PreprovisioningImage, type_: &str) -> (String, String) {
        let status = image.status.as_ref().unwrap();
        let condition = conditions::find(&status.conditions, type_).unwrap();
        (condition.status.clone(), condition.reason.clone())
    }

    fn is(status: &str, reason: &str) -> (String, String) {
        (status.to_owned(), reason.to_owned())
    }

    #[test]
    fn a_new_image_is_ready_at_once_and_then_left_alone() {
        let mut image = image(&json!({"acceptFormats": ["initrd", "iso"], "architecture": "x86_64"}));
        let decision = step(&mut image, None, 0);
        let status = image.status.clone().unwrap();
        assert_eq!(
            (status.image_url.as_deref(), status.format),
            (Some("http://i"), Some(ImageFormat::Iso))
        );
        assert_eq!(condition(&image, "Ready"), is("True", "ImageSuccess"));
        assert_eq!(condition(&image, "Error"), is("False", "ImageSuccess"));
        assert_eq!(decision.again, None);
        assert_eq!(step(&mut image, None, 99), decision);
    }

    #[test]
    fn a_change_is_told_before_it_is_made() {
        let mut image = image(&json!({"acceptFormats": ["iso"], "architecture": "x86_64"}));
        step(&mut image, None, 0);
        image.spec.architecture = Some("aarch64".into());
        image.metadata.generation = Some(2);
        step(&mut image, None, 1);
        assert_eq!(condition(&image, "Ready"), is("False", "ConfigChanged"));
        assert_eq!(
            image.status.as_ref().unwrap().image_url.as_deref(),
            Some("http://i")
        );
        step(&mut image, None, 2);
        assert_eq!(condition(&image, "Ready"), is("True", "ImageSuccess"));
        let status = image.status.unwrap();
        assert_eq!(
            (status.image_url.as_deref(), status.architecture.as_deref()),
            (Some("http://a"), Some("aarch64"))
        );
        assert_eq!(status.conditions[0].observed_generation, Some(2));
    }

    #[test]
    fn a_missing_secret_is_an_error_until_it_is_there() {
        let mut image = image(&json!({"acceptFormats": ["iso"], "networkDataName": "net"}));
        let waits: Vec<_> = [0, 20, 4000]
            .map(|second| step(&mut image, None, second).again.unwrap().as_secs())
            .into();
        assert_eq!(waits, [10, 30, 600]);
        assert_eq!(condition(&image, "Error"), is("True", "MissingNetworkData"));
        let before = image.status.clone();
        step(&mut image, None, 5000);
        assert_eq!(image.status, before, "what did not change is not written");
        step(&mut image, Some("7"), 6000);
        assert_eq!(condition(&image, "Error"), is("False", "ImageSuccess"));
        let network = image.status.clone().unwrap().network_data.unwrap();
        assert_eq!(
            (network.name.as_deref(), network.version.as_deref()),
            (Some("net"), Some("7"))
        );
        step(&mut image, Some("8"), 6001);
        assert_eq!(condition(&image, "Ready"), is("False", "ConfigChanged"));
    }

    #[test]
    fn without_a_format_nothing_can_be_done() {
        let mut image = image(&json!({"acceptFormats": ["initrd"]}));
        let decision = step(&mut image, None, 0);
        assert_eq!(condition(&image, "Error"), is("True", "ConfigurationError"));
        assert_eq!(condition(&image, "Ready"), is("False", "ConfigurationError"));
        assert_eq!(step(&mut image, None, 60), decision);
    }

    #[test]
    fn our_finalizer_is_the_last_to_go() {
        let mut image = image(&json!({}));
        assert_eq!(life(&image), Life::New);
        image.metadata.finalizers = Some(vec![names::FINALIZER_IMAGE_BUILDER.into(), "other".into()]);
        assert_eq!(life(&image), Life::Lives);
        image.metadata.deletion_timestamp = Some(conditions::time(at(0)));
        assert_eq!(life(&image), Life::Held);
        image.metadata.finalizers.as_mut().unwrap().pop();
        assert_eq!(life(&image), Life::Free);
        image.metadata.finalizers = None;
        assert_eq!(life(&image), Life::Gone);
    }
}
