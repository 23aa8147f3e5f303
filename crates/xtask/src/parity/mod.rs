//! `check parity`: the CRDs in the chart against the facts of upstream's CRDs.
//!
//! `crates/api/parity/<group>_<plural>.tsv` holds one fact table per upstream CRD; where we decided otherwise, a line of
//! `exceptions.tsv` tells why. A difference without a line fails, and so does a line without a difference.

mod exceptions;
mod facts;
mod inventory;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{crds, generated::root};
use exceptions::Exceptions;
use inventory::Inventory;

const FACTS: &str = "crates/api/parity";
const EXCEPTIONS: &str = "exceptions.tsv";

/// One thing that is not as upstream has it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    pub(crate) crd: String,
    pub(crate) path: String,
    pub(crate) what: String,
}

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) crds: usize,
    pub(crate) facts: usize,
    pub(crate) excepted: usize,
}

/// Compares all CRDs.
///
/// # Errors
/// When something differs that is not listed, or something listed does not differ.
pub(crate) fn check() -> Result<Summary> {
    let facts = root().join(FACTS);
    let upstream = tables(&facts)?;
    let ours = charted(&root().join(crds::OUT))?;
    let text = fs::read_to_string(facts.join(EXCEPTIONS)).context("cannot read the exceptions")?;
    let exceptions = Exceptions::parse(&text)?;
    let differences = compare(&upstream, &ours);
    let complaints = exceptions.judge(&differences);
    if !complaints.is_empty() {
        bail!(
            "CRDs are not as upstream has them:\n  {}",
            complaints.join("\n  ")
        );
    }
    let facts = upstream.values().map(Inventory::len).sum();
    Ok(Summary {
        crds: ours.len(),
        facts,
        excepted: differences.len(),
    })
}

fn compare(upstream: &BTreeMap<String, Inventory>, ours: &BTreeMap<String, Inventory>) -> Vec<Difference> {
    let whole = |crd: &String, what: &str| Difference {
        crd: crd.clone(),
        path: ".".to_owned(),
        what: what.to_owned(),
    };
    let mut found = Vec::new();
    for (crd, theirs) in upstream {
        match ours.get(crd) {
            Some(ours) => found.extend(theirs.differences(ours, crd)),
            None => found.push(whole(crd, "missing CRD")),
        }
    }
    found.extend(
        ours.keys()
            .filter(|crd| !upstream.contains_key(*crd))
            .map(|crd| whole(crd, "extra CRD")),
    );
    found
}

fn tables(folder: &Path) -> Result<BTreeMap<String, Inventory>> {
    let mut found = BTreeMap::new();
    for (name, text) in files(folder, ".tsv")? {
        if format!("{name}.tsv") != EXCEPTIONS {
            let table = Inventory::parse(&text).with_context(|| format!("fact table {name} is damaged"))?;
            found.insert(name, table);
        }
    }
    Ok(found)
}

fn charted(folder: &Path) -> Result<BTreeMap<String, Inventory>> {
    let mut found = BTreeMap::new();
    for (name, text) in files(folder, ".yaml")? {
        let crd: Value = serde_saphyr::from_str(&text).with_context(|| format!("{name}.yaml is not YAML"))?;
        found.insert(name, Inventory::of(&crd));
    }
    Ok(found)
}

fn files(folder: &Path, suffix: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(stem) = name.strip_suffix(suffix) {
            found.insert(stem.to_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crds_have_upstreams_facts() {
        let summary = check().unwrap();
        assert_eq!(summary.crds, 25);
        assert!(summary.facts > 1900, "{} facts", summary.facts);
    }

    #[test]
    fn a_missing_and_an_extra_crd_are_found() {
        let one = BTreeMap::from([("a".to_owned(), Inventory::default())]);
        let other = BTreeMap::from([("b".to_owned(), Inventory::default())]);
        let what: Vec<_> = compare(&one, &other)
            .into_iter()
            .map(|found| found.what)
            .collect();
        assert_eq!(what, ["missing CRD", "extra CRD"]);
    }
}
