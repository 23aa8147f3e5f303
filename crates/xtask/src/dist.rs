//! `dist`: what a release consists of, made from the charts with real Helm: the folder that clusterctl installs the
//! provider from, and the packages of the charts.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::generated;
use crate::helm::{self, Stage};

/// Both services share one namespace: everything in a components file is moved into one.
const NAMESPACE: &str = "capm3-system";
const PROVIDER: &str = "infrastructure-metal3";

/// What clusterctl fills in, as values of the charts.
const VALUES: [(&str, &str); 3] = [
    ("metal3-crds", ""),
    (
        "metal3-bmo",
        r#"
commonLabels: {cluster.x-k8s.io/provider: infrastructure-metal3}
metrics: {service: {enabled: false}}
ironic:
  endpoint: ${IRONIC_ENDPOINT}
  insecure: ${IRONIC_INSECURE:=false}
  username: '${IRONIC_USERNAME:=""}'
  password: '${IRONIC_PASSWORD:=""}'
  deployKernelUrl: '${DEPLOY_KERNEL_URL:=""}'
  deployRamdiskUrl: '${DEPLOY_RAMDISK_URL:=""}'
  provisioningLimit: ${PROVISIONING_LIMIT:=20}
"#,
    ),
    (
        "metal3-capm3",
        r"
commonLabels: {cluster.x-k8s.io/provider: infrastructure-metal3}
metrics: {service: {enabled: false}}
fastTrack: ${CAPM3_FAST_TRACK:=false}
",
    ),
];

/// What to release.
#[derive(clap::Args)]
pub(crate) struct Release {
    /// Where to.
    #[arg(default_value = "dist")]
    out: PathBuf,
    /// Version of the release, for example v0.2.0: that of the workspace when absent.
    #[arg(long)]
    version: Option<Version>,
    /// Tag of the images: the version when absent.
    #[arg(long)]
    image_tag: Option<String>,
}

/// Writes `<out>/infrastructure-metal3/v<version>/`, `<out>/charts/` and `<out>/SHA256SUMS`; the path of the first.
pub(crate) fn write(release: &Release) -> Result<PathBuf> {
    let version = match &release.version {
        Some(version) => version.clone(),
        None => env!("CARGO_PKG_VERSION").parse()?,
    };
    let stage = Stage::new(&version.text)?;
    let folder = release.out.join(PROVIDER).join(format!("v{}", version.text));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let components = components(&stage, release.image_tag.as_deref())?;
    fs::write(folder.join("infrastructure-components.yaml"), components)?;
    fs::write(folder.join("metadata.yaml"), metadata(&version)?)?;
    let templates = generated::root().join("templates");
    for entry in fs::read_dir(&templates).with_context(|| format!("cannot read {}", templates.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    stage.package(&release.out.join("charts"))?;
    helm::sums(&release.out, &[PROVIDER, "charts"])?;
    Ok(folder)
}

fn components(stage: &Stage, image_tag: Option<&str>) -> Result<String> {
    let mut text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
         cluster.x-k8s.io/provider: {PROVIDER}\n    pod-security.kubernetes.io/enforce: restricted\n"
    );
    for (chart, values) in VALUES {
        let tag = image_tag.filter(|_| chart != "metal3-crds");
        let rendered = stage.render(chart, NAMESPACE, values, tag)?;
        text.extend(rendered.lines().filter_map(line));
    }
    Ok(text)
}

/// A line of what Helm rendered, as clusterctl needs it.
fn line(line: &str) -> Option<String> {
    // Directives of the CRDs leave empty comments, and no chart is installed. What the checksum is of, is not known yet.
    let left_out = ["helm.sh/chart:", "checksum/ironic:", "# The environment is read"];
    let trimmed = line.trim();
    if trimmed == "#" || left_out.iter().any(|start| trimmed.starts_with(start)) {
        return None;
    }
    let line = line.replace("managed-by: Helm", "managed-by: clusterctl");
    Some(unquote(&line) + "\n")
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

/// A semantic version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    text: String,
    major: u32,
    minor: u32,
}

impl std::str::FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = text.strip_prefix('v').unwrap_or(text);
        let release = plain.split('-').next().unwrap_or_default();
        let parts: Result<Vec<u32>, _> = release.split('.').map(str::parse).collect();
        match parts.as_deref() {
            Ok([major, minor, _]) => Ok(Self {
                text: plain.to_owned(),
                major: *major,
                minor: *minor,
            }),
            _ => bail!("{text:?} is no version: give for example v0.2.0"),
        }
    }
}

/// All series up to that version: clusterctl looks for the one that is installed, too.
fn metadata(version: &Version) -> Result<String> {
    let first: Version = env!("CARGO_PKG_VERSION").parse()?;
    let mut series = vec![(version.major, version.minor)];
    if version.major == first.major {
        series.extend((first.minor..version.minor).map(|minor| (first.major, minor)));
    } else if version.major > first.major {
        series.push((first.major, first.minor));
        series.extend((0..version.minor).map(|minor| (version.major, minor)));
    }
    series.sort_unstable();
    ensure!(
        series.is_sorted_by(|a, b| a < b),
        "a series is listed twice: {series:?}"
    );
    let mut text =
        String::from("apiVersion: clusterctl.cluster.x-k8s.io/v1alpha3\nkind: Metadata\nreleaseSeries:\n");
    for (major, minor) in series {
        writeln!(text, "- major: {major}\n  minor: {minor}\n  contract: v1beta2")?;
    }
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

    #[test]
    fn what_only_helm_needs_is_left_out() {
        assert_eq!(line("    helm.sh/chart: metal3-bmo-0.1.0"), None);
        assert_eq!(line("    #"), None);
        assert_eq!(
            line("  app.kubernetes.io/managed-by: Helm").as_deref(),
            Some("  app.kubernetes.io/managed-by: clusterctl\n")
        );
    }

    #[test]
    fn the_metadata_list_all_series_up_to_the_version() {
        for (version, series) in [
            ("0.1.0", &[(0, 1)][..]),
            ("v0.3.2", &[(0, 1), (0, 2), (0, 3)]),
            ("1.1.0-rc.1", &[(0, 1), (1, 0), (1, 1)]),
        ] {
            let text = metadata(&version.parse().unwrap()).unwrap();
            let want: String = series
                .iter()
                .map(|(major, minor)| format!("- major: {major}\n  minor: {minor}\n  contract: v1beta2\n"))
                .collect();
            assert!(text.ends_with(&format!("releaseSeries:\n{want}")), "{text}");
        }
        assert!("0.2".parse::<Version>().is_err());
        assert!("latest".parse::<Version>().is_err());
    }
}
