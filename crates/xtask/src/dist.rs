//! `dist`: the folder that clusterctl installs the provider from, rendered from the charts with real Helm.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{crds, generated};

/// Both services share one namespace: everything in a components file is moved into one.
const NAMESPACE: &str = "capm3-system";
const PROVIDER: &str = "infrastructure-metal3";

/// What clusterctl fills in, as values of the charts.
const BMO_VALUES: &[&str] = &[
    "ironic.endpoint=${IRONIC_ENDPOINT}",
    "ironic.insecure=${IRONIC_INSECURE:=false}",
    "ironic.username=${IRONIC_USERNAME:=\"\"}",
    "ironic.password=${IRONIC_PASSWORD:=\"\"}",
    "ironic.deployKernelUrl=${DEPLOY_KERNEL_URL:=\"\"}",
    "ironic.deployRamdiskUrl=${DEPLOY_RAMDISK_URL:=\"\"}",
    "ironic.provisioningLimit=${PROVISIONING_LIMIT:=20}",
];
const CAPM3_VALUES: &[&str] = &["fastTrack=${CAPM3_FAST_TRACK:=false}"];

/// Writes `<out>/infrastructure-metal3/v<version>/`; the path of that folder.
pub(crate) fn write(out: &Path) -> Result<PathBuf> {
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    let folder = out.join(PROVIDER).join(&version);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(folder.join("infrastructure-components.yaml"), components()?)?;
    fs::write(folder.join("metadata.yaml"), metadata()?)?;
    let templates = generated::root().join("templates");
    for entry in fs::read_dir(&templates).with_context(|| format!("cannot read {}", templates.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    Ok(folder)
}

fn components() -> Result<String> {
    let mut text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
         cluster.x-k8s.io/provider: {PROVIDER}\n    pod-security.kubernetes.io/enforce: restricted\n"
    );
    for crd in crds::generate()?.into_values() {
        text.push_str("---\n");
        text.push_str(&String::from_utf8(crd)?);
    }
    text.push_str(&render("metal3-bmo", BMO_VALUES)?);
    text.push_str(&render("metal3-capm3", CAPM3_VALUES)?);
    Ok(text)
}

fn render(chart: &str, values: &[&str]) -> Result<String> {
    let helm = helm();
    let mut command = Command::new(&helm);
    command
        .args(["template", "metal3"])
        .arg(generated::root().join("charts").join(chart))
        .args(["--namespace", NAMESPACE]);
    for value in values {
        command.args(["--set-string", value]);
    }
    let output = command.output().with_context(|| {
        format!(
            "cannot run {}: build it by hack/tools/build.sh helm",
            helm.display()
        )
    })?;
    if !output.status.success() {
        bail!(
            "helm template {chart}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?
        .lines()
        .map(|line| unquote(line) + "\n")
        .collect())
}

/// clusterctl only takes an empty default as `:=""`, which ends a quoted text: the value stands unquoted, as a string.
fn unquote(line: &str) -> String {
    line.split_once(": \"${")
        .and_then(|(key, rest)| {
            Some(format!(
                "{key}: !!str ${{{}\"\"}}",
                rest.strip_suffix(r#"\"\"}""#)?
            ))
        })
        .unwrap_or_else(|| line.to_owned())
}

fn helm() -> PathBuf {
    let cache = std::env::var_os("METAL3_TOOLS").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/metal3-tools"));
    cache.or_else(home).unwrap_or_default().join("bin/helm")
}

fn metadata() -> Result<String> {
    let mut parts = env!("CARGO_PKG_VERSION").split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        bail!("the version has no minor")
    };
    let mut text =
        String::from("apiVersion: clusterctl.cluster.x-k8s.io/v1alpha3\nkind: Metadata\nreleaseSeries:\n");
    writeln!(text, "- major: {major}\n  minor: {minor}\n  contract: v1beta2")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_default_stays_a_string() {
        assert_eq!(
            unquote(r#"  password: "${IRONIC_PASSWORD:=\"\"}""#),
            r#"  password: !!str ${IRONIC_PASSWORD:=""}"#
        );
        assert_eq!(unquote(r#"  a: "${B:=false}""#), r#"  a: "${B:=false}""#);
    }
}
