//! `exceptions.tsv`: where we decided otherwise than upstream, and why.

use anyhow::{Result, bail};

use super::Difference;

/// One decision; `crd` may end in `*`.
#[derive(Debug)]
struct Exception {
    crd: String,
    path: String,
    what: String,
}

impl Exception {
    fn allows(&self, difference: &Difference) -> bool {
        let crd = match self.crd.strip_suffix('*') {
            Some(prefix) => difference.crd.starts_with(prefix),
            None => difference.crd == self.crd,
        };
        crd && self.path == difference.path && self.what == difference.what
    }
}

/// All decisions.
#[derive(Debug)]
pub(super) struct Exceptions(Vec<Exception>);

impl Exceptions {
    /// Reads the table: CRD, path, what, reason.
    pub(super) fn parse(table: &str) -> Result<Self> {
        let mut exceptions = Vec::new();
        for (at, line) in table.lines().enumerate().skip(1) {
            let cells: Vec<&str> = line.split('\t').collect();
            match cells[..] {
                [crd, path, what, reason] if !reason.trim().is_empty() => exceptions.push(Exception {
                    crd: crd.to_owned(),
                    path: path.to_owned(),
                    what: what.to_owned(),
                }),
                _ => bail!(
                    "line {} of the exceptions needs CRD, path, what and reason, separated by tabs",
                    at + 1
                ),
            }
        }
        Ok(Self(exceptions))
    }

    /// What is wrong: differences nobody decided, decisions that no longer apply.
    pub(super) fn judge(&self, differences: &[Difference]) -> Vec<String> {
        let undecided = differences
            .iter()
            .filter(|found| !self.0.iter().any(|exception| exception.allows(found)))
            .map(|found| format!("unlisted: {}\t{}\t{}", found.crd, found.path, found.what));
        let idle = self
            .0
            .iter()
            .filter(|exception| !differences.iter().any(|found| exception.allows(found)))
            .map(|exception| {
                format!(
                    "no longer so: {}\t{}\t{}",
                    exception.crd, exception.path, exception.what
                )
            });
        undecided.chain(idle).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "crd\tpath\twhat\treason\n";

    fn difference() -> Difference {
        Difference {
            crd: "metal3.io_hosts".to_owned(),
            path: "v1 spec.a".to_owned(),
            what: "required: yes -> no".to_owned(),
        }
    }

    fn judge(lines: &str, differences: &[Difference]) -> Vec<String> {
        Exceptions::parse(&format!("{HEAD}{lines}"))
            .unwrap()
            .judge(differences)
    }

    #[test]
    fn a_listed_difference_is_allowed() {
        let line = "metal3.io_*\tv1 spec.a\trequired: yes -> no\twe are kind\n";
        assert!(judge(line, &[difference()]).is_empty());
    }

    #[test]
    fn an_unlisted_difference_is_not() {
        let line = "metal3.io_*\tv1 spec.a\trequired: no -> yes\twe are not\n";
        let found = judge(line, &[difference()]);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("unlisted: metal3.io_hosts"));
        assert!(found[1].starts_with("no longer so: metal3.io_*"));
    }

    #[test]
    fn a_line_without_a_reason_is_refused() {
        assert!(Exceptions::parse(&format!("{HEAD}a\tb\tc\t\n")).is_err());
    }
}
