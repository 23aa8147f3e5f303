//! Names and values of labels, as Kubernetes allows them.

/// What is wrong with the name of a label.
pub(crate) fn wrong_name(name: &str) -> Option<String> {
    let (prefix, name) = match name.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, name),
    };
    if prefix.is_some_and(|prefix| !is_domain(prefix)) {
        return Some("what is before the slash has to be a DNS name in lower case".into());
    }
    if !(1..=63).contains(&name.len()) || !is_word(name) {
        return Some(
            "a name has 1 to 63 letters, digits, '-', '_' or '.', and begins and ends with a letter or digit"
                .into(),
        );
    }
    None
}

/// What is wrong with the value of a label.
pub(crate) fn wrong_value(value: &str) -> Option<String> {
    (!value.is_empty() && (value.len() > 63 || !is_word(value))).then(|| {
        "a value has at most 63 letters, digits, '-', '_' or '.', and begins and ends with a letter or digit".into()
    })
}

fn is_word(text: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let outer = |letter: char| letter.is_ascii_alphanumeric();
    text.chars().all(inner) && text.starts_with(outer) && text.ends_with(outer)
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let outer = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        label.chars().all(|letter| outer(letter) || letter == '-')
            && label.starts_with(outer)
            && label.ends_with(outer)
    };
    text.len() <= 253 && text.split('.').all(label)
}
