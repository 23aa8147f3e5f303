//! URLs as Go's `ParseRequestURI` takes them, with words for what is wrong.

/// The path of a URL, with its slash; empty when the host is all there is.
///
/// # Errors
/// What is wrong with the URL.
pub(crate) fn path(text: &str) -> Result<&str, String> {
    if text.is_empty() {
        return Err("empty url".into());
    }
    if text.chars().any(char::is_control) {
        return Err("it contains a control character".into());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("it has to begin with a scheme, as in https://host/file".into());
    };
    let mut letters = scheme.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_alphabetic());
    if !begins || !letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter)) {
        return Err(format!("{scheme:?} is no scheme"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    host(authority)?;
    escapes(rest)?;
    Ok(rest.split(['?', '#']).next().unwrap_or_default())
}

fn host(authority: &str) -> Result<(), String> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host
        .chars()
        .any(|letter| letter.is_whitespace() || "<>\"\\^`{|}".contains(letter))
    {
        return Err("the host contains a character that is not allowed".into());
    }
    // A colon inside of brackets belongs to an address.
    let (name, port) = match host.rfind(']') {
        Some(end) => host.split_at(end + 1),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    if name.is_empty() {
        return Err("it has no host".into());
    }
    if name.starts_with('[') != name.ends_with(']') {
        return Err("a bracket is missing in the host".into());
    }
    let digits = port.strip_prefix(':').unwrap_or(port);
    if (!port.is_empty() && !port.starts_with(':')) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("invalid port".into());
    }
    escapes(name)
}

fn escapes(text: &str) -> Result<(), String> {
    for part in text.split('%').skip(1) {
        let mut digits = part.chars();
        let hexadecimal = |digit: Option<char>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
        if !hexadecimal(digits.next()) || !hexadecimal(digits.next()) {
            return Err("a % has to be followed by two hexadecimal digits".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upstream_takes_is_taken() {
        for (text, wanted) in [
            ("http://host/file", "/file"),
            ("HTTPS://host:8080/a b?c=d#e", "/a b"),
            ("http://user:pass@host", ""),
            ("http://[fe80::1]:80/%20", "/%20"),
            ("http://host?x", ""),
            ("oci://registry/image:tag", "/image:tag"),
        ] {
            assert_eq!(path(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, part) in [
            ("", "empty url"),
            ("image.qcow2", "begin with a scheme"),
            ("/file", "begin with a scheme"),
            ("http:file", "begin with a scheme"),
            ("1http://host", "no scheme"),
            ("://host", "no scheme"),
            ("http:///file", "no host"),
            ("http://ho st/file", "not allowed"),
            ("http://host:8o/file", "invalid port"),
            ("http://[::1/file", "bracket"),
            ("http://[::1]80/file", "invalid port"),
            ("http://host/%2", "two hexadecimal digits"),
            ("http://host/a\nb", "control character"),
        ] {
            let error = path(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
