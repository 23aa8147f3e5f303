//! What of TLS a listener offers: Go's names for versions, cipher suites and curves.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{NamedGroup, SupportedCipherSuite, SupportedProtocolVersion};

use super::{Protocol, provider};

/// Suites of Go that are not offered here: without forward secrecy or authenticated encryption.
const WEAK: [&str; 14] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

/// Versions that upstream's capm3 takes as the lowest and nobody should speak.
const OLD: [&str; 2] = ["VersionTLS10", "VersionTLS11"];

/// Upstream's flags.
#[derive(clap::Args, Clone, Debug)]
pub struct OfferArgs {
    /// Lowest version of TLS that webhooks and metrics speak: TLS12 or TLS13, or VersionTLS12 or VersionTLS13.
    #[arg(long, default_value = "TLS12")]
    pub tls_min_version: String,
    /// Highest version of TLS that webhooks and metrics speak: TLS12 or TLS13, or VersionTLS12 or VersionTLS13.
    #[arg(long, default_value = "TLS13")]
    pub tls_max_version: String,
    /// Cipher suites of TLS 1.2, separated by commas, in Go's names; empty: all that are safe.
    #[arg(long, default_value = "")]
    pub tls_cipher_suites: String,
    /// Curves for the key exchange, best first, separated by commas; empty: all.
    #[arg(long, default_value = "")]
    pub tls_curve_preferences: String,
}

/// Versions, cipher suites and curves of a listener.
#[derive(Clone, Debug)]
pub struct Offer {
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl Offer {
    /// What a protocol needs. gRPC clients are ours and current; the API server of an old cluster may still speak TLS 1.2
    /// to webhooks.
    pub fn of(protocol: Protocol) -> Self {
        Self {
            versions: match protocol {
                Protocol::Http1 => vec![&rustls::version::TLS13, &rustls::version::TLS12],
                Protocol::Http2 => vec![&rustls::version::TLS13],
            },
            provider: provider(),
        }
    }
}

impl OfferArgs {
    /// What the flags say.
    ///
    /// # Errors
    /// When a word is unknown, or nothing would be left to offer.
    pub fn offer(&self) -> Result<Offer> {
        let lowest = if OLD.contains(&self.tls_min_version.as_str()) {
            tracing::warn!(
                version = self.tls_min_version,
                "version of --tls-min-version is not offered: it is not safe; the lowest is TLS12"
            );
            12
        } else {
            version("--tls-min-version", &self.tls_min_version)?
        };
        let highest = version("--tls-max-version", &self.tls_max_version)?;
        ensure!(
            lowest <= highest,
            "--tls-min-version {} is above --tls-max-version {}",
            self.tls_min_version,
            self.tls_max_version
        );
        let versions = [(13, &rustls::version::TLS13), (12, &rustls::version::TLS12)]
            .into_iter()
            .filter(|(number, _)| (lowest..=highest).contains(number))
            .map(|(_, version)| version)
            .collect();
        let mut provider = (*provider()).clone();
        if lowest < 13 {
            // As with Go, those of TLS 1.3 cannot be chosen.
            let chosen = suites(&self.tls_cipher_suites, &provider.cipher_suites)?;
            provider.cipher_suites = chosen;
        }
        provider.kx_groups = curves(&self.tls_curve_preferences, &provider.kx_groups)?;
        Ok(Offer {
            versions,
            provider: Arc::new(provider),
        })
    }
}

fn version(flag: &str, word: &str) -> Result<u8> {
    // Upstream's capm3 has the names of Go's constants, upstream's bmo has them without the first word.
    match word.strip_prefix("Version").unwrap_or(word) {
        "TLS12" => Ok(12),
        "TLS13" => Ok(13),
        _ => bail!("{flag} {word} is not known; use TLS12 or TLS13"),
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Go's name of a suite.
fn name(suite: SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

fn suites(list: &str, known: &[SupportedCipherSuite]) -> Result<Vec<SupportedCipherSuite>> {
    let mut chosen = Vec::new();
    for word in words(list) {
        // Go has two names for these.
        let wanted = match word.strip_suffix("_CHACHA20_POLY1305") {
            Some(begin) => format!("{begin}_CHACHA20_POLY1305_SHA256"),
            None => word.to_owned(),
        };
        match known.iter().find(|suite| name(**suite) == wanted) {
            Some(suite) => chosen.push(*suite),
            None if WEAK.contains(&word) => {
                tracing::warn!(
                    suite = word,
                    "cipher suite of --tls-cipher-suites is not offered: it is not safe"
                );
            }
            None => {
                let known: Vec<_> = known.iter().map(|suite| name(*suite)).collect();
                bail!(
                    "--tls-cipher-suites: {word} is not known; use some of {}",
                    known.join(", ")
                );
            }
        }
    }
    if words(list).next().is_none() {
        return Ok(known.to_vec());
    }
    let old = |suite: &&SupportedCipherSuite| suite.tls13().is_none();
    ensure!(
        chosen.iter().any(|suite| old(&suite)),
        "--tls-cipher-suites {list} leaves nothing for TLS 1.2; name a suite that is safe, or use --tls-min-version TLS13"
    );
    chosen.retain(|suite| old(&suite));
    chosen.extend(known.iter().filter(|suite| !old(suite)));
    Ok(chosen)
}

fn curves(list: &str, known: &[&'static dyn SupportedKxGroup]) -> Result<Vec<&'static dyn SupportedKxGroup>> {
    let mut chosen = Vec::new();
    for word in words(list) {
        let group = match word {
            "X25519" => NamedGroup::X25519,
            "CurveP256" => NamedGroup::secp256r1,
            "CurveP384" => NamedGroup::secp384r1,
            "CurveP521" => NamedGroup::secp521r1,
            "X25519MLKEM768" => NamedGroup::X25519MLKEM768,
            "SecP256r1MLKEM768" => NamedGroup::secp256r1MLKEM768,
            "SecP384r1MLKEM1024" => NamedGroup::Unknown(0x11ed),
            other => bail!(
                "--tls-curve-preferences: {other} is not known; use some of X25519, CurveP256, CurveP384"
            ),
        };
        match known.iter().find(|known| known.name() == group) {
            Some(group) => chosen.push(*group),
            None => tracing::warn!(
                curve = word,
                "curve of --tls-curve-preferences is not offered by this program"
            ),
        }
    }
    if words(list).next().is_none() {
        return Ok(known.to_vec());
    }
    ensure!(
        !chosen.is_empty(),
        "--tls-curve-preferences {list} leaves nothing that this program offers; use some of X25519, CurveP256, CurveP384"
    );
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(lowest: &str, highest: &str, suites: &str, curves: &str) -> Result<Offer> {
        let args = OfferArgs {
            tls_min_version: lowest.into(),
            tls_max_version: highest.into(),
            tls_cipher_suites: suites.into(),
            tls_curve_preferences: curves.into(),
        };
        args.offer()
    }

    #[test]
    fn versions_are_those_between_the_two() {
        for (lowest, highest, count) in [
            ("TLS12", "TLS13", 2),
            ("TLS12", "TLS12", 1),
            ("TLS13", "TLS13", 1),
            ("VersionTLS10", "VersionTLS13", 2),
            ("VersionTLS13", "TLS13", 1),
        ] {
            assert_eq!(offer(lowest, highest, "", "").unwrap().versions.len(), count);
        }
        for (lowest, highest, part) in [
            ("TLS13", "TLS12", "--tls-min-version TLS13 is above"),
            ("TLS11", "TLS13", "use TLS12 or TLS13"),
            ("TLS12", "1.3", "--tls-max-version 1.3"),
            (
                "TLS12",
                "VersionTLS11",
                "--tls-max-version VersionTLS11 is not known",
            ),
        ] {
            let error = offer(lowest, highest, "", "").unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn suites_of_tls_1_2_can_be_chosen_and_those_of_1_3_stay() {
        let all = offer("TLS12", "TLS13", "", "")
            .unwrap()
            .provider
            .cipher_suites
            .len();
        for word in [
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
            "TLS_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_RSA_WITH_AES_128_CBC_SHA",
        ] {
            let suites = &offer("TLS12", "TLS13", word, "").unwrap().provider.cipher_suites;
            assert_eq!((suites.len(), all), (4, 9), "{word}: {suites:?}");
        }
        // As upstream: they do not count then.
        assert!(offer("TLS13", "TLS13", "nonsense", "").is_ok());
        for (word, part) in [
            ("TLS_NULL", "TLS_NULL is not known; use some of TLS_"),
            ("TLS_RSA_WITH_AES_128_CBC_SHA", "leaves nothing for TLS 1.2"),
            ("TLS_AES_128_GCM_SHA256", "leaves nothing for TLS 1.2"),
        ] {
            let error = offer("TLS12", "TLS13", word, "").unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn curves_are_offered_in_the_given_order() {
        let curves = |list| {
            let offer = offer("TLS12", "TLS13", "", list)?;
            anyhow::Ok(
                offer
                    .provider
                    .kx_groups
                    .iter()
                    .map(|group| group.name())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            curves("CurveP384,X25519,CurveP521,X25519MLKEM768").unwrap(),
            [NamedGroup::secp384r1, NamedGroup::X25519]
        );
        assert_eq!(curves("").unwrap().len(), 3);
        assert!(
            curves("CurveP521")
                .unwrap_err()
                .to_string()
                .contains("leaves nothing")
        );
        assert!(
            curves("Curve1")
                .unwrap_err()
                .to_string()
                .contains("Curve1 is not known")
        );
    }
}
