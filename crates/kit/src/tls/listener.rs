//! A listener that speaks TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::Stream;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Certificate, ClientCa, Offer};

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
        Self::bind_with(address, certificate, protocol, &Offer::of(protocol)).await
    }

    /// The same, offering what the user chose.
    ///
    /// # Errors
    /// When it cannot be bound, or the offer has no cipher suite for one of its versions.
    pub async fn bind_with(
        address: &str,
        certificate: Arc<Certificate>,
        protocol: Protocol,
        offer: &Offer,
    ) -> Result<Self> {
        Self::bind_for(address, certificate, protocol, offer, None).await
    }

    /// The same, and with authorities only for clients whose certificate one of them signed.
    ///
    /// # Errors
    /// As [`Self::bind_with`].
    pub async fn bind_for(
        address: &str,
        certificate: Arc<Certificate>,
        protocol: Protocol,
        offer: &Offer,
        clients: Option<Arc<ClientCa>>,
    ) -> Result<Self> {
        let address = crate::probes::listen_address(address).context("no address to listen on")?;
        let listener = TcpListener::bind(&address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let config = ServerConfig::builder_with_provider(Arc::clone(&offer.provider))
            .with_protocol_versions(&offer.versions)
            .context("the TLS versions and cipher suites do not go together")?;
        let asks = clients.is_some();
        let config = match clients {
            Some(clients) => config.with_client_cert_verifier(clients),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(certificate);
        if asks {
            // Who resumes a session shows no certificate: one whose authority is no longer trusted would come in.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
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
