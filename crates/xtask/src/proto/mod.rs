//! The contract in `proto/`: its generated code and descriptor set, made without `protoc`, and the rules that it keeps.
//!
//! * `lint.rs` how it is written
//! * `facts.rs` what others rely on; `baseline.rs` that none of it is taken away unseen

mod baseline;
mod facts;
mod lint;
#[cfg(test)]
mod sample;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::generated::root;

/// Where the generated files go, from the repository's root.
pub(crate) const OUT: &str = "crates/rpc/src/gen";
const FOLDER: &str = "proto";

/// The generated files by name, so that a check can compare them with those on disk.
///
/// # Errors
/// When a proto file does not compile.
pub(crate) fn generate(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let set = compile(root)?;
    let out = std::env::temp_dir().join(format!("metal3-gen-{}", std::process::id()));
    fs::create_dir_all(&out)?;
    let mut files = BTreeMap::from([("descriptor.bin".to_owned(), set.encode_to_vec())]);
    let built = tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .out_dir(&out)
        .compile_fds(set)
        .context("code generation failed");
    for entry in fs::read_dir(&out)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        files.insert(name, fs::read(&path)?);
    }
    fs::remove_dir_all(&out)?;
    built.map(|()| files)
}

/// Looks at how the contract is written, and that it still is what its baseline says.
///
/// # Errors
/// Tells everything that is wrong, each with its remedy.
pub(crate) fn check() -> Result<String> {
    let set = compile(&root())?;
    let facts = facts::of(&set);
    let mut wrong = lint::check(&set);
    wrong.extend(baseline::check(&baseline::read(&root())?, &facts));
    if !wrong.is_empty() {
        bail!("{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
    Ok(format!("{} facts of the contract, all as before", facts.len()))
}

/// Makes the contract as it is now the one that later changes are compared with.
///
/// # Errors
/// When something was removed whose number and name are not reserved: somebody could give them another meaning.
pub(crate) fn accept() -> Result<()> {
    let facts = facts::of(&compile(&root())?);
    let unreserved = baseline::unreserved(&baseline::read(&root())?, &facts);
    if !unreserved.is_empty() {
        bail!("not accepted:\n{}", unreserved.join("\n"));
    }
    baseline::write(&root(), &facts)
}

/// All files below `proto/`, with those that they import and with their comments.
fn compile(root: &Path) -> Result<FileDescriptorSet> {
    let folder = root.join(FOLDER);
    let mut files = Vec::new();
    find(&folder, &mut files)?;
    files.sort();
    protox::compile(files, [folder]).context("proto/ does not compile")
}

fn find(folder: &Path, found: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_contract_keeps_its_rules_and_its_promises() {
        super::check().unwrap();
    }
}
