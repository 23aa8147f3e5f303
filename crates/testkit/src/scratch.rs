//! Folders for the files of a test process; all are removed when it ends, in whatever way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};

struct Root {
    path: PathBuf,
    /// Waits for the end of its input, which is the end of this process, and removes the folder.
    _cleaner: Option<Child>,
}

static ROOT: LazyLock<Result<Root, String>> = LazyLock::new(|| root().map_err(|error| format!("{error:#}")));
static COUNT: AtomicUsize = AtomicUsize::new(0);

const CLEANER: &str = r#"trap '' INT TERM HUP; cat >/dev/null; until rm -rf "$1"; do sleep 1; done"#;

fn root() -> Result<Root> {
    let path = tempfile::Builder::new().prefix("metal3-test-").tempdir()?.keep();
    if std::env::var_os("METAL3_TEST_KEEP").is_some() {
        eprintln!("files of this test run are kept in {}", path.display());
        return Ok(Root { path, _cleaner: None });
    }
    let cleaner = Command::new("sh")
        .args(["-c", CLEANER, "cleaner"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start sh")?;
    Ok(Root {
        path,
        _cleaner: Some(cleaner),
    })
}

/// A new empty folder.
///
/// # Errors
/// When it cannot be made.
pub fn dir(purpose: &str) -> Result<PathBuf> {
    let root = ROOT
        .as_ref()
        .map_err(|error| anyhow::anyhow!("no folder for test files: {error}"))?;
    let path = root
        .path
        .join(format!("{purpose}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// Writes a file into a folder and answers its path.
///
/// # Errors
/// When it cannot be written.
pub fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
