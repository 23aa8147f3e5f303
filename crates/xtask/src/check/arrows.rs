//! Which crate of ours may use which: the table of `docs/architecture.md`, read against `cargo metadata`.

use anyhow::{Result, bail};
use serde_json::Value;

/// Crate, what it may use, what only its tests may use besides.
const ALLOWED: [(&str, &[&str], &[&str]); 15] = [
    ("metal3-api", &[], &[]),
    ("metal3-bmc", &[], &[]),
    ("metal3-kit", &[], &[]),
    ("metal3-ironic-sim", &[], &[]),
    ("metal3-admission", &["metal3-api", "metal3-bmc"], &[]),
    ("metal3-provisioner", &["metal3-api", "metal3-bmc"], &[]),
    ("metal3-host-core", &["metal3-api", "metal3-provisioner"], &[]),
    ("metal3-capm3-core", &["metal3-api"], &[]),
    ("metal3-rpc", &["metal3-api"], &["metal3-testkit"]),
    (
        "metal3-ironic",
        &["metal3-api", "metal3-bmc", "metal3-provisioner"],
        &["metal3-ironic-sim", "metal3-testkit"],
    ),
    (
        "metal3-bmo",
        &[
            "metal3-admission",
            "metal3-api",
            "metal3-bmc",
            "metal3-provisioner",
            "metal3-host-core",
            "metal3-rpc",
            "metal3-ironic",
            "metal3-kit",
        ],
        &["metal3-ironic-sim", "metal3-testkit"],
    ),
    (
        "metal3-capm3",
        &["metal3-api", "metal3-capm3-core", "metal3-rpc", "metal3-kit"],
        &["metal3-testkit"],
    ),
    (
        "metal3-testkit",
        &[
            "metal3-api",
            "metal3-bmc",
            "metal3-provisioner",
            "metal3-rpc",
            "metal3-kit",
        ],
        &[],
    ),
    (
        "metal3-e2e",
        &[
            "metal3-api",
            "metal3-bmc",
            "metal3-provisioner",
            "metal3-rpc",
            "metal3-kit",
            "metal3-testkit",
        ],
        &[],
    ),
    (
        "xtask",
        &["metal3-api", "metal3-host-core", "metal3-provisioner"],
        &[],
    ),
];

/// Counts the arrows.
///
/// # Errors
/// When an arrow is not allowed, or a crate is not in the table.
pub(super) fn check() -> Result<usize> {
    let arrows = arrows(&super::metadata()?);
    let wrong = wrong(&arrows);
    if !wrong.is_empty() {
        bail!("{}; the table is in docs/architecture.md", wrong.join("; "));
    }
    Ok(arrows.iter().filter(|arrow| !arrow.to.is_empty()).count())
}

struct Arrow {
    from: String,
    /// Empty for the crate itself, so that one without arrows is seen too.
    to: String,
    dev: bool,
}

fn arrows(metadata: &Value) -> Vec<Arrow> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let ours: Vec<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut arrows = Vec::new();
    for package in packages {
        let from = package["name"].as_str().unwrap_or_default();
        arrows.push(Arrow {
            from: from.to_owned(),
            to: String::new(),
            dev: false,
        });
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            if ours.contains(&to) {
                let dev = dependency["kind"] == "dev";
                arrows.push(Arrow {
                    from: from.to_owned(),
                    to: to.to_owned(),
                    dev,
                });
            }
        }
    }
    arrows
}

fn wrong(arrows: &[Arrow]) -> Vec<String> {
    let complain = |arrow: &Arrow| {
        let Some((_, uses, tests)) = ALLOWED.iter().find(|(name, ..)| *name == arrow.from) else {
            return Some(format!("crate {} has no row in the table of arrows", arrow.from));
        };
        let to = arrow.to.as_str();
        let fine = to.is_empty() || uses.contains(&to) || (arrow.dev && tests.contains(&to));
        (!fine).then(|| {
            let tests = if arrow.dev { " even in its tests" } else { "" };
            format!("{} must not use {to}{tests}", arrow.from)
        })
    };
    arrows.iter().filter_map(complain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: &str, to: &str, dev: bool) -> Arrow {
        Arrow {
            from: from.to_owned(),
            to: to.to_owned(),
            dev,
        }
    }

    #[test]
    fn crates_use_only_what_the_table_allows() {
        assert!(check().unwrap() > 20);
    }

    #[test]
    fn a_wrong_arrow_is_named() {
        assert_eq!(
            wrong(&[arrow("metal3-capm3", "metal3-bmo", false)]),
            ["metal3-capm3 must not use metal3-bmo"]
        );
        assert_eq!(wrong(&[arrow("metal3-bmo", "metal3-testkit", false)]).len(), 1);
        assert!(wrong(&[arrow("metal3-bmo", "metal3-testkit", true)]).is_empty());
    }

    #[test]
    fn a_crate_without_a_row_is_named() {
        assert_eq!(
            wrong(&[arrow("new", "", false)]),
            ["crate new has no row in the table of arrows"]
        );
    }
}
