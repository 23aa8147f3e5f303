//! What a certificate and its authority should be: decisions and their making, without IO. The clock is passed in.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use super::{certificate, provider};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Clocks of clients may be behind by this much.
const SKEW: Duration = Duration::from_secs(3600);

/// How long certificates live; they are renewed after two thirds of it.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Of the serving certificate.
    pub leaf: Duration,
    /// Of its authority.
    pub authority: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            leaf: DAY * 90,
            authority: DAY * 3650,
        }
    }
}

/// What is to do about something that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Good,
    /// Two thirds of its life are over.
    Due,
    /// With the reason.
    Unusable(String),
}

/// A certificate authority of our own, PEM.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    /// The one that signs, and before it those that signed what may still be in use.
    pub(super) certificates: String,
    pub(super) key: SecretString,
    /// The one that signs, certified by the one before it: who knows only the old authority trusts new certificates too.
    pub(super) cross: Option<String>,
}

/// A serving certificate, PEM.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// The certificate, and what leads from it to its authorities.
    pub(super) chain: String,
    pub(super) key: SecretString,
    /// The authorities to trust.
    pub(super) bundle: String,
}

impl Authority {
    /// A new one.
    pub(super) fn create(name: &str, terms: Terms, now: Timestamp) -> Result<Self> {
        let (params, key) = authority(name, terms, now)?;
        Ok(Self {
            certificates: params.self_signed(&key)?.pem(),
            key: key.serialize_pem().into(),
            cross: None,
        })
    }

    /// The one after this: whoever trusts this one trusts that one, and the other way round, until this one expires.
    pub(super) fn succeed(&self, name: &str, terms: Terms, now: Timestamp) -> Result<Self> {
        let (mut params, key) = authority(name, terms, now)?;
        let own = params.self_signed(&key)?.pem();
        params.not_after = params.not_after.min(self.expiry()?.into());
        params.use_authority_key_identifier_extension = true;
        Ok(Self {
            certificates: own + &self.bundle(now)?,
            cross: Some(params.signed_by(&key, &self.issuer()?)?.pem()),
            key: key.serialize_pem().into(),
        })
    }

    pub(super) fn judge(&self, now: Timestamp) -> State {
        let look = || {
            let certificates = certificates(&self.certificates)?;
            let first = certificates.first().context("there is no certificate")?;
            certificate::parse(self.certificates.as_bytes(), self.key.expose_secret().as_bytes())?;
            self.issuer()?;
            let first = parsed(first)?;
            ensure!(first.is_ca(), "the certificate is not one of an authority");
            aged(&first, now)
        };
        look().unwrap_or_else(|error: anyhow::Error| State::Unusable(format!("{error:#}")))
    }

    /// The authorities to trust, newest first.
    pub(super) fn bundle(&self, now: Timestamp) -> Result<String> {
        valid(&self.certificates, now)
    }

    fn expiry(&self) -> Result<SystemTime> {
        let certificates = certificates(&self.certificates)?;
        let first = parsed(certificates.first().context("there is no certificate")?)?;
        Ok(time(first.validity().not_after.timestamp())?.into())
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>> {
        let key = KeyPair::from_pem(self.key.expose_secret()).context("the key cannot be used")?;
        Issuer::from_ca_cert_pem(&self.certificates, key).context("the certificate cannot be used")
    }
}

impl Leaf {
    /// A new one for these names.
    pub(super) fn issue(
        authority: &Authority,
        names: &[String],
        terms: Terms,
        now: Timestamp,
    ) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec()).context("a name is not valid")?;
        params.distinguished_name = subject(names.first().context("there is no name")?);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        limit(&mut params, terms.leaf, now)?;
        params.not_after = params.not_after.min(authority.expiry()?.into());
        let cross = authority.cross.as_deref().map(|cross| valid(cross, now));
        let chain =
            params.signed_by(&key, &authority.issuer()?)?.pem() + &cross.transpose()?.unwrap_or_default();
        Ok(Self {
            chain,
            key: key.serialize_pem().into(),
            bundle: authority.bundle(now)?,
        })
    }

    /// Whether clients that know this bundle, by these names, can use it. The bundle stored with it does not matter.
    pub(super) fn judge(&self, bundle: &str, names: &[String], now: Timestamp) -> State {
        let look = || {
            let chain = certificates(&self.chain)?;
            let (first, rest) = chain.split_first().context("there is no certificate")?;
            certificate::parse(self.chain.as_bytes(), self.key.expose_secret().as_bytes())?;
            let mut roots = RootCertStore::empty();
            for root in certificates(bundle)? {
                roots.add(root)?;
            }
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
            let since = Duration::from_secs(u64::try_from(now.as_second())?);
            for name in names {
                let server = ServerName::try_from(name.as_str())?;
                verifier
                    .verify_server_cert(first, rest, &server, &[], UnixTime::since_unix_epoch(since))
                    .with_context(|| format!("it does not serve for {name}"))?;
            }
            aged(&parsed(first)?, now)
        };
        look().unwrap_or_else(|error: anyhow::Error| State::Unusable(format!("{error:#}")))
    }
}

fn authority(name: &str, terms: Terms, now: Timestamp) -> Result<(CertificateParams, KeyPair)> {
    let mut params = CertificateParams::new(Vec::new())?;
    // Each its own name: clients look for the issuer of a certificate by name.
    params.distinguished_name = subject(&format!("{name} {}", now.as_second()));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    limit(&mut params, terms.authority, now)?;
    Ok((params, KeyPair::generate()?))
}

fn subject(name: &str) -> DistinguishedName {
    // X.520 allows no more, and a service name may.
    let name: String = name.chars().take(64).collect();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn limit(params: &mut CertificateParams, life: Duration, now: Timestamp) -> Result<()> {
    params.not_before = SystemTime::from(now.checked_sub(SKEW.min(life / 100))?).into();
    params.not_after = SystemTime::from(now.checked_add(life)?).into();
    Ok(())
}

fn aged(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<State> {
    let begin = time(certificate.validity().not_before.timestamp())?;
    let end = time(certificate.validity().not_after.timestamp())?;
    ensure!(now >= begin, "it is not valid before {begin}");
    ensure!(now < end, "it expired at {end}");
    let life = Duration::try_from(end.duration_since(begin))?;
    Ok(if now >= begin.checked_add(life * 2 / 3)? {
        State::Due
    } else {
        State::Good
    })
}

/// Those that have not expired.
fn valid(pem: &str, now: Timestamp) -> Result<String> {
    let mut kept = String::new();
    for certificate in certificates(pem)? {
        if now < time(parsed(&certificate)?.validity().not_after.timestamp())? {
            kept.push_str(&encoded(&certificate));
        }
    }
    Ok(kept)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .context("cannot read certificates")
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>> {
    let (_, parsed) = parse_x509_certificate(certificate).context("cannot read a certificate")?;
    Ok(parsed)
}

fn time(seconds: i64) -> Result<Timestamp> {
    Ok(Timestamp::from_second(seconds)?)
}

/// PEM of a certificate.
fn encoded(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days after some day.
    fn day(days: u32) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + DAY * days
    }

    fn names() -> Vec<String> {
        ["x.ns.svc", "x.ns.svc.cluster.local"].map(str::to_owned).to_vec()
    }

    fn pair(now: Timestamp) -> (Authority, Leaf) {
        let authority = Authority::create("x-ca", Terms::default(), now).unwrap();
        let leaf = Leaf::issue(&authority, &names(), Terms::default(), now).unwrap();
        (authority, leaf)
    }

    fn why(state: &State) -> &str {
        match state {
            State::Unusable(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn certificates_are_renewed_after_two_thirds_of_their_lives() {
        let (authority, leaf) = pair(day(0));
        let judge = |day| leaf.judge(&authority.certificates, &names(), day);
        assert_eq!(judge(day(0)), State::Good);
        assert_eq!(judge(day(59)), State::Good);
        assert_eq!(judge(day(60)), State::Due);
        assert_eq!(judge(day(89)), State::Due);
        assert!(why(&judge(day(91))).contains("expired"), "{:?}", judge(day(91)));
        assert_eq!(authority.judge(day(2433)), State::Good);
        assert_eq!(authority.judge(day(2434)), State::Due);
        assert!(why(&authority.judge(day(3651))).contains("it expired at"));
    }

    #[test]
    fn clocks_of_clients_may_be_behind() {
        let (authority, leaf) = pair(day(1));
        let bundle = authority.bundle(day(1)).unwrap();
        let behind = day(1) - Duration::from_secs(3500);
        assert_eq!(leaf.judge(&bundle, &names(), behind), State::Good);
        assert_eq!(authority.judge(behind), State::Good);
        assert!(why(&authority.judge(day(0))).contains("not valid before"));
    }

    #[test]
    fn a_certificate_serves_its_names_only() {
        let (authority, leaf) = pair(day(0));
        let state = leaf.judge(&authority.certificates, &["y.ns.svc".to_owned()], day(0));
        assert!(why(&state).contains("does not serve for y.ns.svc"), "{state:?}");
    }

    #[test]
    fn nobody_is_cut_off_when_the_authority_changes() {
        let terms = Terms::default();
        let (old, _) = pair(day(0));
        let late = day(2440);
        let before = Leaf::issue(&old, &names(), terms, late).unwrap();
        let new = old.succeed("x-ca", terms, late).unwrap();
        let after = Leaf::issue(&new, &names(), terms, late).unwrap();
        let (known, told) = (old.bundle(late).unwrap(), new.bundle(late).unwrap());
        assert_eq!(certificates(&told).unwrap().len(), 2);
        assert_eq!(new.judge(late), State::Good);
        for leaf in [&before, &after] {
            for bundle in [&known, &told] {
                assert_eq!(leaf.judge(bundle, &names(), late), State::Good);
            }
        }
        // The old one is not told for longer than it is valid, and the new one does not need it.
        let later = day(3651);
        let told = new.bundle(later).unwrap();
        assert_eq!(certificates(&told).unwrap().len(), 1);
        let leaf = Leaf::issue(&new, &names(), terms, later).unwrap();
        assert_eq!(certificates(&leaf.chain).unwrap().len(), 1);
        assert_eq!(leaf.judge(&told, &names(), later), State::Good);
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        let terms = Terms {
            authority: DAY * 30,
            ..Terms::default()
        };
        let authority = Authority::create("x-ca", terms, day(0)).unwrap();
        let leaf = Leaf::issue(&authority, &names(), terms, day(10)).unwrap();
        let first = certificates(&leaf.chain).unwrap();
        let end = parsed(&first[0]).unwrap().validity().not_after.timestamp();
        assert_eq!(time(end).unwrap(), day(30));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let (authority, leaf) = pair(day(0));
        let (stranger, other) = pair(day(0));
        let judge = |leaf: &Leaf| leaf.judge(&authority.certificates, &names(), day(0));
        let with = |chain: &str, key: &SecretString| Leaf {
            chain: chain.to_owned(),
            key: key.clone(),
            bundle: String::new(),
        };
        for (leaf, part) in [
            (with("", &leaf.key), "there is no certificate"),
            (with("rubbish", &leaf.key), "there is no certificate"),
            (
                with(&leaf.chain, &String::new().into()),
                "cannot read a private key",
            ),
            (with(&leaf.chain, &other.key), "do not fit together"),
            (with(&other.chain, &other.key), "does not serve"),
        ] {
            assert!(why(&judge(&leaf)).contains(part), "{part}: {:?}", judge(&leaf));
        }
        let with = |certificates: &str, key: &SecretString| Authority {
            certificates: certificates.to_owned(),
            key: key.clone(),
            cross: None,
        };
        for (authority, part) in [
            (with("", &authority.key), "there is no certificate"),
            (
                with(&authority.certificates, &stranger.key),
                "do not fit together",
            ),
            (with(&leaf.chain, &leaf.key), "not one of an authority"),
        ] {
            let state = authority.judge(day(0));
            assert!(why(&state).contains(part), "{part}: {state:?}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let (authority, leaf) = pair(day(0));
        let shown = format!("{authority:?} {leaf:?}");
        assert!(
            shown.contains("CERTIFICATE") && !shown.contains("PRIVATE"),
            "{shown}"
        );
    }
}
