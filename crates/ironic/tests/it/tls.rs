//! An Ironic behind real TLS that asks for client certificates; files that are renewed while we run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metal3_ironic::Settings;
use metal3_ironic::client::Client;
use metal3_ironic_sim::Config;
use metal3_provisioner::Kind;
use metal3_testkit::certs::{Authority, Pair};
use metal3_testkit::scratch;
use metal3_testkit::wait::{LONG, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::bed::Bed;

/// TLS in front of a simulation, for holders of a certificate of one authority.
struct Door {
    bed: Bed,
    port: u16,
    /// What it shows itself.
    certificate: String,
    /// Certificates shown by those who came in.
    shown: Arc<Mutex<Vec<CertificateDer<'static>>>>,
    task: JoinHandle<()>,
}

impl Door {
    async fn open(authority: &Authority, version: &'static SupportedProtocolVersion) -> Self {
        Self::open_at(authority, version, Bed::sim().await, 0).await
    }

    async fn open_at(
        authority: &Authority,
        version: &'static SupportedProtocolVersion,
        bed: Bed,
        port: u16,
    ) -> Self {
        let sim = reqwest::Url::parse(&bed.as_sim().endpoint)
            .unwrap()
            .port()
            .unwrap();
        let pair = authority.server(&["127.0.0.1"]).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server(authority, &pair, version)));
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shown = Arc::<Mutex<Vec<_>>>::default();
        let seen = Arc::clone(&shown);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass(acceptor.clone(), stream, sim, Arc::clone(&seen)));
            }
        });
        Self {
            bed,
            port,
            certificate: pair.certificate,
            shown,
            task,
        }
    }

    /// The same Ironic with certificates of another authority; all connections end.
    async fn change(self, authority: &Authority) -> Self {
        self.task.abort();
        self.task.await.unwrap_err();
        Self::open_at(authority, &TLS13, self.bed, self.port).await
    }

    fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}/v1", self.port)
    }

    fn saw(&self, pair: &Pair) -> bool {
        self.shown.lock().unwrap().contains(&der(&pair.certificate))
    }

    fn saw_nobody(&self) -> bool {
        self.shown.lock().unwrap().is_empty()
    }
}

fn server(authority: &Authority, pair: &Pair, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der(&authority.certificate)).unwrap();
    let provider = Arc::new(default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![der(&pair.certificate)], key)
        .unwrap()
}

async fn pass(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    sim: u16,
    seen: Arc<Mutex<Vec<CertificateDer<'static>>>>,
) {
    match acceptor.accept(stream).into_fallible().await {
        Ok(mut tls) => {
            let shown = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
            seen.lock().unwrap().push(shown.into_owned());
            let mut ironic = TcpStream::connect(("127.0.0.1", sim)).await.unwrap();
            // Ends with either side.
            tokio::io::copy_bidirectional(&mut tls, &mut ironic).await.ok();
        }
        Err((_, mut stream)) => {
            // A reset would overtake the alert.
            stream.shutdown().await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// The files of one operator, as mounted.
struct Mounted(PathBuf);

impl Mounted {
    fn new(files: &[(&str, &str)]) -> Self {
        let mounted = Self(scratch::dir("ironic-files").unwrap());
        fs::create_dir(mounted.0.join("ironic")).unwrap();
        for (name, content) in files {
            mounted.write(name, content);
        }
        mounted
    }

    fn trusting(authority: &Authority, user: Option<&Pair>) -> Self {
        let mounted = Self::new(&[("ca.crt", &authority.certificate)]);
        if let Some(user) = user {
            mounted.write("tls.crt", &user.certificate);
            mounted.write("tls.key", &user.key);
        }
        mounted
    }

    fn write(&self, name: &str, content: &str) {
        scratch::file(&self.0, name, content).unwrap();
    }

    /// Files are looked at before each request.
    fn settings(&self, endpoint: &str) -> Settings {
        let path = |name: &str| Path::new(&self.0).join(name).display().to_string();
        let settings = Settings::from_env(|name| match name {
            "IRONIC_ENDPOINT" => Some(endpoint.to_owned()),
            "METAL3_AUTH_ROOT_DIR" => Some(path("")),
            "IRONIC_CACERT_FILE" => Some(path("ca.crt")),
            "IRONIC_CLIENT_CERT_FILE" => Some(path("tls.crt")),
            "IRONIC_CLIENT_PRIVATE_KEY_FILE" => Some(path("tls.key")),
            _ => None,
        })
        .unwrap();
        Settings {
            reread: Duration::ZERO,
            ..settings
        }
    }
}

#[tokio::test]
async fn an_ironic_that_asks_for_a_certificate_gets_it() {
    let authority = Authority::new("metal3").unwrap();
    let user = authority.user("bmo", "metal3").unwrap();
    for version in [&TLS12, &TLS13] {
        let door = Door::open(&authority, version).await;
        let mounted = Mounted::trusting(&authority, Some(&user));
        let client = Client::new(&mounted.settings(&door.endpoint())).unwrap();
        assert_eq!(client.ready().await.unwrap(), 110, "{version:?}");
        assert!(client.nodes(None, 10).await.unwrap().0.is_empty());
        assert!(door.saw(&user), "{version:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_that_ironic_wants_the_error_says_what_to_check() {
    let authority = Authority::new("metal3").unwrap();
    let stranger = Authority::new("other").unwrap().user("bmo", "metal3").unwrap();
    for version in [&TLS12, &TLS13] {
        for user in [None, Some(&stranger)] {
            let door = Door::open(&authority, version).await;
            let mounted = Mounted::trusting(&authority, user);
            let client = Client::new(&mounted.settings(&door.endpoint())).unwrap();
            let error = client.ready().await.unwrap_err();
            assert_eq!(error.kind(), Kind::NotReady, "{error}");
            for word in [
                "alert",
                "IRONIC_CLIENT_CERT_FILE",
                "IRONIC_CLIENT_PRIVATE_KEY_FILE",
            ] {
                assert!(error.to_string().contains(word), "{version:?}: {error}");
            }
            assert!(!error.to_string().contains("BEGIN"), "{error}");
            assert!(door.saw_nobody());
        }
    }
}

#[tokio::test]
async fn an_ironic_of_another_authority_is_refused_unless_insecure() {
    let authority = Authority::new("metal3").unwrap();
    let user = authority.user("bmo", "metal3").unwrap();
    let door = Door::open(&authority, &TLS13).await;
    let mounted = Mounted::trusting(&Authority::new("other").unwrap(), Some(&user));
    let settings = mounted.settings(&door.endpoint());
    let error = Client::new(&settings).unwrap().ready().await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotReady, "{error}");
    assert!(error.to_string().contains("IRONIC_CACERT_FILE"), "{error}");
    assert!(door.saw_nobody());

    let settings = Settings {
        insecure: true,
        ..settings
    };
    assert_eq!(Client::new(&settings).unwrap().ready().await.unwrap(), 110);
    assert!(door.saw(&user));
}

#[tokio::test]
async fn ironics_own_certificate_is_enough_to_trust_it_and_nothing_else() {
    let authority = Authority::new("metal3").unwrap();
    let user = authority.user("bmo", "metal3").unwrap();
    for version in [&TLS12, &TLS13] {
        let door = Door::open(&authority, version).await;
        let mounted = Mounted::new(&[
            ("ca.crt", &door.certificate),
            ("tls.crt", &user.certificate),
            ("tls.key", &user.key),
        ]);
        let client = Client::new(&mounted.settings(&door.endpoint())).unwrap();
        assert_eq!(client.ready().await.unwrap(), 110, "{version:?}");

        // Its name still counts.
        let elsewhere = door.endpoint().replace("127.0.0.1", "localhost");
        let error = Client::new(&mounted.settings(&elsewhere)).unwrap().ready().await;
        assert!(error.unwrap_err().to_string().contains("IRONIC_CACERT_FILE"));

        // Another certificate of the same authority is not trusted for that.
        let other = Door::open(&authority, version).await;
        let error = Client::new(&mounted.settings(&other.endpoint()))
            .unwrap()
            .ready()
            .await;
        assert!(error.unwrap_err().to_string().contains("IRONIC_CACERT_FILE"));
        assert!(other.saw_nobody());
    }
}

#[tokio::test]
async fn renewed_certificates_are_picked_up() {
    let [old, new] = ["old", "new"].map(|name| Authority::new(name).unwrap());
    let [first, second, third] = [&old, &old, &new].map(|by| by.user("bmo", "metal3").unwrap());
    let door = Door::open(&old, &TLS13).await;
    let mounted = Mounted::trusting(&old, Some(&first));
    let client = Client::new(&mounted.settings(&door.endpoint())).unwrap();
    client.ready().await.unwrap();
    assert!(door.saw(&first));

    // Half-written: work goes on with what there was.
    mounted.write("tls.crt", &second.certificate);
    client.nodes(None, 10).await.unwrap();
    assert!(!door.saw(&second));
    mounted.write("tls.key", &second.key);
    client.nodes(None, 10).await.unwrap();
    assert!(door.saw(&second), "the new certificate is not waited for");

    // Without its CA, Ironic is not believed by those of the system.
    fs::remove_file(mounted.0.join("ca.crt")).unwrap();
    client.nodes(None, 10).await.unwrap();

    // The authority itself changes, Ironic first.
    let door = door.change(&new).await;
    let error = client.nodes(None, 10).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotReady, "{error}");
    mounted.write("ca.crt", &new.certificate);
    mounted.write("tls.crt", &third.certificate);
    mounted.write("tls.key", &third.key);
    until("an Ironic of the new authority", LONG, async || {
        client.nodes(None, 10).await
    })
    .await;
    assert!(door.saw(&third));
}

#[tokio::test]
async fn a_renewed_login_is_picked_up() {
    let bed = Bed::sim_with(Config {
        auth: Some(("admin".into(), "second".into())),
        ..Config::default()
    })
    .await;
    // As clusterctl leaves it when nobody gave a login.
    let mounted = Mounted::new(&[("ironic/username", ""), ("ironic/password", "")]);
    let client = Client::new(&mounted.settings(&bed.as_sim().endpoint)).unwrap();
    assert_eq!(client.ready().await.unwrap_err().kind(), Kind::Config);

    mounted.write("ironic/username", "admin\n");
    mounted.write("ironic/password", "second\n");
    until("the login to be read", LONG, async || client.ready().await).await;
}

#[tokio::test]
async fn files_are_not_read_for_every_request() {
    let bed = Bed::sim_with(Config {
        auth: Some(("admin".into(), "first".into())),
        ..Config::default()
    })
    .await;
    let mounted = Mounted::new(&[("ironic/username", "admin"), ("ironic/password", "first")]);
    let settings = Settings {
        reread: Duration::from_secs(3600),
        ..mounted.settings(&bed.as_sim().endpoint)
    };
    let client = Client::new(&settings).unwrap();
    mounted.write("ironic/password", "second");
    client.ready().await.unwrap();
    client.nodes(None, 10).await.unwrap();
}
