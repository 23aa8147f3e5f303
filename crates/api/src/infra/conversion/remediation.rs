//! Metal3Remediation and its template.

use jiff::SignedDuration;

use super::common::{filled, narrow};
use crate::infra::{v1beta1, v1beta2};

impl From<v1beta1::Metal3RemediationSpec> for v1beta2::Metal3RemediationSpec {
    fn from(spec: v1beta1::Metal3RemediationSpec) -> Self {
        let v1beta1::Metal3RemediationSpec { strategy } = spec;
        Self {
            strategy: strategy.map(Into::into),
        }
    }
}

impl From<v1beta2::Metal3RemediationSpec> for v1beta1::Metal3RemediationSpec {
    fn from(spec: v1beta2::Metal3RemediationSpec) -> Self {
        let v1beta2::Metal3RemediationSpec { strategy } = spec;
        Self {
            strategy: strategy.map(Into::into),
        }
    }
}

impl From<v1beta1::RemediationStrategy> for v1beta2::RemediationStrategy {
    fn from(strategy: v1beta1::RemediationStrategy) -> Self {
        let v1beta1::RemediationStrategy {
            type_,
            retry_limit,
            timeout,
        } = strategy;
        Self {
            type_: filled(type_),
            retry_limit: retry_limit.map(narrow),
            timeout_seconds: timeout.and_then(|timeout| whole_seconds(&timeout)),
        }
    }
}

impl From<v1beta2::RemediationStrategy> for v1beta1::RemediationStrategy {
    fn from(strategy: v1beta2::RemediationStrategy) -> Self {
        let v1beta2::RemediationStrategy {
            type_,
            retry_limit,
            timeout_seconds,
        } = strategy;
        Self {
            type_,
            retry_limit: retry_limit.map(i64::from),
            timeout: timeout_seconds.map(go_duration),
        }
    }
}

/// Seconds of a Go duration such as `10m0s`; fractions are cut off.
fn whole_seconds(text: &str) -> Option<i32> {
    if text == "0" {
        return Some(0);
    }
    text.parse::<SignedDuration>()
        .ok()
        .map(|duration| narrow(duration.as_secs()))
}

/// Seconds the way Go prints a duration.
fn go_duration(seconds: i32) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let rest = seconds.unsigned_abs();
    match (rest / 3600, rest / 60 % 60, rest % 60) {
        (0, 0, s) => format!("{sign}{s}s"),
        (0, m, s) => format!("{sign}{m}m{s}s"),
        (h, m, s) => format!("{sign}{h}h{m}m{s}s"),
    }
}

impl From<v1beta1::Metal3RemediationStatus> for v1beta2::Metal3RemediationStatus {
    fn from(status: v1beta1::Metal3RemediationStatus) -> Self {
        let v1beta1::Metal3RemediationStatus {
            phase,
            retry_count,
            last_remediated,
        } = status;
        Self {
            phase: filled(phase),
            // A count starts at 1; 0 is how v1beta1 says that nothing was tried yet.
            retry_count: retry_count.filter(|count| *count != 0).map(narrow),
            last_remediated,
        }
    }
}

impl From<v1beta2::Metal3RemediationStatus> for v1beta1::Metal3RemediationStatus {
    fn from(status: v1beta2::Metal3RemediationStatus) -> Self {
        let v1beta2::Metal3RemediationStatus {
            phase,
            retry_count,
            last_remediated,
        } = status;
        Self {
            phase,
            retry_count: retry_count.map(i64::from),
            last_remediated,
        }
    }
}

impl From<v1beta1::Metal3RemediationTemplateSpec> for v1beta2::Metal3RemediationTemplateSpec {
    fn from(spec: v1beta1::Metal3RemediationTemplateSpec) -> Self {
        let v1beta1::Metal3RemediationTemplateResource { spec } = spec.template;
        Self {
            template: v1beta2::Metal3RemediationTemplateResource { spec: spec.into() },
        }
    }
}

impl From<v1beta2::Metal3RemediationTemplateSpec> for v1beta1::Metal3RemediationTemplateSpec {
    fn from(spec: v1beta2::Metal3RemediationTemplateSpec) -> Self {
        let v1beta2::Metal3RemediationTemplateResource { spec } = spec.template;
        Self {
            template: v1beta1::Metal3RemediationTemplateResource { spec: spec.into() },
        }
    }
}

impl From<v1beta1::Metal3RemediationTemplateStatus> for v1beta2::Metal3RemediationTemplateStatus {
    fn from(status: v1beta1::Metal3RemediationTemplateStatus) -> Self {
        let v1beta1::Metal3RemediationTemplateStatus { status } = status;
        Self {
            status: status.map(Into::into),
        }
    }
}

impl From<v1beta2::Metal3RemediationTemplateStatus> for v1beta1::Metal3RemediationTemplateStatus {
    fn from(status: v1beta2::Metal3RemediationTemplateStatus) -> Self {
        let v1beta2::Metal3RemediationTemplateStatus { status } = status;
        Self {
            status: status.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{go_duration, whole_seconds};

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, seconds) in [
            ("10m0s", 600),
            ("1m45.9s", 105),
            ("1h0m0s", 3600),
            ("90s", 90),
            ("1.5h", 5400),
            ("250ms", 0),
            ("0s", 0),
            ("0", 0),
            ("-1m0s", -60),
        ] {
            assert_eq!(whole_seconds(text), Some(seconds), "{text}");
        }
        assert_eq!(whole_seconds("soon"), None);
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (100, "1m40s"),
            (600, "10m0s"),
            (3600, "1h0m0s"),
            (-60, "-1m0s"),
        ] {
            assert_eq!(go_duration(seconds), text);
            assert_eq!(whole_seconds(text), Some(seconds));
        }
    }
}
