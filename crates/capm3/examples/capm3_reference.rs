//! Writes the page of the documentation that the program makes of itself into a folder; `cargo xtask gen docs` runs it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use metal3_capm3::reference;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.context("give the folder for the page")?;
    std::fs::write(folder.join("flags.capm3.md"), reference::flags())?;
    Ok(())
}
