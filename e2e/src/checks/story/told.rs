//! What log lines and events tell about the states of a host.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// A line of bmo's log; what a line does not have is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    pub(super) timestamp: String,
    pub(super) message: String,
    pub(super) host: String,
    pub(super) consumer: String,
    from: String,
    to: String,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) from: String,
    pub(super) to: String,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to {:?}", self.from, self.to)
    }
}

/// What a reason tells: the host is in that state.
const REASONS: [(&str, &str); 5] = [
    ("Registered", "registering"),
    ("InspectionStarted", "inspecting"),
    ("ProvisioningStarted", "provisioning"),
    ("ProvisioningComplete", "provisioned"),
    ("DeprovisioningStarted", "deprovisioning"),
];

/// The lines of a log, which are all JSON.
///
/// # Errors
/// The first line that is not.
pub(super) fn lines(text: &str) -> Result<Vec<Line>> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("a line of the log is no JSON: {line}"))
        })
        .collect()
}

/// The changes of state in order; each begins where the one before ended, and is told once.
///
/// # Errors
/// When one is missing, or told again.
pub(super) fn path<'a>(lines: impl Iterator<Item = &'a Line>) -> Result<Vec<Transition>> {
    let mut path: Vec<Transition> = Vec::new();
    for line in lines.filter(|line| line.message == "state changed") {
        let next = Transition {
            from: line.from.clone(),
            to: line.to.clone(),
        };
        if let Some(before) = path.last() {
            ensure!(
                before.to == next.from,
                "the log tells of {before}, then of {next}: something between them is missing"
            );
        }
        path.push(next);
    }
    Ok(path)
}

/// The states that the log tells of, without those that no event tells of.
pub(super) fn states_by_log(path: &[Transition]) -> Vec<&str> {
    let known = |state: &&str| REASONS.iter().any(|(_, told)| told == state);
    path.iter()
        .map(|transition| transition.to.as_str())
        .filter(known)
        .collect()
}

/// The states that events tell of; what is told of one state is one visit to it.
pub(super) fn states_by_events(reasons: &[&str]) -> Vec<&'static str> {
    let mut states: Vec<&str> = reasons
        .iter()
        .filter_map(|reason| REASONS.iter().find(|(known, _)| known == reason))
        .map(|(_, state)| *state)
        .collect();
    states.dedup();
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(changes: &[(&str, &str)]) -> Vec<Line> {
        let line = |(from, to): &(&str, &str)| {
            format!(r#"{{"message": "state changed", "host": "n/a", "from": "{from}", "to": "{to}"}}"#)
        };
        lines(&changes.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap()
    }

    #[test]
    fn log_and_events_tell_the_same() {
        let log = log(&[
            ("", "registering"),
            ("registering", "inspecting"),
            ("inspecting", "preparing"),
            ("preparing", "available"),
            ("available", "provisioning"),
            ("provisioning", "provisioned"),
        ]);
        let path = path(log.iter()).unwrap();
        assert_eq!(path.len(), 6);
        let events = [
            "Registered",
            "BMCAccessValidated",
            "InspectionStarted",
            "InspectionComplete",
            "ProvisioningStarted",
            "ProvisioningComplete",
        ];
        assert_eq!(states_by_log(&path), states_by_events(&events));
        assert_ne!(
            states_by_log(&path),
            states_by_events(events.split_last().unwrap().1)
        );
    }

    #[test]
    fn a_gap_a_repetition_and_a_line_that_is_no_json_are_refused() {
        let twice = log(&[("", "registering"), ("", "registering")]);
        assert!(path(twice.iter()).is_err());
        let log = log(&[("", "registering"), ("inspecting", "preparing")]);
        assert!(path(log.iter()).unwrap_err().to_string().contains("missing"));
        assert!(lines("{}\npanicked at x").is_err());
    }
}
