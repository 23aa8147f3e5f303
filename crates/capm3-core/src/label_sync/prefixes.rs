//! What a Metal3Cluster asks for.

/// The most that Kubernetes takes.
const LONGEST: usize = 253;

/// Prefixes of labels: what stands before the slash. In order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(Box<[Box<str>]>);

impl Prefixes {
    /// Reads the annotation: the prefixes, and what is none. One that is wrong does not spoil the others.
    pub fn read(annotation: &str) -> (Self, Vec<String>) {
        let parts = annotation.split(',').map(str::trim);
        let (mut valid, malformed): (Vec<&str>, Vec<&str>) = parts
            .filter(|part| !part.is_empty())
            .partition(|part| is_subdomain(part));
        valid.sort_unstable();
        valid.dedup();
        let prefixes = valid.into_iter().map(Box::from).collect();
        let malformed = malformed.into_iter().map(str::to_owned).collect();
        (Self(prefixes), malformed)
    }

    /// Nothing is synced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a label has one of them. It has to be the same: `example.com` is none of `sub.example.com/a`.
    pub fn cover(&self, key: &str) -> bool {
        let prefix = key.split_once('/').map(|(prefix, _)| prefix);
        prefix.is_some_and(|prefix| self.0.binary_search_by(|known| (**known).cmp(prefix)).is_ok())
    }
}

/// A DNS subdomain as Kubernetes takes it: parts of letters, digits and '-', which is at neither end, with '.' between.
fn is_subdomain(text: &str) -> bool {
    let in_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= LONGEST
        && text.split('.').all(|part| {
            let bytes = part.as_bytes();
            bytes.first().is_some_and(|byte| in_part(*byte))
                && bytes.last().is_some_and(|byte| in_part(*byte))
                && bytes.iter().all(|byte| in_part(*byte) || *byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_prefix_is_told_and_does_not_spoil_the_others() {
        let (prefixes, wrong) =
            Prefixes::read(" b.example.com, a.example.com,,Wrong/, b.example.com ,-x,y-.z,é");
        assert_eq!(wrong, ["Wrong/", "-x", "y-.z", "é"]);
        assert_eq!(prefixes, Prefixes::read("a.example.com,b.example.com").0);
        let (none, wrong) = Prefixes::read(" , ");
        assert!(none.is_empty() && wrong.is_empty());
    }

    #[test]
    fn a_prefix_is_as_long_as_kubernetes_takes_it() {
        assert!(Prefixes::read(&"a".repeat(253)).1.is_empty());
        assert_eq!(Prefixes::read(&"a".repeat(254)).1.len(), 1);
    }

    #[test]
    fn a_label_has_a_prefix_only_if_it_is_the_same() {
        let (prefixes, _) = Prefixes::read("example.com,metal3.io");
        for (key, covered) in [
            ("example.com/a", true),
            ("example.com/", true),
            ("sub.example.com/a", false),
            ("example.com.org/a", false),
            ("example.co/a", false),
            ("example.com", false),
            ("/a", false),
            ("", false),
        ] {
            assert_eq!(prefixes.cover(key), covered, "{key}");
        }
    }
}
