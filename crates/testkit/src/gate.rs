//! A gate on the way from a program to a server: it sees each request and may let the program die at it.
//!
//! A program that must survive `kill -9` at any instant is killed *before* a request reaches the server, or *after* the
//! server did what was asked and before the program learns of it. These two are all that others can tell apart.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// The beginning of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// For example `PUT`.
    pub method: String,
    /// Path and query.
    pub target: String,
}

impl Passing {
    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        matches!(self.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE")
    }

    /// HTTP/1.1 without pipelining: a request begins with what the client sends first, or next after an answer.
    fn begins(bytes: &[u8]) -> Option<Self> {
        let line = bytes.split(|byte| *byte == b'\r').next()?;
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].contains(&method);
        let passing = Self {
            method: method.to_owned(),
            target: target.to_owned(),
        };
        (known && words.next()? == "HTTP/1.1").then_some(passing)
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing special.
    Pass,
    /// The program dies before the server sees the request.
    DieBefore,
    /// The program dies after the server answered and before it sees the answer.
    DieAfter,
    /// The server never sees the request and the program never gets an answer, as when a network swallows packets.
    Vanish,
    /// The server sees the request, and the program gets what comes back whenever [`Gate::hold`] does not hold it back: a
    /// watch of that kind tells everything, but late.
    Late,
    /// The server never sees the request, and the program gets this JSON.
    Answer(&'static str),
}

/// Who decides.
pub trait Keeper: Send + Sync + 'static {
    /// What becomes of a request.
    fn judge(&self, passing: &Passing) -> Fate;
    /// Lets the program die.
    fn strike(&self, passing: &Passing);
}

/// A gate; it closes when dropped.
#[derive(Debug)]
pub struct Gate {
    url: String,
    held: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Gate {
    /// A gate to a server on `http://` or, with its CA, on `https://`; the way to the gate is always plain HTTP.
    ///
    /// # Errors
    /// When the address or the CA cannot be used.
    pub async fn open(server: SocketAddr, ca: Option<&str>, keeper: Arc<dyn Keeper>) -> Result<Self> {
        let connector = ca.map(connector).transpose()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (held, holding) = watch::channel(false);
        let task = tokio::spawn(async move {
            // Connections end with the gate.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (connector, keeper, held) = (connector.clone(), Arc::clone(&keeper), holding.clone());
                connections.spawn(async move {
                    // A connection that breaks is what the program under test has to live with.
                    let _ = connect(client, server, connector, keeper.as_ref(), held).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { url, held, task })
    }

    /// Where the program is to be sent.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Holds back what comes on requests with [`Fate::Late`], or lets it through, what was held back first.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn connector(ca: &str) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).context("the CA is not a certificate")?)?;
    Ok(TlsConnector::from(Arc::new(
        ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )))
}

async fn connect(
    client: TcpStream,
    server: SocketAddr,
    connector: Option<TlsConnector>,
    keeper: &dyn Keeper,
    held: watch::Receiver<bool>,
) -> Result<()> {
    let upstream = TcpStream::connect(server).await?;
    upstream.set_nodelay(true)?;
    client.set_nodelay(true)?;
    match connector {
        Some(connector) => {
            let name = ServerName::from(server.ip());
            relay(client, connector.connect(name, upstream).await?, keeper, held).await
        }
        None => relay(client, upstream, keeper, held).await,
    }
}

async fn relay(
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    keeper: &dyn Keeper,
    mut held: watch::Receiver<bool>,
) -> Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut doomed: Option<Passing> = None;
    let mut late = false;
    loop {
        let reads = !(late && *held.borrow_and_update());
        tokio::select! {
            read = from_client.read(&mut up) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                if let Some(passing) = Passing::begins(&up[..read]) {
                    let fate = keeper.judge(&passing);
                    late = fate == Fate::Late;
                    match fate {
                        Fate::Pass | Fate::Late => {}
                        Fate::DieBefore => {
                            keeper.strike(&passing);
                            return Ok(());
                        }
                        Fate::DieAfter => doomed = Some(passing),
                        Fate::Vanish => return vanish(&mut from_client).await,
                        Fate::Answer(json) => {
                            to_client.write_all(answer(json).as_bytes()).await?;
                            continue;
                        }
                    }
                }
                to_server.write_all(&up[..read]).await?;
                to_server.flush().await?;
            }
            // The sender lives as long as the gate, and connections end with it.
            changed = held.changed() => changed?,
            read = from_server.read(&mut down), if reads => {
                let read = read?;
                if let Some(passing) = doomed {
                    keeper.strike(&passing);
                    return Ok(());
                }
                if read == 0 {
                    return Ok(());
                }
                to_client.write_all(&down[..read]).await?;
            }
        }
    }
}

fn answer(json: &str) -> String {
    let length = json.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}")
}

/// Keeps the connection open until the client closes it.
async fn vanish(client: &mut (impl AsyncRead + Unpin)) -> Result<()> {
    tokio::io::copy(client, &mut tokio::io::sink()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_begin_with_a_request_line() {
        let passing = Passing::begins(b"PUT /v1/nodes/a/states/power HTTP/1.1\r\nhost: x\r\n").unwrap();
        assert_eq!(
            (passing.method.as_str(), passing.target.as_str()),
            ("PUT", "/v1/nodes/a/states/power")
        );
        assert!(passing.writes());
        assert_eq!(Passing::begins(b"{\"a\": \"GET / HTTP/1.1\"}"), None);
    }
}
