//! Renewal of certificates over years, with a clock that is passed in, by Secrets of a real API server: nobody who knows
//! an older authority is cut off, no connection ends, and replicas agree.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};
use metal3_kit::tls::{Keeper, Kept, Protocol, Terms, TlsListener};
use metal3_testkit::{ControlPlane, wait};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A clock that stands.
#[derive(Debug)]
struct At(Timestamp);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let since = Duration::from_secs(self.0.as_second().try_into().ok()?);
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// A connection to a server that shows this name under these authorities, at a time of the client.
pub(crate) async fn connect(
    address: &str,
    bundle: &str,
    name: &str,
    at: Option<Timestamp>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clock = Arc::new(At(at.unwrap_or_else(Timestamp::now)));
    let mut config = ClientConfig::builder_with_details(provider, clock)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from(name.to_owned()).unwrap(), stream)
        .await
}

/// Answers what it is told.
async fn echo(kept: &Kept) -> String {
    let mut listener = TlsListener::bind("127.0.0.1:0", Arc::clone(&kept.certificate), Protocol::Http2)
        .await
        .unwrap();
    let address = listener.local_addr().to_string();
    tokio::spawn(async move {
        while let Some(Ok(mut stream)) = listener.next().await {
            tokio::spawn(async move {
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    stream.write_all(&byte).await.unwrap();
                }
            });
        }
    });
    address
}

async fn answers(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"a").await.unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).await.unwrap();
}

struct World {
    namespace: &'static str,
    secrets: Api<Secret>,
}

impl World {
    async fn new(namespace: &'static str) -> Self {
        let plane = ControlPlane::shared().await;
        plane.namespace(namespace).await.unwrap();
        let secrets = Api::namespaced(plane.client(), namespace);
        Self { namespace, secrets }
    }

    fn keeper(&self) -> Keeper {
        let client = self.secrets.clone().into_client();
        Keeper::new(client, self.namespace, "cert", "service")
    }

    fn name(&self) -> String {
        format!("service.{}.svc", self.namespace)
    }

    /// Versions of both Secrets.
    async fn versions(&self) -> [Option<String>; 2] {
        let one = self.secrets.get("cert").await.unwrap();
        let other = self.secrets.get("cert-ca").await.unwrap();
        [one.resource_version(), other.resource_version()]
    }
}

#[tokio::test]
async fn nobody_is_cut_off_over_the_years() {
    let world = World::new("renewal").await;
    let (keeper, name, begin) = (world.keeper(), world.name(), Timestamp::now());
    let mut kept = keeper.obtain(begin).await.unwrap();
    let mut replica = keeper.obtain(begin).await.unwrap();
    let first = kept.bundle.borrow().clone();
    let address = echo(&kept).await;
    let mut oldest = connect(&address, &first, &name, Some(begin)).await.unwrap();
    answers(&mut oldest).await;

    let versions = world.versions().await;
    keeper.refresh(&mut kept, begin + DAY * 59).await.unwrap();
    assert_eq!(world.versions().await, versions, "it was too early");

    let chain = kept.chain.clone();
    keeper.refresh(&mut kept, begin + DAY * 61).await.unwrap();
    assert_ne!(kept.chain, chain);
    assert_eq!(*kept.bundle.borrow(), first);
    // The first certificate has expired by now.
    let later = begin + DAY * 95;
    connect(&address, &first, &name, Some(later)).await.unwrap();

    // The authority too is renewed, long before it expires.
    let later = begin + DAY * 2440;
    keeper.refresh(&mut kept, later).await.unwrap();
    let second = kept.bundle.borrow().clone();
    assert!(second.ends_with(&first) && second.len() > first.len());
    for bundle in [&first, &second] {
        let mut stream = connect(&address, bundle, &name, Some(later)).await.unwrap();
        answers(&mut stream).await;
    }
    // The next certificate is signed by the new authority; those who know only the old one go on.
    let later = begin + DAY * 2505;
    let chain = kept.chain.clone();
    keeper.refresh(&mut kept, later).await.unwrap();
    assert_ne!(kept.chain, chain);
    for bundle in [&first, &second] {
        let mut stream = connect(&address, bundle, &name, Some(later)).await.unwrap();
        answers(&mut stream).await;
    }
    answers(&mut oldest).await;

    // Another replica takes over what there is.
    let versions = world.versions().await;
    keeper.refresh(&mut replica, later).await.unwrap();
    assert_eq!(replica.chain, kept.chain);
    assert_eq!(*replica.bundle.borrow(), *kept.bundle.borrow());
    assert_eq!(world.versions().await, versions);
    let later = begin + DAY * 3651;
    keeper.refresh(&mut kept, later).await.unwrap();
    let alone = kept.bundle.borrow().clone();
    assert!(second.starts_with(&alone) && alone.len() < second.len());
    connect(&address, &alone, &name, Some(later)).await.unwrap();
}

#[tokio::test]
async fn replicas_that_renew_at_once_agree() {
    let world = World::new("renewal-race").await;
    let begin = Timestamp::now();
    let keepers = [(); 8].map(|()| world.keeper());
    let mut obtained = futures::future::join_all(keepers.iter().map(|keeper| keeper.obtain(begin)))
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let same = |kept: &[Kept]| {
        kept.windows(2)
            .all(|two| two[0].chain == two[1].chain && *two[0].bundle.borrow() == *two[1].bundle.borrow())
    };
    assert!(same(&obtained));
    let chain = obtained[0].chain.clone();
    // Both are due.
    let later = begin + DAY * 2440;
    let renewals = keepers.iter().zip(&mut obtained);
    futures::future::join_all(renewals.map(|(keeper, kept)| keeper.refresh(kept, later)))
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    assert!(same(&obtained) && obtained[0].chain != chain);
}

#[tokio::test]
async fn what_another_replica_made_is_shown_soon() {
    let world = World::new("renewal-follow").await;
    let name = world.name();
    let keeper = world
        .keeper()
        .with_terms(Terms::default(), Duration::from_millis(50));
    let kept = keeper.obtain(Timestamp::now()).await.unwrap();
    let (bundle, address) = (kept.bundle.borrow().clone(), echo(&kept).await);
    let mut old = connect(&address, &bundle, &name, None).await.unwrap();
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let before = shown(&old);
    let stop = CancellationToken::new();
    let following = tokio::spawn(keeper.follow(kept, stop.clone()));
    world
        .secrets
        .delete("cert", &DeleteParams::default())
        .await
        .unwrap();
    world.keeper().obtain(Timestamp::now()).await.unwrap();
    wait::until("the new certificate", wait::LONG, async || {
        let stream = connect(&address, &bundle, &name, None).await.unwrap();
        (shown(&stream) != before).then_some(())
    })
    .await;
    answers(&mut old).await;
    stop.cancel();
    following.await.unwrap().unwrap();
}
