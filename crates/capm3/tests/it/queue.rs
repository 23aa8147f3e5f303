//! Machines for which there is no host.

use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_rpc::v1::Rejections;
use metal3_rpc::v1::rejections::Rule;
use metal3_testkit::{events, wait};

use crate::lab::{ASSOCIATED, Lab};
use crate::world::World;

/// A machine asks by itself after half a minute at the soonest, so this many rounds take longer than `wait::LONG` without wakes.
const ROUNDS: usize = 6;

/// The claims, and when a host became free, in order.
fn claims(lab: &Lab) -> Vec<String> {
    let log = lab.hosts.with(|hosts| hosts.log.clone());
    let mentioned = |line: &String| line.starts_with("ClaimHost") || line == "freed";
    log.into_iter().filter(mentioned).collect()
}

#[tokio::test]
async fn a_machine_without_a_host_says_why_and_is_woken_by_each_host_that_becomes_free() {
    let world = World::start("queue").await;
    let lab = &world.lab;
    lab.busy_host("a");
    lab.hosts.with(|hosts| {
        let rule = |rule: &str, hosts, examples: &[&str]| Rule {
            rule: rule.into(),
            hosts,
            examples: examples.iter().map(|name| (*name).to_owned()).collect(),
        };
        hosts.rejections = Rejections {
            candidates: 3,
            rules: vec![rule("claimed", 2, &["a", "b"]), rule("label-mismatch", 1, &["c"])],
        };
    });
    lab.ready_cluster("c").await;
    lab.machine("m", "c").await;
    let message = lab
        .condition::<Metal3Machine>("m", ASSOCIATED, "False", "AssociateBareMetalHostFailed")
        .await;
    assert_eq!(
        message,
        "none of 3 hosts can be claimed: 2 claimed (a, b); 1 label-mismatch (c); add hosts, free some, or change \
         spec.hostSelector"
    );
    let told = events::expect(&lab.plane.client(), "queue", "m", "AssociateBareMetalHostFailed").await;
    assert!(told.contains("2 claimed"), "{told}");

    // Each host that becomes free is gone again before the machine asks; all wakes together must take less time than
    // asking every half minute would.
    wait::until("a claim after each host that became free", wait::LONG, {
        let mut freed = 0;
        async move || {
            let claims = claims(lab);
            if claims.last().is_some_and(|line| line == "freed") {
                return Err(format!("{claims:?}"));
            }
            if freed == ROUNDS {
                return Ok(());
            }
            freed += 1;
            lab.hosts.with(|hosts| hosts.log.push("freed".into()));
            lab.hosts.change("a", |host| host.consumer = None);
            lab.busy_host("a");
            Err(format!("{claims:?}"))
        }
    })
    .await;
    lab.hosts.with(|hosts| hosts.log.push("freed".into()));
    lab.free_host("b");
    assert_eq!(lab.claimed("m").await, "b");
    assert_eq!(claims(lab).last().unwrap(), "ClaimHost m b");
    let granted = lab.hosts.with(|hosts| hosts.granted.clone());
    assert_eq!(granted, [("b".to_owned(), "m".to_owned())]);
}

#[tokio::test]
async fn a_machine_gets_the_host_that_became_free_also_where_that_is_not_known_yet() {
    let world = World::start("queue-late").await;
    let lab = &world.lab;
    lab.busy_host("a");
    lab.hosts.with(|hosts| hosts.lags = true);
    lab.ready_cluster("c").await;
    lab.machine("m", "c").await;
    lab.condition::<Metal3Machine>("m", ASSOCIATED, "False", "AssociateBareMetalHostFailed")
        .await;
    let freed = lab.hosts.with(|hosts| hosts.revision + 1).to_string();
    lab.free_host("b");
    assert_eq!(lab.claimed("m").await, "b");
    // The first claim after that got it, and those before waited for nothing.
    let named: Vec<String> = lab.hosts.with(|hosts| {
        let claims = hosts.claims.iter();
        claims.map(|claim| claim.seen_revision.clone()).collect()
    });
    let (last, earlier) = named.split_last().unwrap();
    assert_eq!(*last, freed, "{named:?}");
    assert!(earlier.iter().all(String::is_empty), "{named:?}");
}
