//! The HostService as tools see it: health, reflection, grpcurl.

use metal3_testkit::process::Program;
use metal3_testkit::{tools, wait};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1alpha;

use crate::world::World;

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
