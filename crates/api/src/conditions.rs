//! Conditions as kstatus reads them: by type, with a transition time that tells when the status last flipped.

use std::cmp::Ordering;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The word for a condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Status {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A condition to be set.
#[derive(Clone, Debug)]
pub struct New<'a> {
    /// Type.
    pub type_: &'a str,
    /// Status.
    pub status: Status,
    /// One CamelCase word.
    pub reason: &'a str,
    /// For people; may be empty.
    pub message: String,
}

/// Sets one condition; the transition time moves only when the status flips, so that setting it again changes nothing.
pub fn set(conditions: &mut Vec<Condition>, new: New<'_>, generation: Option<i64>, now: Timestamp) {
    let status = new.status.as_str();
    let known = conditions
        .iter()
        .position(|condition| condition.type_ == new.type_);
    let since = known
        .and_then(|at| conditions.get(at))
        .filter(|old| old.status == status);
    let condition = Condition {
        type_: new.type_.to_owned(),
        status: status.to_owned(),
        reason: new.reason.to_owned(),
        message: new.message,
        observed_generation: generation,
        last_transition_time: since.map_or_else(|| time(now), |old| old.last_transition_time.clone()),
    };
    match known.and_then(|at| conditions.get_mut(at)) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
    conditions.sort_by(order);
}

/// Removes a condition.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type holds.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Kubernetes times have whole seconds; keeping more would make an unchanged status look changed.
pub fn time(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Ready first, the others by name.
fn order(a: &Condition, b: &Condition) -> Ordering {
    (a.type_ != "Ready", &a.type_).cmp(&(b.type_ != "Ready", &b.type_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(type_: &str, status: Status) -> New<'_> {
        New {
            type_,
            status,
            reason: "Why",
            message: String::new(),
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        set(&mut conditions, new("A", Status::True), Some(1), at(10));
        set(
            &mut conditions,
            New {
                reason: "Else",
                ..new("A", Status::True)
            },
            Some(2),
            at(20),
        );
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        assert_eq!(
            (conditions[0].reason.as_str(), conditions[0].observed_generation),
            ("Else", Some(2))
        );
        set(&mut conditions, new("A", Status::False), Some(2), at(30));
        assert_eq!(conditions[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn ready_comes_first() {
        let mut conditions = Vec::new();
        for type_ in ["Zeta", "Ready", "Alpha"] {
            set(
                &mut conditions,
                new(type_, Status::True),
                None,
                Timestamp::UNIX_EPOCH,
            );
        }
        let types: Vec<_> = conditions
            .iter()
            .map(|condition| condition.type_.as_str())
            .collect();
        assert_eq!(types, ["Ready", "Alpha", "Zeta"]);
        assert!(is_true(&conditions, "Zeta"));
        remove(&mut conditions, "Zeta");
        assert!(find(&conditions, "Zeta").is_none());
    }
}
