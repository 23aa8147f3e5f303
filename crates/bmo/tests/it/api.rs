//! The HostService as tools see it: health, reflection, grpcurl, calls of later releases.

use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::HostRef;
use metal3_testkit::process::Program;
use metal3_testkit::{tools, wait};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1alpha;

use crate::world::{VERBS, World};

#[tokio::test]
async fn grpcurl_lists_describes_and_calls() {
    let world = World::start("grpcurl").await;
    world.available(&["a"]).await;
    world.caller("reader", &["get"]).await;
    let token = world.plane.token("grpcurl", "reader", &[]).await.unwrap();
    let run = async |before: &[&str], after: &[&str]| {
        let program = Program::new(tools::find("grpcurl").unwrap());
        let ca = world.bmo.certificates.ca_file.to_string_lossy().into_owned();
        program
            .args(["-cacert", &ca])
            .args(before)
            .arg(world.bmo.address())
            .args(after)
            .output()
            .await
    };
    let services = run(&[], &["list"]).await.unwrap();
    for service in [
        "metal3.host.v1.HostService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(services.contains(service), "{services}");
    }
    let described = run(&[], &["describe", "metal3.host.v1.HostService"])
        .await
        .unwrap();
    assert!(described.contains("rpc ClaimHost"), "{described}");
    let request = r#"{"host": {"namespace": "grpcurl", "name": "a"}}"#;
    let authorization = format!("authorization: Bearer {token}");
    let answer = run(
        &["-H", &authorization, "-d", request],
        &["metal3.host.v1.HostService/GetHost"],
    )
    .await
    .unwrap();
    assert!(answer.contains(r#""provisioningState": "available""#), "{answer}");
    assert!(!answer.contains("password"), "{answer}");
    let refused = run(&["-d", request], &["metal3.host.v1.HostService/GetHost"])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("Unauthenticated") && refused.contains("TOKEN_INVALID"),
        "{refused}"
    );
}

#[tokio::test]
async fn health_and_both_reflections_answer_without_a_token() {
    let world = World::start("health").await;
    for service in ["", "metal3.host.v1.HostService"] {
        let mut health = HealthClient::new(world.bmo.channel());
        wait::until(
            &format!("service {service:?} to be healthy"),
            wait::LONG,
            async || {
                let request = HealthCheckRequest {
                    service: service.into(),
                };
                let status = health
                    .check(request)
                    .await
                    .map_err(|error| error.to_string())?
                    .into_inner()
                    .status();
                if status == ServingStatus::Serving {
                    Ok(())
                } else {
                    Err(format!("{status:?}"))
                }
            },
        )
        .await;
    }
    let mut alpha = v1alpha::server_reflection_client::ServerReflectionClient::new(world.bmo.channel());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut answers = alpha
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}");
    };
    assert!(
        list.service
            .iter()
            .any(|service| service.name == "metal3.host.v1.HostService"),
        "{list:?}"
    );
}

#[tokio::test]
async fn calls_of_a_later_release_say_so_to_those_who_may_call_them() {
    let world = World::start("later").await;
    let host = Some(HostRef::named("later", "a"));
    let mut may = world.caller("may", &VERBS).await;
    let mut may_not = world.caller("may-not", &["list"]).await;
    for (hosts, code, reason) in [
        (&mut may, Code::Unimplemented, Reason::NotImplemented),
        (&mut may_not, Code::PermissionDenied, Reason::Forbidden),
    ] {
        let check = |call: &str, error: Option<Status>| {
            let error = error.unwrap_or_else(|| panic!("{call} answers"));
            assert_eq!(
                (error.code(), Reason::of(&error)),
                (code, Some(reason)),
                "{call}: {error}"
            );
        };
        let request = Request::new(v1::SetCleaningModeRequest {
            host: host.clone(),
            ..Default::default()
        });
        check("SetCleaningMode", hosts.set_cleaning_mode(request).await.err());
        let request = v1::ReleaseReservationsRequest {
            namespace: "later".into(),
            ..Default::default()
        };
        check(
            "ReleaseReservations",
            hosts.release_reservations(request).await.err(),
        );
        let request = v1::HoldPowerOffRequest {
            host: host.clone(),
            ..Default::default()
        };
        check("HoldPowerOff", hosts.hold_power_off(request).await.err());
        let request = v1::ReleasePowerHoldRequest {
            host: host.clone(),
            ..Default::default()
        };
        check("ReleasePowerHold", hosts.release_power_hold(request).await.err());
        let request = v1::MarkHealthRequest {
            host: host.clone(),
            ..Default::default()
        };
        check("MarkHealth", hosts.mark_health(request).await.err());
        let request = v1::PrepareMoveRequest {
            host: host.clone(),
            ..Default::default()
        };
        check("PrepareMove", hosts.prepare_move(request).await.err());
        let request = v1::ResumeAfterMoveRequest {
            host: host.clone(),
            ..Default::default()
        };
        check("ResumeAfterMove", hosts.resume_after_move(request).await.err());
        let request = v1::ExplainHostRequest { host: host.clone() };
        check("ExplainHost", hosts.explain_host(request).await.err());
    }
}
