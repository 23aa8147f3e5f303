//! The charts at a version, and real Helm to make something of them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::generated;

const CHARTS: [&str; 4] = ["metal3-crds", "metal3-bmo", "metal3-capm3", "metal3"];

/// A copy of the charts in a folder of its own, which goes with this.
pub(crate) struct Stage(PathBuf);

impl Stage {
    /// Copies the charts and gives them that version.
    pub(crate) fn new(version: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("metal3-charts-{}", std::process::id()));
        let stage = Self(folder);
        for chart in CHARTS {
            let (from, to) = (generated::root().join("charts").join(chart), stage.chart(chart));
            copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
            let file = to.join("Chart.yaml");
            let text = fs::read_to_string(&file)?;
            let ours = format!("ersion: {}\n", env!("CARGO_PKG_VERSION"));
            ensure!(
                text.contains(&format!("\nv{ours}appV{ours}")),
                "charts/{chart}/Chart.yaml: version and appVersion are not those of the workspace, {}",
                env!("CARGO_PKG_VERSION")
            );
            fs::write(&file, text.replace(&ours, &format!("ersion: {version}\n")))?;
        }
        Ok(stage)
    }

    fn chart(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Renders a chart. The schema is not asked: clusterctl's variables are texts where it wants numbers.
    pub(crate) fn render(
        &self,
        chart: &str,
        namespace: &str,
        values: &str,
        image_tag: Option<&str>,
    ) -> Result<String> {
        let mut command = self.helm();
        command.args(["template", "metal3"]).arg(self.chart(chart)).args([
            "--namespace",
            namespace,
            "--skip-schema-validation",
            // clusterctl knows no hooks: it would make these pods like any other object.
            "--skip-tests",
            "-f",
            "-",
        ]);
        if let Some(tag) = image_tag {
            command.args(["--set-string", &format!("image.tag={tag}")]);
        }
        run(command, values)
    }

    /// Packs all charts into a folder.
    pub(crate) fn package(&self, out: &Path) -> Result<()> {
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        let mut command = self.helm();
        command
            .args(["dependency", "update", "--skip-refresh"])
            .arg(self.chart("metal3"));
        run(command, "")?;
        let mut command = self.helm();
        command.args(["package", "--destination"]).arg(out);
        command.args(CHARTS.map(|chart| self.chart(chart)));
        run(command, "").map(drop)
    }

    fn helm(&self) -> Command {
        let mut command = Command::new(program());
        for folder in ["CACHE", "CONFIG", "DATA"] {
            command.env(format!("HELM_{folder}_HOME"), self.0.join(".helm"));
        }
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What stays in the folder for temporary files does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn program() -> PathBuf {
    let cache = std::env::var_os("METAL3_TOOLS").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/metal3-tools"));
    cache.or_else(home).unwrap_or_default().join("bin/helm")
}

fn run(mut command: Command, input: &str) -> Result<String> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {shown}: build it by hack/tools/build.sh helm"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Writes `SHA256SUMS` of all files in these folders.
pub(crate) fn sums(out: &Path, folders: &[&str]) -> Result<()> {
    let mut files = Vec::new();
    for folder in folders {
        list(&out.join(folder), Path::new(folder), &mut files)?;
    }
    files.sort();
    let mut command = Command::new("sha256sum");
    command.current_dir(out).args(files);
    fs::write(out.join("SHA256SUMS"), run(command, "")?)?;
    Ok(())
}

fn list(folder: &Path, name: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = name.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &name, files)?;
        } else {
            files.push(name);
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "Chart.lock" {
            // Of the version in the repository.
        } else if entry.file_type()?.is_dir() {
            // `helm dependency build` leaves copies of the other charts in charts/.
            if name != "charts" {
                copy(&entry.path(), &to.join(name))?;
            }
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
