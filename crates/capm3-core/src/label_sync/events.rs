//! What people are told.

use metal3_api::names;

use super::{Changes, Pair};
use crate::condition::Event;

/// So many labels, or wrong prefixes, are named.
const NAMED: usize = 5;
/// So much of a wrong prefix.
const SHOWN: usize = 64;

/// Of a Metal3Cluster: parts of its annotation are no prefixes.
pub fn invalid(parts: &[String]) -> Event {
    let shown = |part: &String| match part.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &part[..end]),
        None => format!("{part:?}"),
    };
    Event {
        warning: true,
        reason: "InvalidLabelSyncPrefix",
        message: format!(
            "annotation {}: {} cannot stand before the slash of a label (lower-case letters, digits, '-' and '.', at most \
             253); correct or remove it; labels with the other prefixes are synced",
            names::ANNOTATION_LABEL_SYNC_PREFIXES,
            list(parts.iter().map(shown))
        ),
    }
}

/// Of a Metal3Cluster: the workload cluster does not answer.
pub fn unreachable(cluster: &str, error: &str) -> Event {
    Event {
        warning: true,
        reason: "LabelSyncFailed",
        message: format!(
            "labels of hosts do not reach the Nodes of Cluster {cluster}, which does not answer: {error}; this ends by itself \
             when it does"
        ),
    }
}

/// Of a Metal3Cluster: it answers again.
pub fn resumed(cluster: &str) -> Event {
    Event {
        warning: false,
        reason: "LabelSyncResumed",
        message: format!("Cluster {cluster} answers again; labels of hosts reach its Nodes"),
    }
}

/// Of a Metal3Machine: its Node was changed.
pub fn synced(pair: &Pair, changes: &Changes) -> Event {
    let those = |set: bool| {
        let keys = changes.iter().filter(move |(_, value)| value.is_some() == set);
        list(keys.map(|(key, _)| key.clone()))
    };
    let parts = [("set", those(true)), ("removed", those(false))];
    let parts = parts.into_iter().filter(|(_, keys)| !keys.is_empty());
    let done: Vec<String> = parts.map(|(verb, keys)| format!("{verb} {keys}")).collect();
    Event {
        warning: false,
        reason: "NodeLabelsSynced",
        message: format!(
            "labels of Node {} follow host {}: {}",
            pair.node.name,
            pair.host,
            done.join("; ")
        ),
    }
}

/// Of a Metal3Machine: the workload cluster does not want the change.
pub fn refused(pair: &Pair, error: &str) -> Event {
    Event {
        warning: true,
        reason: "LabelSyncFailed",
        message: format!(
            "Node {} does not take the labels of host {}: {error}; see what the user of Secret {}/{}-kubeconfig may do, and \
             the webhooks of that cluster",
            pair.node.name, pair.host, pair.node.namespace, pair.node.cluster
        ),
    }
}

/// Of a Metal3Machine: its Node could not be changed, more than once.
pub fn failed(pair: &Pair, error: &str) -> Event {
    Event {
        warning: true,
        reason: "LabelSyncFailed",
        message: format!(
            "Node {} does not get the labels of host {}: {error}; this is tried again by itself",
            pair.node.name, pair.host
        ),
    }
}

fn list(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    let named = words.join(", ");
    if more == 0 {
        named
    } else {
        format!("{named} and {more} more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKey;
    use crate::remediation::NodeName;

    #[test]
    fn what_was_changed_is_named_and_much_of_it_counted() {
        let pair = Pair {
            host: HostKey {
                namespace: "ns".into(),
                name: "h".into(),
            },
            node: NodeName {
                namespace: "ns".into(),
                cluster: "c".into(),
                name: "n".into(),
            },
        };
        let mut changes = Changes::from([
            ("a.io/x".to_owned(), Some("1".to_owned())),
            ("a.io/y".to_owned(), None),
        ]);
        assert_eq!(
            synced(&pair, &changes).message,
            "labels of Node n follow host ns/h: set a.io/x; removed a.io/y"
        );
        changes.remove("a.io/y");
        changes.extend((0..6).map(|number| (format!("b.io/{number}"), Some(String::new()))));
        let message = synced(&pair, &changes).message;
        assert!(
            message.ends_with("set a.io/x, b.io/0, b.io/1, b.io/2, b.io/3 and 2 more"),
            "{message}"
        );
    }

    #[test]
    fn a_long_wrong_prefix_is_shown_in_part() {
        let told = invalid(&["é".repeat(300), "No/".into()]).message;
        let shown = format!(
            "{}: \"{}\"…, \"No/\" cannot",
            names::ANNOTATION_LABEL_SYNC_PREFIXES,
            "é".repeat(SHOWN)
        );
        assert!(told.contains(&shown), "{told}");
    }
}
