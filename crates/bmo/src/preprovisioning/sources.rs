//! Ramdisks that are the same for all hosts of an architecture: `DEPLOY_{ISO,KERNEL,RAMDISK}_URL` and their forms.

use std::collections::BTreeMap;

use metal3_api::metal3::preprovisioning_image::ImageFormat;

const ISO: &str = "DEPLOY_ISO";
const KERNEL: &str = "DEPLOY_KERNEL";
const RAMDISK: &str = "DEPLOY_RAMDISK";

/// The variables that name ramdisks.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    variables: BTreeMap<String, String>,
}

/// A ramdisk that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) image_url: String,
    pub(super) kernel_url: Option<String>,
}

impl Sources {
    /// `None` when no format is possible: somebody else builds.
    pub(crate) fn from_env(variables: impl IntoIterator<Item = (String, String)>) -> Option<Self> {
        let variables: BTreeMap<_, _> = variables
            .into_iter()
            .filter(|(name, value)| {
                [ISO, KERNEL, RAMDISK].iter().any(|what| name.starts_with(what)) && !value.is_empty()
            })
            .collect();
        let has = |what: &str| {
            let forms = [format!("{what}_URL"), format!("{what}_BY_ARCH")];
            variables
                .keys()
                .any(|name| forms.iter().any(|form| name.starts_with(form)))
        };
        (has(ISO) || (has(KERNEL) && has(RAMDISK))).then_some(Self { variables })
    }

    /// The ramdisk of a format for an architecture; empty when that is unknown.
    pub(super) fn get(&self, format: ImageFormat, architecture: &str) -> Option<Source> {
        let url = |what| self.url(what, architecture).map(str::to_owned);
        match format {
            ImageFormat::Iso => Some(Source {
                image_url: url(ISO)?,
                kernel_url: None,
            }),
            ImageFormat::Initrd => Some(Source {
                image_url: url(RAMDISK)?,
                kernel_url: Some(url(KERNEL)?),
            }),
        }
    }

    fn url(&self, what: &str, architecture: &str) -> Option<&str> {
        let own = format!("{what}_URL_{}", architecture.to_ascii_uppercase());
        let listed = || {
            let list = self.variables.get(&format!("{what}_BY_ARCH"))?;
            list.split(',')
                .filter_map(|entry| entry.trim().split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case(architecture))
                .map(|(_, url)| url)
        };
        let base = || self.variables.get(&format!("{what}_URL")).map(String::as_str);
        let own = self.variables.get(&own).map(String::as_str);
        own.or_else(listed).or_else(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(variables: &[(&str, &str)]) -> Option<Sources> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Sources::from_env(variables.iter().map(owned))
    }

    #[test]
    fn a_format_must_be_possible() {
        assert!(sources(&[]).is_none());
        assert!(sources(&[("DEPLOY_ISO_URL", "")]).is_none());
        assert!(sources(&[("DEPLOY_KERNEL_URL", "k")]).is_none());
        assert!(sources(&[("DEPLOY_RAMDISK_URL", "r"), ("PATH", "/bin")]).is_none());
        assert!(sources(&[("DEPLOY_ISO_URL", "i")]).is_some());
        assert!(sources(&[("DEPLOY_ISO_BY_ARCH", "aarch64:i")]).is_some());
        assert!(sources(&[("DEPLOY_KERNEL_URL", "k"), ("DEPLOY_RAMDISK_URL_AARCH64", "r")]).is_some());
    }

    #[test]
    fn the_form_of_the_architecture_wins_over_the_list_and_the_list_over_the_base() {
        let sources = sources(&[
            ("DEPLOY_ISO_URL", "base"),
            (
                "DEPLOY_ISO_BY_ARCH",
                "X86_64:http://list/x, aarch64:http://list/a",
            ),
            ("DEPLOY_ISO_URL_AARCH64", "own"),
        ])
        .unwrap();
        let iso = |architecture| sources.get(ImageFormat::Iso, architecture).unwrap().image_url;
        assert_eq!(iso("aarch64"), "own");
        assert_eq!(iso("x86_64"), "http://list/x");
        assert_eq!(iso("riscv64"), "base");
        assert_eq!(iso(""), "base");
        assert_eq!(sources.get(ImageFormat::Initrd, "x86_64"), None);
    }

    #[test]
    fn an_initrd_needs_its_kernel() {
        let sources = sources(&[
            ("DEPLOY_RAMDISK_URL", "r"),
            ("DEPLOY_RAMDISK_URL_AARCH64", "ra"),
            ("DEPLOY_KERNEL_URL_X86_64", "k"),
        ])
        .unwrap();
        let source = sources.get(ImageFormat::Initrd, "x86_64").unwrap();
        assert_eq!(
            (source.image_url.as_str(), source.kernel_url.as_deref()),
            ("r", Some("k"))
        );
        assert_eq!(sources.get(ImageFormat::Initrd, "aarch64"), None);
    }
}
