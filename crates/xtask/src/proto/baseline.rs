//! `proto/baseline.txt`: the facts that were promised. Only `cargo xtask gen proto --accept` moves them, so that taking
//! one away is a line in the diff of a commit and never an accident.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::facts::Facts;

const HEAD: &str = "# What the contract promises; written by `cargo xtask gen proto --accept`, guarded by `cargo xtask check proto`.\n";
const ACCEPT: &str = "cargo xtask gen proto --accept";

fn path(root: &Path) -> PathBuf {
    root.join(super::FOLDER).join("baseline.txt")
}

/// What was promised.
///
/// # Errors
/// When the file is missing: without it nothing would be guarded.
pub(super) fn read(root: &Path) -> Result<Facts> {
    let path = path(root);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(parse(&text))
}

/// Writes what is promised from now on.
pub(super) fn write(root: &Path, facts: &Facts) -> Result<()> {
    Ok(fs::write(path(root), render(facts))?)
}

fn render(facts: &Facts) -> String {
    let mut text = HEAD.to_owned();
    for (key, value) in facts {
        // Writing to a String cannot fail.
        let _ = if value.is_empty() {
            writeln!(text, "{key}")
        } else {
            writeln!(text, "{key}: {value}")
        };
    }
    text
}

fn parse(text: &str) -> Facts {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// How the contract differs from what was promised.
pub(super) fn check(promised: &Facts, now: &Facts) -> Vec<String> {
    let mut wrong = unreserved(promised, now);
    for (key, before) in promised {
        match now.get(key) {
            None => wrong.push(format!(
                "breaking: {key} {before} was promised and is gone; {ACCEPT} if nobody can use it"
            )),
            Some(after) if after != before => wrong.push(format!(
                "breaking: {key} was promised as {before:?} and is now {after:?}; add a new one instead, or {ACCEPT}"
            )),
            Some(_) => {}
        }
    }
    for key in now.keys().filter(|key| !promised.contains_key(*key)) {
        wrong.push(format!("new: {key} is not guarded yet; {ACCEPT}"));
    }
    wrong
}

/// Fields and values that are gone without their number and name being reserved.
pub(super) fn unreserved(promised: &Facts, now: &Facts) -> Vec<String> {
    let removed = promised
        .iter()
        .filter(|(key, _)| key.starts_with("field ") || key.starts_with("value "))
        .filter(|(key, _)| !now.contains_key(*key));
    removed
        .filter_map(|(key, value)| {
            let mut words = key.split(' ').skip(1);
            let (owner, number) = (words.next()?, words.next()?.parse().ok()?);
            let kept = now.contains_key(&format!("message {owner}")) || now.contains_key(&format!("enum {owner}"));
            let name = value.split(' ').next()?;
            let safe = number_is_reserved(now, owner, number)
                && now.contains_key(&format!("reserved {owner} {name}"));
            (kept && !safe).then(|| {
                format!("unreserved: {key} {value} is gone; add `reserved {number}; reserved \"{name}\";` to {owner}")
            })
        })
        .collect()
}

fn number_is_reserved(now: &Facts, owner: &str, number: i32) -> bool {
    let prefix = format!("reserved {owner} ");
    now.keys()
        .filter_map(|key| key.strip_prefix(&prefix)?.split_once(" to "))
        .filter_map(|(start, end)| Some(start.parse().ok()?..=end.parse().ok()?))
        .any(|range: std::ops::RangeInclusive<i32>| range.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::super::{facts, sample};
    use super::*;

    const BEFORE: &str = r#"
        service HostService {
            rpc Get(Host) returns (Mode);
            rpc Watch(Host) returns (stream Mode);
        }
        message Host { string name = 1; int64 size = 2; }
        message Mode {
            reserved 5 to 6;
            enum Kind { KIND_UNSPECIFIED = 0; KIND_FAST = 1; KIND_SLOW = 2; }
            Kind kind = 1;
        }"#;

    /// What the check says when this part of the contract before is replaced by that one.
    fn said(part: &str, replacement: &str) -> String {
        assert!(BEFORE.contains(part), "{part}");
        let facts = |text: &str| facts::of(&sample::one(text));
        check(&facts(BEFORE), &facts(&BEFORE.replace(part, replacement))).join("\n")
    }

    #[test]
    fn a_contract_that_did_not_change_breaks_nothing() {
        assert_eq!(said("int64", "int64"), "");
    }

    #[test]
    fn what_others_rely_on_is_not_taken_away() {
        for (part, replacement, expected) in [
            (
                "int64 size = 2;",
                "",
                "breaking: field a.v1.Host 2 size int64 was promised and is gone",
            ),
            (
                "size = 2",
                "size = 3",
                "breaking: field a.v1.Host 2 size int64 was promised and is gone",
            ),
            (
                "size = 2",
                "length = 2",
                "field a.v1.Host 2 was promised as \"size int64\" and is now \"length int64\"",
            ),
            ("int64 size", "int32 size", "is now \"size int32\""),
            (
                "int64 size",
                "repeated int64 size",
                "is now \"size repeated int64\"",
            ),
            (
                "int64 size = 2;",
                "oneof o { int64 size = 2; }",
                "is now \"size int64 in o\"",
            ),
            (
                "rpc Get(Host) returns (Mode);",
                "",
                "breaking: rpc a.v1.HostService Get a.v1.Host returns a.v1.Mode was promised and is gone",
            ),
            ("stream Mode", "Mode", "is now \"a.v1.Host returns a.v1.Mode\""),
            ("Get(Host)", "Get(Mode)", "is now \"a.v1.Mode returns a.v1.Mode\""),
            (
                "KIND_SLOW = 2;",
                "",
                "breaking: value a.v1.Mode.Kind 2 KIND_SLOW was promised and is gone",
            ),
            ("KIND_SLOW", "KIND_LAZY", "is now \"KIND_LAZY\""),
            (
                "KIND_FAST = 1",
                "KIND_FAST = 3",
                "breaking: value a.v1.Mode.Kind 1 KIND_FAST was promised and is gone",
            ),
            (
                "reserved 5 to 6;",
                "",
                "breaking: reserved a.v1.Mode 5 to 6  was promised and is gone",
            ),
        ] {
            let said = said(part, replacement);
            assert!(said.contains(expected), "{part} → {replacement}: {said}");
        }
    }

    #[test]
    fn what_is_new_is_to_be_accepted_so_that_it_is_guarded() {
        let said = said("int64 size = 2;", "int64 size = 2; bool on = 3;");
        assert_eq!(
            said,
            "new: field a.v1.Host 3 is not guarded yet; cargo xtask gen proto --accept"
        );
    }

    #[test]
    fn who_removes_a_field_or_a_value_reserves_its_number_and_its_name() {
        let facts = |text: &str| facts::of(&sample::one(text));
        for (part, replacement, expected) in [
            ("int64 size = 2;", "", 1),
            ("int64 size = 2;", "reserved 2;", 1),
            ("int64 size = 2;", "reserved \"size\";", 1),
            ("int64 size = 2;", "reserved 1000; reserved \"size\";", 1),
            ("int64 size = 2;", "reserved 2; reserved \"size\";", 0),
            ("KIND_SLOW = 2;", "", 1),
            ("KIND_SLOW = 2;", "reserved 2 to 4; reserved \"KIND_SLOW\";", 0),
        ] {
            let found = unreserved(&facts(BEFORE), &facts(&BEFORE.replace(part, replacement)));
            assert_eq!(found.len(), expected, "{part} → {replacement}: {found:?}");
        }
    }

    #[test]
    fn a_message_that_goes_as_a_whole_has_nowhere_to_reserve_its_fields() {
        let facts = |text: &str| facts::of(&sample::one(text));
        let both = facts("message A { string a = 1; } message B {}");
        assert_eq!(unreserved(&both, &facts("message B {}")), Vec::<String>::new());
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let facts = facts::of(&sample::one(BEFORE));
        assert_eq!(parse(&render(&facts)), facts);
    }
}
