//! `gen proto`: the committed gRPC code and descriptor set of `metal3-rpc`, made from `proto/` without `protoc`.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use prost::Message as _;

/// Where the generated files go, from the repository's root.
pub(crate) const OUT: &str = "crates/rpc/src/gen";
const PROTOS: [&str; 2] = ["metal3/host/v1/host.proto", "metal3/host/v1/host_service.proto"];

/// The generated files by name, so that a check can compare them with those on disk.
///
/// # Errors
/// When a proto file does not compile.
pub(crate) fn generate(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let set = protox::compile(PROTOS, [root.join("proto")]).context("proto/ does not compile")?;
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
