//! Serving certificates from a folder, as cert-manager and kubelet lay them out: `tls.crt`, `tls.key`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::Stream;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Kubelet swaps a mounted Secret within a minute; looking more often than that costs nothing.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes that may be finished before the server takes them; beyond it new connections wait.
const ACCEPTED: usize = 64;

/// Protocols offered to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, for webhooks.
    Http1,
    /// HTTP/2, for gRPC.
    Http2,
}

/// A certificate that follows its files: connections made after a change get the new one, others go on.
#[derive(Debug)]
pub struct Certificate {
    folder: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads `tls.crt` and `tls.key`.
    ///
    /// # Errors
    /// When a file is missing or is not what its name says.
    pub fn load(folder: &Path) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            current: RwLock::new(Arc::new(read(folder)?)),
        }))
    }

    /// Writes a self-signed certificate for the names into the folder if it holds none, and loads it.
    ///
    /// # Errors
    /// When the folder cannot be written or its content cannot be read.
    pub fn load_or_self_sign(folder: &Path, names: &[String]) -> Result<Arc<Self>> {
        if !folder.join("tls.crt").exists() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            let signed = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
            for (file, pem) in [
                ("tls.key", signed.signing_key.serialize_pem()),
                ("ca.crt", signed.cert.pem()),
                ("tls.crt", signed.cert.pem()),
            ] {
                fs::write(folder.join(file), pem).with_context(|| format!("cannot write {file}"))?;
            }
        }
        Self::load(folder)
    }

    /// Follows the files until shutdown.
    ///
    /// # Errors
    /// Never; it has the form of a task.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) -> Result<()> {
        let mut seen = fingerprint(&self.folder);
        loop {
            tokio::select! {
                () = tokio::time::sleep(RELOAD_INTERVAL) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            let now = fingerprint(&self.folder);
            if now == seen {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    seen = now;
                    tracing::info!(folder = %self.folder.display(), "certificate reloaded");
                }
                // Half-written: the next look finds the rest.
                Err(error) => tracing::warn!(error = format!("{error:#}"), "certificate not reloaded"),
            }
        }
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`Self::load`]; the certificate in use stays.
    pub fn reload(&self) -> Result<()> {
        let read = Arc::new(read(&self.folder)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = read;
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

fn read(folder: &Path) -> Result<CertifiedKey> {
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read certificates from {}", certificate.display()))?;
    let private = PrivateKeyDer::from_pem_file(&key)
        .with_context(|| format!("cannot read a private key from {}", key.display()))?;
    let provider = provider();
    CertifiedKey::from_der(chain, private, &provider).with_context(|| {
        format!(
            "{} and {} do not fit together",
            certificate.display(),
            key.display()
        )
    })
}

fn fingerprint(folder: &Path) -> [Option<Vec<u8>>; 2] {
    ["tls.crt", "tls.key"].map(|file| fs::read(folder.join(file)).ok())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Accepts TLS connections; slow handshakes do not hold up others.
pub struct TlsListener {
    address: SocketAddr,
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// Listens on the address (`:9443` means all).
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn bind(address: &str, certificate: Arc<Certificate>, protocol: Protocol) -> Result<Self> {
        let address = crate::probes::listen_address(address).context("no address to listen on")?;
        let listener = TcpListener::bind(&address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        // gRPC clients are ours and current; the API server of an old cluster may still speak TLS 1.2 to webhooks.
        let versions: &[&rustls::SupportedProtocolVersion] = match protocol {
            Protocol::Http1 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            Protocol::Http2 => &[&rustls::version::TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        let (sender, accepted) = mpsc::channel(ACCEPTED);
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), sender));
        Ok(Self { address, accepted })
    }

    /// The address in use.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => drop(sender.send((stream, peer)).await),
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "tls handshake failed"),
                        Err(_) => tracing::debug!(%peer, "tls handshake timed out"),
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: give others time to close theirs.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Stream for TlsListener {
    type Item = io::Result<TlsStream<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted
            .poll_recv(context)
            .map(|accepted| accepted.map(|(stream, _)| Ok(stream)))
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
