//! Whose certificates a listener asks its clients for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::provider;

#[derive(Debug)]
struct Trusted {
    pem: Vec<u8>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// A file with the authorities that sign the certificates of clients. It is read anew for each connection, because it is
/// renewed while we run; connections that go on stay.
#[derive(Debug)]
pub struct ClientCa {
    path: PathBuf,
    provider: Arc<CryptoProvider>,
    trusted: Mutex<Trusted>,
}

impl ClientCa {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or holds no certificate.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let trusted = read(path)?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            provider: provider(),
            trusted: Mutex::new(trusted),
        }))
    }

    /// What is trusted now. When the file is half-written or gone, that is what was trusted before.
    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        match std::fs::read(&self.path) {
            Ok(pem) if pem == trusted.pem => {}
            _ => match read(&self.path) {
                Ok(now) => {
                    tracing::info!(path = %self.path.display(), "the ca of clients changed");
                    *trusted = now;
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the ca of clients before stays in use"
                    );
                }
            },
        }
        Arc::clone(&trusted.verifier)
    }
}

fn read(path: &Path) -> Result<Trusted> {
    let name = || format!("cannot read the CA of clients from {}", path.display());
    let pem = std::fs::read(path).with_context(name)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.with_context(name)?).with_context(name)?;
    }
    ensure!(!roots.is_empty(), "{}: it holds no certificate in PEM", name());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .with_context(name)?;
    Ok(Trusted { pem, verifier })
}

impl ClientCertVerifier for ClientCa {
    /// None: the names of authorities are hints, and these may change.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.current().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
