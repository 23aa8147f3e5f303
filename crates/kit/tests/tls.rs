//! Real sockets: a certificate is exchanged without dropping a connection, a webhook answers over TLS.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;

use metal3_kit::tls::{Folder, Protocol, TlsListener};
use metal3_kit::webhook::Webhooks;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// As cert-manager lays it out.
fn sign(folder: &std::path::Path) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (file, pem) in [
        ("tls.key", signed.signing_key.serialize_pem()),
        ("ca.crt", signed.cert.pem()),
        ("tls.crt", signed.cert.pem()),
    ] {
        std::fs::write(folder.join(file), pem).unwrap();
    }
}

async fn connect(folder: &std::path::Path, port: u16) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(folder.join("ca.crt")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
}

async fn review(stream: &mut TlsStream<TcpStream>, close: bool) -> String {
    let body = r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","request":{"uid":"u","desiredAPIVersion":"g/v2","objects":[]}}"#;
    let connection = if close { "close" } else { "keep-alive" };
    let request = format!(
        "POST /convert HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn a_new_certificate_is_served_while_old_connections_go_on() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sign(first.path());
    let folder = Folder::open(first.path()).unwrap();
    let listener = TlsListener::bind("127.0.0.1:0", folder.certificate(), Protocol::Http1)
        .await
        .unwrap();
    let port = listener.local_addr().port();
    let shutdown = CancellationToken::new();
    let server = Webhooks::default().conversion("/convert", |object, _| Ok(object));
    let serving = tokio::spawn(server.serve(listener, shutdown.clone()));

    let mut old = connect(first.path(), port).await.unwrap();
    assert!(review(&mut old, false).await.contains("Success"));

    let ca = std::fs::read(first.path().join("ca.crt")).unwrap();
    sign(second.path());
    for file in ["tls.crt", "tls.key"] {
        std::fs::copy(second.path().join(file), first.path().join(file)).unwrap();
    }
    folder.reload().unwrap();

    std::fs::write(first.path().join("ca.crt"), ca).unwrap();
    assert!(
        connect(first.path(), port).await.is_err(),
        "the old authority no longer fits"
    );
    let mut new = connect(second.path(), port).await.unwrap();
    assert!(review(&mut new, true).await.contains("Success"));
    assert!(review(&mut old, true).await.contains("Success"));
    shutdown.cancel();
    serving.await.unwrap().unwrap();
}

#[test]
fn a_key_that_does_not_fit_is_refused_and_named() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sign(first.path());
    sign(second.path());
    std::fs::copy(second.path().join("tls.key"), first.path().join("tls.key")).unwrap();
    let error = format!("{:#}", Folder::open(first.path()).unwrap_err());
    assert!(error.contains("do not fit together"), "{error}");
}
