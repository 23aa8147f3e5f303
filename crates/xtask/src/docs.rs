//! `gen docs`: pages made from tables in the code and from the schemas of the charts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::check::cargo_output;
use crate::{reasons, values};

/// Where the pages go, from the repository's root.
pub(crate) const OUT: &str = "docs";

/// The pages by name.
pub(crate) fn generate(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let states = metal3_host_core::transitions::markdown();
    let mut pages = BTreeMap::from([
        ("host-states.md".to_owned(), states.into_bytes()),
        ("reasons.md".to_owned(), reasons::markdown().into_bytes()),
        ("values.md".to_owned(), values::markdown(root)?.into_bytes()),
    ]);
    pages.extend(of_bmo(root)?);
    Ok(pages)
}

/// What bmo tells of itself. It is asked by running it: were it a part of this program, a generated file that does not
/// compile could not be generated again.
fn of_bmo(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let folder = Folder::new(root)?;
    let target = folder.0.to_string_lossy();
    cargo_output(&[
        "run",
        "-q",
        "-p",
        "metal3-bmo",
        "--example",
        "reference",
        "--",
        &target,
    ])?;
    ["flags.md", "metrics.md"]
        .into_iter()
        .map(|name| {
            let page = fs::read(folder.0.join(name)).with_context(|| format!("bmo wrote no {name}"))?;
            Ok((name.to_owned(), page))
        })
        .collect()
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(root: &Path) -> Result<Self> {
        let folder = root
            .join("target")
            .join(format!("reference.{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left lies in the folder for what is made.
        fs::remove_dir_all(&self.0).ok();
    }
}
