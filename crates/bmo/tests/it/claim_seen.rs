//! Claims of a caller who has seen more than any replica will: Kubernetes was restored from a backup, for example.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metal3_rpc::AUTHORIZATION_GROUP;
use metal3_rpc::client::{Config, HostClient, Observer};
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::ClaimHostRequest;
use metal3_testkit::{Rules, scratch};

use crate::world::World;

/// Attempts that were made again.
#[derive(Debug, Default)]
struct Again(AtomicUsize);

impl Observer for Again {
    fn retried(&self, _: &'static str, _: &'static str) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A caller as capm3 is one.
async fn client(world: &World, again: &Arc<Again>) -> HostClient {
    let rules = Rules::default().inside(AUTHORIZATION_GROUP, "hosts", &["claim"]);
    let account = world.plane.account(&world.namespace, "caller", &rules).await;
    let folder = scratch::dir("caller").unwrap();
    let (ca, token) = (&world.bmo.certificates.ca, account.unwrap().token);
    let config = Config {
        ca_file: Some(scratch::file(&folder, "ca.crt", ca).unwrap()),
        token_file: Some(scratch::file(&folder, "token", token).unwrap()),
        observer: Arc::<Again>::clone(again),
        ..Config::new(format!("https://{}", world.bmo.address()))
    };
    HostClient::new(&config).unwrap()
}

#[tokio::test]
async fn a_revision_that_no_watch_comes_to_costs_a_claim_no_host_and_not_its_answer() {
    let world = World::start("claim-seen").await;
    world.available(&["a"]).await;
    let again = Arc::<Again>::default();
    let client = client(&world, &again).await;
    let claim = |machine: &str| ClaimHostRequest {
        namespace: world.namespace.clone(),
        consumer: Some(world.consumer(machine)),
        seen_revision: u64::MAX.to_string(),
        ..ClaimHostRequest::default()
    };
    let first = client.claim_host(claim("first")).await.unwrap();
    assert_eq!(first.host.unwrap().r#ref.unwrap().name, "a");
    let refused = client.claim_host(claim("second")).await.unwrap_err();
    assert_eq!(Reason::of(&refused), Some(Reason::NoHostAvailable), "{refused}");
    assert_eq!(
        again.0.load(Ordering::SeqCst),
        0,
        "the first attempt was answered"
    );
}
