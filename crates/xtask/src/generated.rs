//! The generated files of the repository: made in memory, written by `gen`, compared by `check drift` and a test.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{crds, docs, proto};

/// A family of generated files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    Crds,
    Proto,
    Docs,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn make(what: What, root: &Path) -> Result<(&'static str, BTreeMap<String, Vec<u8>>)> {
    Ok(match what {
        What::Crds => (crds::OUT, crds::generate()?),
        What::Proto => (proto::OUT, proto::generate(root)?),
        What::Docs => (docs::OUT, docs::generate(root)?),
    })
}

fn selected(what: &[What]) -> Vec<What> {
    if what.is_empty() {
        What::value_variants().to_vec()
    } else {
        what.to_vec()
    }
}

/// Writes the files.
pub(crate) fn write(what: &[What]) -> Result<()> {
    let root = root();
    for what in selected(what) {
        let (folder, files) = make(what, &root)?;
        let folder = root.join(folder);
        fs::create_dir_all(&folder)?;
        for (name, content) in files {
            fs::write(folder.join(&name), content).with_context(|| format!("cannot write {name}"))?;
        }
    }
    Ok(())
}

/// Compares the files on disk with what would be written.
pub(crate) fn drift() -> Result<()> {
    let root = root();
    let mut stale = Vec::new();
    for what in selected(&[]) {
        let (folder, files) = make(what, &root)?;
        for (name, content) in files {
            let path = Path::new(folder).join(name);
            if fs::read(root.join(&path)).ok() != Some(content) {
                stale.push(path.display().to_string());
            }
        }
    }
    if !stale.is_empty() {
        bail!(
            "generated files are stale; run `cargo xtask gen`: {}",
            stale.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_files_are_up_to_date() {
        super::drift().unwrap();
    }
}
