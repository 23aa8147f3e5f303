//! Looks at a server from where its callers are: what the `check` commands of the services are made of.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{Protocol, provider};

/// A server in the same cluster that does not answer within this time is down.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells one thing that is as it should be.
pub fn found(text: &str) {
    // Nobody reads: the exit code says the same.
    let _ = writeln!(std::io::stdout(), "ok: {text}");
}

/// A client certificate and its key: PEM files.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// The certificate, with those that lead to its CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl ClientFiles {
    /// Both, if both are named.
    pub fn given(certificate: Option<&Path>, key: Option<&Path>) -> Option<Self> {
        let (certificate, key) = certificate.zip(key)?;
        Some(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    }

    /// What is in them: certificate and key.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn read(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let read = |what: &str, path: &Path| {
            std::fs::read(path)
                .with_context(|| format!("cannot read the {what} of this client from {}", path.display()))
        };
        Ok((read("certificate", &self.certificate)?, read("key", &self.key)?))
    }

    fn parsed(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let (chain, key) = self.read()?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<_, _>>()
            .with_context(|| format!("{} has no certificate in PEM", self.certificate.display()))?;
        ensure!(
            !chain.is_empty(),
            "{} has no certificate in PEM",
            self.certificate.display()
        );
        let key = PrivateKeyDer::from_pem_slice(&key)
            .with_context(|| format!("{} has no private key in PEM", self.key.display()))?;
        Ok((chain, key))
    }
}

/// A server that is looked at.
#[derive(Clone, Debug)]
pub struct Server {
    what: &'static str,
    url: String,
    host: String,
    port: u16,
    ca_file: Option<PathBuf>,
    client: Option<ClientFiles>,
}

impl Server {
    /// `what` names it in messages. Without a CA file anybody may vouch for its certificate.
    ///
    /// # Errors
    /// When it is no https URL.
    pub fn new(what: &'static str, url: &str, ca_file: Option<&Path>) -> Result<Self> {
        let wrong = || format!("{what} {url:?} is no URL of the form https://<host>:<port>");
        let uri: Uri = url.parse().with_context(wrong)?;
        ensure!(uri.scheme_str() == Some("https"), wrong());
        Ok(Self {
            what,
            url: url.trim_end_matches('/').to_owned(),
            host: uri
                .host()
                .with_context(wrong)?
                .trim_matches(['[', ']'])
                .to_owned(),
            port: uri.port_u16().unwrap_or(443),
            ca_file: ca_file.map(Path::to_owned),
            client: None,
        })
    }

    /// Shows it this certificate, if it asks for one.
    #[must_use]
    pub fn shown(mut self, client: Option<ClientFiles>) -> Self {
        self.client = client;
        self
    }

    /// Speaks TLS and HTTP/2 to it and tells that it did.
    ///
    /// # Errors
    /// When nobody answers, its certificate is not what callers need, or it wants another one of its callers.
    pub async fn verified(&self) -> Result<()> {
        let mut stream = self.connect(Protocol::Http2).await?;
        // It judges our certificate after the handshake, and has the first word in HTTP/2. Nothing is written before that:
        // its answer to what it does not want any more would take the place of its reason.
        let mut word = [0];
        match tokio::time::timeout(PATIENCE, stream.read_exact(&mut word)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let problem = self.problem(&error);
                Err(anyhow::Error::new(error).context(problem))
            }
            Err(_) => bail!("{self} speaks TLS, but not HTTP/2: see whether the port is right"),
        }
    }

    async fn connect(&self, protocol: Protocol) -> Result<TlsStream<TcpStream>> {
        let connected = tokio::time::timeout(PATIENCE, TcpStream::connect((self.host.as_str(), self.port)));
        let stream = match connected.await {
            Ok(connected) => connected.map_err(anyhow::Error::from),
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs())),
        };
        let stream = stream.with_context(|| {
            format!(
                "{self} cannot be reached: see whether its pods are ready (kubectl get pods) and whether a NetworkPolicy \
                 is between"
            )
        })?;
        let name = ServerName::try_from(self.host.clone())
            .with_context(|| format!("{self} has no name that a certificate can have"))?;
        let connector = TlsConnector::from(Arc::new(self.config(protocol)?));
        let shaken = tokio::time::timeout(PATIENCE, connector.connect(name, stream)).await;
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let problem = self.problem(&error);
                return Err(anyhow::Error::new(error).context(problem));
            }
            Err(_) => bail!(
                "{self} accepts connections and does not speak TLS: see the log of its pods, and whether the port is right"
            ),
        };
        found(&match &self.ca_file {
            Some(path) => format!(
                "{self} has a certificate for that name by the CA in {}",
                path.display()
            ),
            None => format!("{self} has a valid certificate for that name; who signed it was not checked"),
        });
        Ok(stream)
    }

    /// Posts JSON to a path and answers what comes back.
    ///
    /// # Errors
    /// When nobody answers, its certificate is not what callers need, or the answer is no success.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> Result<Bytes> {
        let stream = self.connect(Protocol::Http1).await?;
        let answered = tokio::time::timeout(PATIENCE, exchange(stream, &self.host, path, body)).await;
        let (status, body) = answered
            .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs())))
            .with_context(|| format!("{self} does not answer POST {path}: see the log of its pods"))?;
        ensure!(
            status.is_success(),
            "{self} answers POST {path} with {status} {:?}: see whether the URL is that of the right service",
            String::from_utf8_lossy(body.get(..200).unwrap_or(&body))
        );
        Ok(body)
    }

    fn config(&self, protocol: Protocol) -> Result<ClientConfig> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match &self.ca_file {
            Some(path) => builder.with_root_certificates(self.roots(path)?),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyIssuer)),
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = files.parsed()?;
                builder.with_client_auth_cert(chain, key).with_context(|| {
                    format!(
                        "the certificate of this client in {} and the key in {} do not go together",
                        files.certificate.display(),
                        files.key.display()
                    )
                })?
            }
        };
        config.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }];
        Ok(config)
    }

    fn roots(&self, path: &Path) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let unusable = || {
            format!(
                "the CA of {self} cannot be read from {}: it has to be PEM; with cert-manager, see whether the issuer \
                 fills ca.crt of the Secret",
                path.display()
            )
        };
        for certificate in CertificateDer::pem_file_iter(path).with_context(unusable)? {
            roots
                .add(certificate.with_context(unusable)?)
                .with_context(unusable)?;
        }
        ensure!(!roots.is_empty(), unusable());
        Ok(roots)
    }

    fn problem(&self, error: &std::io::Error) -> String {
        let cause = error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<rustls::Error>());
        let problem = match cause {
            Some(rustls::Error::InvalidCertificate(problem)) => problem,
            Some(rustls::Error::AlertReceived(alert)) => return self.refusal(*alert),
            _ => return format!("{self} does not speak TLS as it should: see the log of its pods"),
        };
        match problem {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "{self} has a certificate by another CA than that in {}: see whether the one or the other was renewed, \
                 and restart what has the older one",
                self.ca_file
                    .as_deref()
                    .unwrap_or_else(|| Path::new("?"))
                    .display()
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "{self} has a certificate that is not for {}: add the name to it",
                    self.host
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("{self} has an expired certificate: see why nobody renews it")
            }
            _ => format!("{self} has a certificate that cannot be used: make a new one"),
        }
    }

    /// Why it does not go on with us.
    fn refusal(&self, alert: AlertDescription) -> String {
        let ca = "the CA of its callers (hostService.clientCa of the chart metal3-bmo)";
        match (&self.client, alert) {
            (None, AlertDescription::CertificateRequired) => format!(
                "{self} asks its callers for a certificate: name one that was signed by {ca}, with the flags that end in \
                 cert-file and key-file, in the chart hostService.clientCertSecret"
            ),
            (
                Some(files),
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::DecryptError
                | AlertDescription::UnsupportedCertificate,
            ) => format!(
                "{self} does not take the certificate of this client in {} ({alert:?}): see whether it was signed by {ca}, \
                 has not expired and is for clients",
                files.certificate.display()
            ),
            _ => format!("{self} does not speak TLS with this client ({alert:?}): see the log of its pods"),
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.what, self.url)
    }
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    host: &str,
    path: &str,
    body: Vec<u8>,
) -> Result<(http::StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}

/// Takes a certificate for the name, whoever signed it: proves that a server is there, not who it is.
#[derive(Debug)]
struct AnyIssuer;

impl ServerCertVerifier for AnyIssuer {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let now = now.as_secs().try_into().unwrap_or(i64::MAX);
        if parsed.validity().not_after.timestamp() < now {
            return Err(CertificateError::Expired.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
