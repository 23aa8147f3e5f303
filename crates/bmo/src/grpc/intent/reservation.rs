//! Hosts kept for the successor of a machine: the label says for whom, `consumerRef` is the Cluster's, and an annotation of
//! ours says until when.

use jiff::Timestamp;
use metal3_api::names;
use metal3_rpc::v1::{Consumer, Host};
use serde_json::{Value, json};

/// Which reservations end.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Scope {
    /// Of this Cluster.
    Cluster(Consumer),
    /// Under this key.
    Key(String),
    /// Those whose time was over then.
    Expired(Timestamp),
}

/// Whether the host is reserved, and the reservation is one of those. A machine that took the host over ended it, although
/// its label may be there for some moments more.
pub(in super::super) fn in_scope(host: &Host, scope: &Scope) -> bool {
    host.is_reserved()
        && match scope {
            Scope::Cluster(wanted) => host
                .consumer
                .as_ref()
                .is_some_and(|cluster| cluster.same_object(wanted)),
            Scope::Key(key) => host.reuse_key == *key,
            Scope::Expired(now) => is_over(host, *now),
        }
}

/// Whether the time of the reservation is over. Without an end it lasts until it is used or freed.
pub(in super::super) fn is_over(host: &Host, now: Timestamp) -> bool {
    host.reserved_until.and_then(moment).is_some_and(|end| end <= now)
}

/// What makes a reserved host anybody's.
pub(in super::super) fn free() -> Value {
    json!({
        "metadata": {
            "labels": {names::LABEL_NODE_REUSE: null},
            "annotations": {names::ANNOTATION_RESERVED_UNTIL: null},
        },
        "spec": {"consumerRef": null},
    })
}

/// A time on the wire; `None` when it is out of the range of dates.
pub(super) fn moment(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{after, consumer, seen};
    use super::super::{Seen, reference};
    use super::*;

    fn cluster(name: &str) -> Consumer {
        Consumer {
            api_version: "cluster.x-k8s.io/v1beta2".into(),
            kind: "Cluster".into(),
            name: name.into(),
            ..consumer()
        }
    }

    fn reserved(key: &str, by: Option<&Consumer>, until: Option<&str>) -> Seen {
        seen(&json!({
            "metadata": {
                "labels": {names::LABEL_NODE_REUSE: key}, "annotations": {names::ANNOTATION_RESERVED_UNTIL: until},
            },
            "spec": {"consumerRef": by.map(reference)},
        }))
    }

    #[test]
    fn a_scope_takes_reservations_and_nothing_else() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (own, other) = (cluster("c"), cluster("other"));
        let scopes = [
            Scope::Cluster(cluster("c")),
            Scope::Key("md-x".into()),
            Scope::Expired(now),
        ];
        for (what, host, expected) in [
            (
                "of the cluster",
                reserved("md-x", Some(&own), None),
                [true, true, false],
            ),
            (
                "of another",
                reserved("md-x", Some(&other), None),
                [false, true, false],
            ),
            ("of nobody", reserved("md-x", None, None), [false, true, false]),
            (
                "another key",
                reserved("cp-x", Some(&own), None),
                [true, false, false],
            ),
            (
                "taken",
                reserved("md-x", Some(&consumer()), Some("2025-01-01T00:00:00Z")),
                [false; 3],
            ),
            (
                "over",
                reserved("cp-x", Some(&other), Some("2026-01-01T00:00:00Z")),
                [false, false, true],
            ),
            (
                "not over",
                reserved("cp-x", Some(&other), Some("2026-01-01T00:00:01Z")),
                [false; 3],
            ),
            (
                "no date",
                reserved("cp-x", Some(&other), Some("soon")),
                [false; 3],
            ),
            ("free", seen(&json!({})), [false; 3]),
        ] {
            let found: Vec<bool> = scopes.iter().map(|scope| in_scope(&host.host, scope)).collect();
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn a_freed_host_is_as_if_it_had_never_been_reserved() {
        let host = after(
            &reserved("md-x", Some(&cluster("c")), Some("2026-01-01T00:00:00Z")),
            &free(),
        )
        .host;
        assert_eq!(
            (host.consumer, host.reuse_key.as_str(), host.reserved_until),
            (None, "", None)
        );
    }
}
