//! BareMetalHosts: upstream's rules by their numbers (`bmo-host.md` §1.5).

mod annotations;
mod bmc;
mod change;
mod interfaces;
mod storage;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SecretReference;
use metal3_api::metal3::host::{BareMetalHostSpec, InspectionMode, ProvisioningState};
use metal3_api::names;
use serde_json::Value;

use crate::problem::Problem;
use crate::{Findings, Subject, given, image, metadata, spec};

/// What the rules look at: metadata, spec, and the few words of the status that a change depends on.
#[derive(Clone, Debug, Default)]
pub struct Host {
    name: String,
    namespace: String,
    annotations: BTreeMap<String, String>,
    spec: BareMetalHostSpec,
    state: ProvisioningState,
    detached: bool,
}

impl Subject for Host {
    fn read(object: &Value) -> Result<Self, serde_json::Error> {
        let status = &object["status"];
        let state = status["provisioning"]["state"].as_str().unwrap_or_default();
        Ok(Self {
            name: metadata(object, "name"),
            namespace: metadata(object, "namespace"),
            annotations: crate::annotations(object),
            spec: spec(object)?,
            state: ProvisioningState::from(state),
            detached: status["operationalStatus"] == "detached",
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = bmc::problems(self);
        problems.extend(self.firmware());
        problems.extend(self.secrets());
        problems.extend(storage::problems(&self.spec));
        problems.extend(self.named());
        problems.extend(image::image(
            self.spec.image.as_ref(),
            self.spec.custom_deploy.as_ref(),
        ));
        problems.extend(annotations::problems(self));
        problems.extend(self.power());
        problems.extend(interfaces::problems(&self.spec.network_interfaces));
        problems
    }

    fn compare(&self, old: &Self) -> Findings {
        change::findings(self, old)
    }
}

impl Host {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    fn inspection_disabled(&self) -> bool {
        match self.spec.inspection_mode {
            Some(mode) => mode == InspectionMode::Disabled,
            None => self.annotation(names::ANNOTATION_INSPECT) == Some("disabled"),
        }
    }

    /// Rule 2.
    fn firmware(&self) -> Option<Problem> {
        self.spec.firmware.as_ref().map(|firmware| {
            Problem::new(
                "spec.firmware",
                "the Firmware field is no longer supported, use HostFirmwareSettings resource instead",
                firmware,
            )
        })
    }

    /// Rule 3.
    fn secrets(&self) -> Vec<Problem> {
        let complain = |field: &str, secret: Option<&SecretReference>| {
            let other = given(secret?.namespace.as_ref())?;
            (other != self.namespace).then(|| {
                let field = format!("baremetalhosts.metal3.io {:?} is forbidden: {field}", self.name);
                let text = format!(
                    "cross-namespace Secret references are not allowed; remove the namespace {other:?} or set it to {:?}",
                    self.namespace
                );
                Problem::new(&field, &text, other)
            })
        };
        let spec = &self.spec;
        [
            complain("spec.userData", spec.user_data.as_ref()),
            complain("spec.networkData", spec.network_data.as_ref()),
            complain("spec.metaData", spec.meta_data.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Rules 13 and 14.
    fn named(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let mut complain = |text: &str| problems.push(Problem::new("metadata.name", text, &self.name));
        if !self.name.chars().all(allowed) {
            complain("BareMetalHost resource name cannot contain characters other than [A-Za-z0-9._-]");
        }
        if is_uuid(&self.name) {
            complain(
                "BareMetalHost resource name cannot be a UUID: Ironic would take it for another node; choose a name",
            );
        }
        problems
    }

    /// Rule 24.
    fn power(&self) -> Option<Problem> {
        let wrong = self.spec.disable_power_off == Some(true) && !self.spec.online;
        wrong.then(|| {
            Problem::new(
                "spec.online",
                "node can't simultaneously have online set to false and have power off disabled; set online to true, or \
                 disablePowerOff to false",
                (),
            )
        })
    }
}

/// In any of the forms that Ironic and Go take for one.
fn is_uuid(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let core = lower.strip_prefix("urn:uuid:").unwrap_or(&lower);
    let core = core
        .strip_prefix('{')
        .and_then(|core| core.strip_suffix('}'))
        .unwrap_or(core);
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if core.len() == 32 {
        return hexadecimal(core);
    }
    let parts: Vec<&str> = core.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|part| hexadecimal(part))
}
