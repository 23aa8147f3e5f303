//! A server that is away, slow, or answers halfway.

use std::time::Duration;

use futures::future::join_all;
use metal3_rpc::client::Patience;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::claim_host_response::Reason as Chosen;
use metal3_testkit::wait;
use metal3_testkit::wire::Mode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::replicas::{SHORT, Service};

/// Enough for the busiest machine.
const PATIENT: Patience = Patience {
    call: Duration::from_secs(600),
    ..SHORT
};

fn methods(service: &Service) -> Vec<&'static str> {
    service
        .replica
        .with(|world| world.seen.iter().map(|(_, method)| *method).collect())
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_repeated_and_gets_the_same_host() {
    let service = Service::start(1, 5).await;
    service.get().await.unwrap();
    service.wires[0].set(Mode::Mute);
    let claim = service.claim("m");
    let lose = async {
        wait::until("the claim to be done", wait::LONG, async || {
            (!service.replica.consumers().is_empty()).then_some(())
        })
        .await;
        service.wires[0].cut();
        service.wires[0].set(Mode::Pass);
    };
    let (claimed, ()) = tokio::join!(claim, lose);
    let claimed = claimed.unwrap();
    assert_eq!(claimed.reason(), Chosen::Existing, "the first attempt had it");
    let name = claimed.host.unwrap().r#ref.unwrap().name;
    assert_eq!(
        service.replica.consumers().into_iter().collect::<Vec<_>>(),
        [(name, "m".to_owned())]
    );
}

#[tokio::test]
async fn claims_over_bad_wires_get_one_host_each() {
    let service = Service::patient(2, 40, SHORT).await;
    let names: Vec<String> = (0..40).map(|number| format!("m{number:02}")).collect();
    let claims = names.iter().map(|name| async {
        // As capm3 does: whoever got no answer asks again.
        wait::until("a host", wait::LONG, async || service.claim(name).await).await
    });
    let harm = async {
        for round in 0..4 {
            let wire = &service.wires[round % 2];
            for mode in [
                Mode::Mute,
                Mode::Slow(Duration::from_millis(20)),
                Mode::Hole,
                Mode::Refuse,
            ] {
                let before = service.replica.with(|world| world.seen.len());
                wire.set(mode);
                // Until some call felt it, or all are done.
                let felt = wait::try_until("a call", Duration::from_millis(500), async || {
                    (service.replica.with(|world| world.seen.len()) > before + 2).then_some(())
                });
                felt.await.ok();
                wire.cut();
            }
            wire.set(Mode::Pass);
        }
    };
    let (claimed, ()) = tokio::join!(join_all(claims), harm);
    let mut hosts: Vec<_> = claimed
        .into_iter()
        .map(|answer| answer.host.unwrap().r#ref.unwrap().name)
        .collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), 40);
    assert_eq!(service.replica.consumers().len(), 40);
    assert!(!service.notes.told().retries.is_empty(), "nothing was felt of it");
}

#[tokio::test]
async fn a_connection_that_was_forgotten_on_the_way_is_replaced() {
    let patience = Patience {
        // So that it is the attempt that notices.
        keepalive: Duration::from_secs(600),
        ..SHORT
    };
    let service = Service::patient(1, 1, patience).await;
    service.get().await.unwrap();
    service.wires[0].forget();
    service.get().await.unwrap();
    assert_eq!(service.notes.told().retries, ["silent"]);
    assert_eq!(service.wires[0].connections(), 2);
}

#[tokio::test]
async fn a_slow_server_gets_the_time_that_is_left() {
    let service = Service::patient(1, 1, SHORT).await;
    service.get().await.unwrap();
    // Longer than a first attempt may take.
    let slow = SHORT.call / 2;
    service.replica.with(|world| world.delays = [slow, slow].into());
    service.get().await.unwrap();
    assert_eq!(service.notes.told().retries, ["silent"]);
}

#[tokio::test]
async fn a_busy_server_is_waited_for_by_all_calls_that_no_retry_is_left_for() {
    let service = Service::patient(1, 1, SHORT).await;
    service.get().await.unwrap();
    let slow = SHORT.call / 2;
    service.replica.with(|world| world.delays = [slow; 40].into());
    let answers = join_all((0..40).map(|_| service.get())).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let retries = service.notes.told().retries.len();
    assert!((1..40).contains(&retries), "{retries}");
}

#[tokio::test]
async fn a_call_ends_with_its_deadline() {
    let patience = Patience {
        call: Duration::from_millis(900),
        keepalive: Duration::from_secs(600),
        ..SHORT
    };
    let service = Service::patient(1, 1, patience).await;
    service.wires[0].set(Mode::Hole);
    let status = service.get().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("GetHost"), "{status}");
    assert_eq!(methods(&service), [] as [&str; 0]);
}

#[tokio::test]
async fn a_dead_connection_is_noticed_by_keepalive_before_the_deadline() {
    let service = Service::patient(1, 1, PATIENT).await;
    service.get().await.unwrap();
    service.wires[0].forget();
    // The attempt itself would wait for minutes.
    service.get().await.unwrap();
    assert_eq!(service.notes.told().retries, ["unreachable"]);
}

#[tokio::test]
async fn nobody_at_the_address_is_told_with_the_cause_and_found_when_there() {
    let service = Service::start(1, 1).await;
    service.wires[0].set(Mode::Refuse);
    let status = service.get().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(!status.message().is_empty());
    assert_eq!(service.notes.told().retries.len(), 2, "three attempts");
    service.wires[0].set(Mode::Pass);
    service.get().await.unwrap();
}

#[tokio::test]
async fn what_the_server_says_decides_whether_it_is_asked_again() {
    let busy = Status::with_error_details(
        Code::ResourceExhausted,
        "too many calls",
        ErrorDetails::with_retry_info(Some(Duration::from_millis(10))),
    );
    for (status, calls) in [
        (Reason::Conflict.status("somebody was faster", []), 2),
        (Reason::NotSynced.status("not read yet", []), 2),
        (busy, 2),
        (Reason::NoHostAvailable.status("none", []), 1),
        (Reason::Forbidden.status("no", []), 1),
        (Reason::InvalidField.status("no", []), 1),
        (Status::internal("bug"), 1),
    ] {
        let service = Service::patient(1, 1, PATIENT).await;
        service
            .replica
            .with(|world| world.failures.push_back(status.clone()));
        let answer = service.claim("m").await;
        assert_eq!(methods(&service), vec!["ClaimHost"; calls], "{status}");
        match answer {
            Ok(_) => assert_eq!(calls, 2),
            // As the server said it.
            Err(told) => assert_eq!((told.code(), told.message()), (status.code(), status.message())),
        }
    }
}

#[tokio::test]
async fn an_outage_gets_hardly_more_calls_than_were_made() {
    let service = Service::patient(1, 1, PATIENT).await;
    let calls = 300;
    service.replica.with(|world| {
        world.failures = vec![Reason::NotSynced.status("not read yet", []); 3 * calls].into();
    });
    let answers = join_all((0..calls).map(|_| service.get())).await;
    assert!(answers.iter().all(Result::is_err));
    let [seen] = service.replica.seen();
    // A fifth, and what there was to begin with; a second gives one more.
    assert!(seen < calls * 3 / 2, "{seen} calls arrived");
    assert!(seen > calls, "some were made again");
}
