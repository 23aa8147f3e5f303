//! Marks of hosts that remediation has given up.

use metal3_api::names;
use serde_json::{Map, Value, json};

use super::{Seen, annotate};

/// What upstream's remediation writes.
const REASON: &str = "capm3/UnhealthyNode";

/// Marks the host, or takes every mark off; `None` when it is so already. A mark that is there keeps its reason: somebody
/// else may have set it.
pub(in super::super) fn mark(seen: &Seen, unhealthy: bool, reason: &str) -> Option<Value> {
    if unhealthy == seen.host.unhealthy {
        return None;
    }
    if unhealthy {
        let reason = if reason.is_empty() { REASON } else { reason };
        return annotate(Map::from_iter([(
            names::ANNOTATION_UNHEALTHY.to_owned(),
            json!(reason),
        )]));
    }
    let marks = [names::ANNOTATION_UNHEALTHY, names::ANNOTATION_UNHEALTHY_LEGACY];
    let there = marks.into_iter().filter(|name| seen.annotation(name).is_some());
    annotate(there.map(|name| (name.to_owned(), Value::Null)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{after, seen};
    use super::*;

    fn with(annotations: &Value) -> Seen {
        seen(&json!({"metadata": {"annotations": annotations}}))
    }

    #[test]
    fn a_mark_is_written_once_and_says_why() {
        for (reason, written) in [("", "capm3/UnhealthyNode"), ("no fan", "no fan")] {
            let host = seen(&json!({}));
            let patch = mark(&host, true, reason).unwrap();
            assert_eq!(
                patch,
                json!({"metadata": {"annotations": {"capm3.metal3.io/unhealthy": written}}})
            );
            assert_eq!(mark(&after(&host, &patch), true, "another"), None);
        }
        let legacy = with(&json!({"capi.metal3.io/unhealthy": ""}));
        assert_eq!(mark(&legacy, true, "no fan"), None);
    }

    #[test]
    fn every_mark_comes_off() {
        let host = with(&json!({"capi.metal3.io/unhealthy": "", "capm3.metal3.io/unhealthy": "", "a": "b"}));
        let host = after(&host, &mark(&host, false, "").unwrap());
        assert!(!host.host.unhealthy);
        assert_eq!(host.annotation("a"), Some("b"));
        assert_eq!(mark(&host, false, ""), None);
    }
}
