//! Where the real programs are.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// The program of that name from the tool cache.
///
/// Looked for in `METAL3_TOOLS/bin`, `KUBEBUILDER_ASSETS` and `~/.cache/metal3-tools/bin`, in this order.
///
/// # Errors
/// When it was not built; the message says how to.
pub fn find(tool: &str) -> Result<PathBuf> {
    let folders = folders();
    match folders
        .iter()
        .map(|folder| folder.join(tool))
        .find(|path| path.exists())
    {
        Some(path) => Ok(path),
        None => {
            let group = if ["etcd", "kube-apiserver", "kubectl"].contains(&tool) {
                "control-plane"
            } else {
                tool
            };
            bail!("{tool} is not in {folders:?}: run `hack/tools/build.sh {group}` once, or set METAL3_TOOLS")
        }
    }
}

fn folders() -> Vec<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = variable("METAL3_TOOLS").map(|cache| cache.join("bin"));
    let home = variable("HOME").map(|home| home.join(".cache/metal3-tools/bin"));
    [cache, variable("KUBEBUILDER_ASSETS"), home]
        .into_iter()
        .flatten()
        .collect()
}
