//! What names may look like. They come from outside and go into keys of caches, into logs, and into objects of Kubernetes,
//! so they are looked at before anything is done with them.

use tonic::Status;

use super::request::invalid;

/// A name of an object: a DNS subdomain.
const NAME: usize = 253;
/// A namespace or the value of a label.
const LABEL: usize = 63;
/// The key of a label: a prefix, a slash and a name.
const KEY: usize = NAME + 1 + LABEL;

const fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Not empty, begins and ends with what `end` takes, and has only that and `between` within.
fn framed(text: &str, longest: usize, end: impl Fn(u8) -> bool, between: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= longest
        && bytes.first().copied().is_some_and(&end)
        && bytes.last().copied().is_some_and(&end)
        && bytes.iter().all(|&byte| end(byte) || between.contains(&byte))
}

fn check(field: &str, text: &str, right: bool, form: &str) -> Result<(), Status> {
    if right {
        return Ok(());
    }
    // Not the whole of it: it may be a megabyte.
    let begin: String = text.chars().take(40).collect();
    let more = if begin.len() < text.len() { "…" } else { "" };
    Err(invalid(field, &format!("{field} {begin:?}{more} is not {form}")))
}

/// A namespace.
pub(super) fn namespace(field: &str, text: &str) -> Result<(), Status> {
    let right = framed(text, LABEL, lower, b"-");
    check(
        field,
        text,
        right,
        "a namespace: at most 63 lower case letters, digits and dashes",
    )
}

/// The name of a host or a Secret.
pub(super) fn object(field: &str, text: &str) -> Result<(), Status> {
    let right = framed(text, NAME, lower, b"-.");
    check(
        field,
        text,
        right,
        "a name: at most 253 lower case letters, digits, dashes and dots",
    )
}

/// The name of an object of any kind, as the API server takes it in a path.
pub(super) fn foreign(field: &str, text: &str) -> Result<(), Status> {
    let right = text.len() <= NAME
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'%');
    check(
        field,
        text,
        right,
        "a name: at most 253 characters, no blanks, slashes and percent signs",
    )
}

/// `group/version`, or `version` alone.
pub(super) fn version(field: &str, text: &str) -> Result<(), Status> {
    let (group, version) = text.split_once('/').unwrap_or(("v", text));
    let right = framed(group, NAME, lower, b"-.") && framed(version, LABEL, lower, b"-");
    check(field, text, right, "an API version: group/version, or a version")
}

/// The kind of an object.
pub(super) fn kind(field: &str, text: &str) -> Result<(), Status> {
    let right = framed(text, LABEL, |byte| byte.is_ascii_alphanumeric(), b"-");
    check(field, text, right, "a kind: at most 63 letters and digits")
}

/// The value of a label.
pub(super) fn value(field: &str, text: &str) -> Result<(), Status> {
    let right = text.is_empty() || framed(text, LABEL, |byte| byte.is_ascii_alphanumeric(), b"-_.");
    check(
        field,
        text,
        right,
        "a label value: at most 63 letters, digits, dashes, underscores and dots",
    )
}

/// The part of the key of a label or annotation after the slash.
pub(super) fn part(field: &str, text: &str) -> Result<(), Status> {
    let right = framed(text, LABEL, |byte| byte.is_ascii_alphanumeric(), b"-_.");
    check(
        field,
        text,
        right,
        "a part of an annotation's name: at most 63 letters, digits, dashes, underscores and dots",
    )
}

/// The key of a label or annotation, or the beginning of one.
pub(super) fn key(field: &str, text: &str) -> Result<(), Status> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let right = !text.is_empty() && text.len() <= KEY && text.bytes().all(letter);
    check(
        field,
        text,
        right,
        "a label key: at most 317 letters, digits, dashes, underscores, dots and a slash",
    )
}

/// Words for people, or what somebody else judges: bounded, and of one line.
pub(super) fn line(field: &str, text: &str, longest: usize) -> Result<(), Status> {
    let right = text.len() <= longest && !text.chars().any(char::is_control);
    check(
        field,
        text,
        right,
        &format!("one line of at most {longest} bytes"),
    )
}

/// So many of something.
pub(super) fn count(field: &str, count: usize, most: usize) -> Result<(), Status> {
    if count <= most {
        return Ok(());
    }
    Err(invalid(
        field,
        &format!("{field} has {count} entries; at most {most} are taken"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str, &str) -> Result<(), Status>;

    #[test]
    fn names_are_those_of_kubernetes() {
        let long = |count| "a".repeat(count);
        let cases: [(&str, Check, &[&str], &[&str]); 8] = [
            (
                "namespace",
                namespace,
                &["a", "a-1", &long(63)],
                &["", "-a", "a-", "a.b", "A", "a/b", "a\n", &long(64)],
            ),
            (
                "object",
                object,
                &["a", "a.b-1", &long(253)],
                &["", ".a", "a.", "A", "a b", "ä", &long(254)],
            ),
            (
                "foreign",
                foreign,
                &["a", "system:node:A", &long(253)],
                &["a/b", "a%b", "a b", "a\u{7f}", "ä", &long(254)],
            ),
            (
                "version",
                version,
                &["v1", "a.b/v1beta1"],
                &["", "/", "/v1", "a/", "a/b/c", "a b/v1"],
            ),
            (
                "kind",
                kind,
                &["Job", "Metal3Machine"],
                &["", "Job/a", "Jöb", "Job "],
            ),
            (
                "value",
                value,
                &["", "A_b.c-1", &long(63)],
                &["-a", "a-", "a b", &long(64)],
            ),
            (
                "part",
                part,
                &["a", "metal3-remediation-1"],
                &["", "a/b", "-a", &long(64)],
            ),
            (
                "key",
                key,
                &["a", "a.b/c_d", "a.b/"],
                &["", "a b", "a\n", &long(318)],
            ),
        ];
        for (what, check, right, wrong) in cases {
            for text in right {
                assert!(check("field", text).is_ok(), "{what} {text:?}");
            }
            for text in wrong {
                let error = check("field", text).unwrap_err();
                assert_eq!(error.code(), tonic::Code::InvalidArgument, "{what} {text:?}");
                assert!(error.message().len() < 300, "{what}: {}", error.message());
                assert!(error.message().starts_with("field \""), "{}", error.message());
            }
        }
    }

    #[test]
    fn lines_and_lists_are_bounded() {
        assert!(line("reason", "fan broken, see §4", 20).is_ok());
        for wrong in ["two\nlines", "a\u{1b}[2J", "much too long for this"] {
            assert!(line("reason", wrong, 20).is_err(), "{wrong:?}");
        }
        assert!(count("states", 3, 3).is_ok());
        let error = count("states", 4, 3).unwrap_err();
        assert!(error.message().contains("at most 3"), "{}", error.message());
    }
}
