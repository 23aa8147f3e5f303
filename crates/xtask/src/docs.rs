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
    let folder = Folder::new(root)?;
    let [mut flags, metrics] = told(&folder, "metal3-bmo", "reference", ["flags.md", "metrics.md"])?;
    let [of_capm3] = told(&folder, "metal3-capm3", "capm3_reference", ["flags.capm3.md"])?;
    flags.push(b'\n');
    flags.extend(of_capm3);
    pages.extend([("flags.md".to_owned(), flags), ("metrics.md".to_owned(), metrics)]);
    Ok(pages)
}

/// What a program tells of itself. It is asked by running it: were it a part of this one, a generated file that does not
/// compile could not be generated again.
fn told<const N: usize>(
    folder: &Folder,
    package: &str,
    example: &str,
    pages: [&str; N],
) -> Result<[Vec<u8>; N]> {
    let target = folder.0.to_string_lossy();
    cargo_output(&["run", "-q", "-p", package, "--example", example, "--", &target])?;
    let mut written = pages.map(|_| Vec::new());
    for (page, name) in written.iter_mut().zip(pages) {
        *page = fs::read(folder.0.join(name)).with_context(|| format!("{package} wrote no {name}"))?;
    }
    Ok(written)
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
