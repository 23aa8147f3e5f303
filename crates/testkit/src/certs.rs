//! Certificates for servers and users of tests.

use std::path::PathBuf;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use crate::scratch;

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Certificate.
    pub certificate: String,
    /// Key, PKCS #8.
    pub key: String,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate, PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = subject(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// A certificate of a server with these names and addresses.
    ///
    /// # Errors
    /// When a name is not valid.
    pub fn server(&self, names: &[&str]) -> Result<Pair> {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name = subject(names.first().unwrap_or(&"server"), None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate of a user.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn user(&self, name: &str, group: &str) -> Result<Pair> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = subject(name, Some(group));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Pair> {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair {
            certificate,
            key: key.serialize_pem(),
        })
    }
}

fn subject(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject
}

/// The certificate folder of a server, as cert-manager lays it out.
#[derive(Clone, Debug)]
pub struct ServerDir {
    /// Holds `tls.crt`, `tls.key` and `ca.crt`.
    pub dir: PathBuf,
    /// `ca.crt`.
    pub ca_file: PathBuf,
    /// Content of `ca.crt`.
    pub ca: String,
}

/// A folder with a certificate for these names, signed by a new authority.
///
/// # Errors
/// When a name is not valid or a file cannot be written.
pub fn server_dir(names: &[&str]) -> Result<ServerDir> {
    let authority = Authority::new("test-ca")?;
    let pair = authority.server(names)?;
    let dir = scratch::dir("certs")?;
    scratch::file(&dir, "tls.crt", &pair.certificate)?;
    scratch::file(&dir, "tls.key", &pair.key)?;
    let ca_file = scratch::file(&dir, "ca.crt", &authority.certificate)?;
    Ok(ServerDir {
        dir,
        ca_file,
        ca: authority.certificate,
    })
}
