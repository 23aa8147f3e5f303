//! HostClaims.

use std::collections::BTreeMap;

use metal3_api::metal3::host_claim::{HostClaimSpec, HostSelectorRequirement};
use serde_json::Value;

use crate::problem::Problem;
use crate::{Subject, annotations, image, labels, reboot, spec};

/// A HostClaim.
#[derive(Clone, Debug)]
pub struct HostClaim {
    annotations: BTreeMap<String, String>,
    spec: HostClaimSpec,
}

impl Subject for HostClaim {
    fn read(object: &Value) -> Result<Self, serde_json::Error> {
        Ok(Self {
            annotations: annotations(object),
            spec: spec(object)?,
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = reboot::annotations(&self.annotations);
        problems.extend(image::image(
            self.spec.image.as_ref(),
            self.spec.custom_deploy.as_ref(),
        ));
        let Some(selector) = &self.spec.host_selector else {
            return problems;
        };
        for (name, value) in &selector.match_labels {
            let wrong = labels::wrong_name(name).or_else(|| labels::wrong_value(value));
            problems.extend(wrong.map(|text| {
                let field = format!("spec.hostSelector.matchLabels[{name}]");
                Problem::new(&field, &text, (name, value))
            }));
        }
        for (index, requirement) in selector.match_expressions.iter().enumerate() {
            problems.extend(wrong(requirement).map(|text| {
                let field = format!("spec.hostSelector.matchExpressions[{index}]");
                Problem::new(&field, &text, requirement)
            }));
        }
        problems
    }
}

fn wrong(requirement: &HostSelectorRequirement) -> Option<String> {
    let HostSelectorRequirement {
        key,
        operator,
        values,
    } = requirement;
    let number = match operator.as_str() {
        "=" | "==" | "!=" => (values.len() != 1).then_some("exactly one value"),
        "in" | "notin" => values.is_empty().then_some("at least one value"),
        "exists" | "!" => (!values.is_empty()).then_some("no values"),
        _ => {
            return Some(format!(
                "invalid operation {operator:?}; use one of =, ==, !=, in, notin, exists, !"
            ));
        }
    };
    number
        .map(|number| format!("operator {operator} needs {number}"))
        .or_else(|| labels::wrong_name(key).map(|text| format!("key {key:?}: {text}")))
        .or_else(|| {
            values
                .iter()
                .find_map(|value| labels::wrong_value(value).map(|text| format!("value {value:?}: {text}")))
        })
}
