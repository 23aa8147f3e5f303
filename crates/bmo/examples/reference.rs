//! Writes the pages of the documentation that the program makes of itself into a folder; `cargo xtask gen docs` runs it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use metal3_bmo::reference;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.context("give the folder for the pages")?;
    std::fs::write(folder.join("flags.md"), reference::flags())?;
    std::fs::write(folder.join("metrics.md"), reference::metrics())?;
    Ok(())
}
