//! The crates that decide do no input or output: no runtime, no transport, no client in their trees.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::generated::root;

const PURE: [&str; 6] = [
    "admission",
    "api",
    "bmc",
    "provisioner",
    "host-core",
    "capm3-core",
];
const BANNED: [&str; 5] = ["tokio", "hyper", "rustls", "tonic", "reqwest"];
const CLOCKS: [&str; 5] = [
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "rand::random",
];

/// Looks at the trees, and at the clippy configuration that forbids clocks and dice.
///
/// # Errors
/// When a pure crate pulls in what it must not, or has no such configuration.
pub(super) fn check() -> Result<String> {
    let mut sizes = Vec::new();
    for name in PURE {
        let tree = tree(&format!("metal3-{name}"))?;
        let found = banned(&tree);
        if !found.is_empty() {
            bail!("metal3-{name} must stay pure but pulls in {}", found.join(", "));
        }
        forbids_clocks(&root().join("crates").join(name))?;
        sizes.push(format!("{name} {}", tree.len()));
    }
    Ok(format!("crates in the trees: {}", sizes.join(", ")))
}

fn tree(package: &str) -> Result<BTreeSet<String>> {
    let lines = super::cargo_output(&[
        "tree", "-p", package, "-e", "normal", "--prefix", "none", "--locked",
    ])?;
    Ok(lines
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

fn banned(tree: &BTreeSet<String>) -> Vec<&'static str> {
    BANNED.into_iter().filter(|name| tree.contains(*name)).collect()
}

/// Clippy reads the nearest file only, so that each pure crate needs its own.
fn forbids_clocks(folder: &Path) -> Result<()> {
    let path = folder.join("clippy.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} is missing", path.display()))?;
    for clock in CLOCKS {
        if !text.contains(clock) {
            bail!("{} does not forbid {clock}", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_crates_are_pure() {
        check().unwrap();
    }

    #[test]
    fn a_runtime_in_a_tree_is_found() {
        let tree = BTreeSet::from(["serde".to_owned(), "tokio".to_owned()]);
        assert_eq!(banned(&tree), ["tokio"]);
        // The same command on a crate that does transport, so that an empty answer means purity.
        let transport: BTreeSet<String> = super::tree("metal3-rpc").unwrap();
        assert!(banned(&transport).contains(&"tonic"));
    }
}
