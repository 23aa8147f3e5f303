//! A certificate that can be exchanged, and the folder one comes from: `tls.crt`, `tls.key`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use super::provider;

/// Kubelet swaps a mounted Secret within a minute; looking more often than that costs nothing.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// What a listener shows: connections made after a change get the new certificate, others go on.
#[derive(Debug)]
pub struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// From PEM: the certificate with those that lead to its root, and its key.
    ///
    /// # Errors
    /// When they are not what they should be, or do not fit together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            current: RwLock::new(parse(chain, key)?),
        }))
    }

    /// One for these names that nobody trusts; it lives as long as the process.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn throwaway(names: &[&str]) -> Result<Arc<Self>> {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
        Self::from_pem(
            made.cert.pem().as_bytes(),
            made.signing_key.serialize_pem().as_bytes(),
        )
    }

    /// Shows another one from now on.
    ///
    /// # Errors
    /// As [`Self::from_pem`]; the certificate in use stays.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<()> {
        let parsed = parse(chain, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = parsed;
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// Certificate and key, if they fit together.
pub(super) fn parse(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .context("cannot read certificates")?;
    let private = PrivateKeyDer::from_pem_slice(key).context("cannot read a private key")?;
    let parsed = CertifiedKey::from_der(chain, private, &provider())
        .context("certificate and key do not fit together")?;
    Ok(Arc::new(parsed))
}

/// A folder with `tls.crt` and `tls.key` that somebody else renews.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    certificate: Arc<Certificate>,
}

impl Folder {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file is missing or is not what its name says.
    pub fn open(path: &Path) -> Result<Self> {
        let [chain, key] = read(path)?;
        let certificate = Certificate::from_pem(&chain, &key).with_context(|| unfit(path))?;
        Ok(Self {
            path: path.to_owned(),
            certificate,
        })
    }

    /// The certificate, for a listener.
    pub fn certificate(&self) -> Arc<Certificate> {
        Arc::clone(&self.certificate)
    }

    /// Follows the files until shutdown.
    ///
    /// # Errors
    /// Never; it has the form of a task.
    pub async fn follow(self, shutdown: CancellationToken) -> Result<()> {
        let mut seen = read(&self.path).ok();
        loop {
            tokio::select! {
                () = tokio::time::sleep(RELOAD_INTERVAL) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            let now = read(&self.path).ok();
            if now == seen {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    seen = now;
                    tracing::info!(folder = %self.path.display(), "certificate reloaded");
                }
                // Half-written: the next look finds the rest.
                Err(error) => tracing::warn!(error = format!("{error:#}"), "certificate not reloaded"),
            }
        }
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`Self::open`]; the certificate in use stays.
    pub fn reload(&self) -> Result<()> {
        let [chain, key] = read(&self.path)?;
        self.certificate
            .replace(&chain, &key)
            .with_context(|| unfit(&self.path))
    }
}

fn read(folder: &Path) -> Result<[Vec<u8>; 2]> {
    let read = |file: &str| {
        let path = folder.join(file);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok([read("tls.crt")?, read("tls.key")?])
}

fn unfit(folder: &Path) -> String {
    format!("tls.crt and tls.key in {} cannot be used", folder.display())
}
