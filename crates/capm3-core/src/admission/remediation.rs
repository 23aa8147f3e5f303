//! What the admission webhooks refuse of remediations, and what they fill in.

use metal3_api::infra::v1beta2::{Metal3RemediationSpec, Metal3RemediationTemplateSpec, RemediationStrategy};

/// The one kind of remediation.
const REBOOT: &str = "Reboot";
/// A machine needs at least this long to come back.
const SHORTEST_TIMEOUT: i32 = 100;
const DEFAULT_TIMEOUT: i32 = 600;
const DEFAULT_RETRY_LIMIT: i32 = 1;

/// Why a Metal3Remediation is refused.
pub fn remediation(spec: &Metal3RemediationSpec) -> Vec<String> {
    strategy(spec.strategy.as_ref(), "spec.strategy")
}

/// Why a Metal3RemediationTemplate is refused.
pub fn remediation_template(spec: &Metal3RemediationTemplateSpec) -> Vec<String> {
    strategy(
        spec.template.spec.strategy.as_ref(),
        "spec.template.spec.strategy",
    )
}

/// The strategy of a template with everything that was left out.
pub fn strategy_defaults(given: RemediationStrategy) -> RemediationStrategy {
    let RemediationStrategy {
        type_,
        retry_limit,
        timeout_seconds,
    } = given;
    RemediationStrategy {
        type_: type_
            .filter(|word| !word.is_empty())
            .or_else(|| Some(REBOOT.to_owned())),
        retry_limit: retry_limit
            .filter(|limit| *limit >= 1)
            .or(Some(DEFAULT_RETRY_LIMIT)),
        timeout_seconds: timeout_seconds
            .filter(|seconds| *seconds != 0)
            .or(Some(DEFAULT_TIMEOUT)),
    }
}

fn strategy(strategy: Option<&RemediationStrategy>, path: &str) -> Vec<String> {
    // Without one the defaults count.
    let Some(RemediationStrategy {
        type_,
        retry_limit,
        timeout_seconds,
    }) = strategy
    else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    let seconds = timeout_seconds.unwrap_or_default();
    if seconds != 0 && seconds < SHORTEST_TIMEOUT {
        errors.push(format!(
            "{path}.timeoutSeconds: Invalid value: {seconds}: must be at least {SHORTEST_TIMEOUT}: a machine needs that long \
             to boot"
        ));
    }
    let word = type_.as_deref().unwrap_or_default();
    if word != REBOOT {
        errors.push(format!(
            "{path}.type: Invalid value: {word:?}: must be {REBOOT:?}, the only kind of remediation"
        ));
    }
    let limit = retry_limit.unwrap_or(DEFAULT_RETRY_LIMIT);
    if limit < 1 {
        errors.push(format!(
            "{path}.retryLimit: Invalid value: {limit}: must be at least 1"
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_strategy_reboots_at_least_once_and_waits_long_enough() {
        for (given, errors) in [
            (Value::Null, &[][..]),
            (json!({"type": "Reboot"}), &[]),
            (
                json!({"type": "Reboot", "timeoutSeconds": 0, "retryLimit": 1}),
                &[],
            ),
            (json!({"type": "Reboot", "timeoutSeconds": 100}), &[]),
            (
                json!({"type": "Reboot", "timeoutSeconds": 99}),
                &["timeoutSeconds: Invalid value: 99"],
            ),
            (
                json!({"type": "Reboot", "timeoutSeconds": -1}),
                &["timeoutSeconds: Invalid value: -1"],
            ),
            (json!({}), &["type: Invalid value: \"\""]),
            (json!({"type": "Replace"}), &["type: Invalid value: \"Replace\""]),
            (
                json!({"type": "Reboot", "retryLimit": 0}),
                &["retryLimit: Invalid value: 0"],
            ),
            (
                json!({"type": "reboot", "retryLimit": -2, "timeoutSeconds": 5}),
                &["timeoutSeconds: Invalid", "type: Invalid", "retryLimit: Invalid"],
            ),
        ] {
            let plain: Metal3RemediationSpec = serde_json::from_value(json!({"strategy": given})).unwrap();
            let template: Metal3RemediationTemplateSpec =
                serde_json::from_value(json!({"template": {"spec": {"strategy": given}}})).unwrap();
            for (found, path) in [
                (remediation(&plain), "spec.strategy"),
                (remediation_template(&template), "spec.template.spec.strategy"),
            ] {
                assert_eq!(found.len(), errors.len(), "{given}: {found:?}");
                for (found, error) in found.iter().zip(errors) {
                    assert!(
                        found.starts_with(&format!("{path}.{error}")),
                        "{given}: {found:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_a_template_leaves_out_is_filled_in_and_what_it_says_is_kept() {
        let read = |value: Value| serde_json::from_value::<RemediationStrategy>(value).unwrap();
        let full = json!({"type": "Reboot", "retryLimit": 1, "timeoutSeconds": 600});
        for (given, want) in [
            (json!({}), full.clone()),
            (json!({"type": "", "retryLimit": 0, "timeoutSeconds": 0}), full),
            (
                json!({"type": "Replace", "retryLimit": 3, "timeoutSeconds": 50}),
                json!({"type": "Replace", "retryLimit": 3, "timeoutSeconds": 50}),
            ),
        ] {
            assert_eq!(strategy_defaults(read(given)), read(want));
        }
    }
}
