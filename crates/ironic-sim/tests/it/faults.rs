//! What can be made to go wrong, and the log that shows what was done nevertheless.

use std::time::Duration;

use metal3_ironic_sim::actions::{Deed, KEPT};
use metal3_ironic_sim::{Fault, Kind, Operation};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Api;

fn deeds(api: &Api, node: &str) -> Vec<Deed> {
    let log = api.sim.actions_of(node).unwrap();
    log.actions.iter().map(|action| action.deed).collect()
}

async fn control(api: &Api, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let url = format!("{}/{path}", api.sim.control);
    let answer = api.http.request(method, url).json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn requests_are_answered_by_the_status_of_a_fault() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let other = api.manageable("ns~b").await;
    for status in [401, 409, 500, 503] {
        let kind = Kind::Http {
            status,
            request: "PUT nodes/{id}/states/*".to_owned(),
        };
        api.sim.set_fault("http", Fault::new(kind, "ns~a").times(1));
        let provide = json!({"target": "provide"});
        assert_eq!(
            api.verb(&other, json!({"target": "manage"})).await,
            StatusCode::BAD_REQUEST
        );
        assert_eq!(api.verb(&node, provide).await.as_u16(), status);
        assert_eq!(api.state(&node).await, "manageable", "nothing was done");
    }
    assert_eq!(
        api.verb(&node, json!({"target": "provide"})).await,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn a_connection_breaks_before_or_after_the_work() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    for (done, power) in [(false, Value::from("power off")), (true, Value::from("power on"))] {
        let kind = Kind::ApiDrop {
            request: "PUT *".to_owned(),
            done,
        };
        api.sim.set_fault("drop", Fault::new(kind, "*").times(1));
        let url = format!("{}/nodes/{node}/states/power", api.sim.endpoint);
        let sent = api
            .http
            .put(url)
            .json(&json!({"target": "power on"}))
            .send()
            .await;
        let broken = match sent {
            Ok(answer) => answer.bytes().await.is_err(),
            Err(_) => true,
        };
        assert!(broken, "done: {done}");
        assert_eq!(api.field(&node, "power_state").await, power, "done: {done}");
    }
}

#[tokio::test]
async fn a_slow_api_answers_nevertheless() {
    let api = Api::new().await;
    let kind = Kind::ApiSlow {
        delay: Duration::from_millis(20),
        request: "GET drivers".to_owned(),
    };
    api.sim.set_fault("slow", Fault::new(kind, "*").times(1));
    assert!(!api.get("drivers").await["drivers"].as_array().unwrap().is_empty());
    let (_, faults) = control(&api, Method::GET, "faults", Value::Null).await;
    assert_eq!(faults, json!({}), "the fault lost its only strike");
}

#[tokio::test]
async fn every_long_operation_can_fail() {
    for (operation, verbs, state, fault) in [
        (Operation::Verify, &["manage"][..], "enroll", Value::Null),
        (
            Operation::Inspect,
            &["manage", "inspect"],
            "inspect failed",
            Value::Null,
        ),
        (
            Operation::Clean,
            &["manage", "provide"],
            "clean failed",
            "clean failure".into(),
        ),
        (
            Operation::Deploy,
            &["manage", "provide", "active"],
            "deploy failed",
            Value::Null,
        ),
        (
            Operation::Undeploy,
            &["manage", "provide", "active", "deleted"],
            "error",
            Value::Null,
        ),
        (
            Operation::Adopt,
            &["manage", "adopt"],
            "adopt failed",
            Value::Null,
        ),
        (
            Operation::Service,
            &["manage", "adopt", "service"],
            "service failed",
            "service failure".into(),
        ),
    ] {
        let api = Api::new().await;
        let node = api.node("ns~a").await;
        api.sim.set_fault(
            "fail",
            Fault::new(
                Kind::Fail {
                    operation,
                    message: Some("on fire".into()),
                },
                "ns~a",
            ),
        );
        for verb in verbs {
            let steps = json!([{"interface": "firmware", "step": "update"}]);
            let status = match *verb {
                "active" => api.deploy(&node).await,
                "service" => {
                    api.verb(&node, json!({"target": verb, "service_steps": steps}))
                        .await
                }
                verb => api.verb(&node, json!({"target": verb})).await,
            };
            assert_eq!(status, StatusCode::ACCEPTED, "{operation:?} {verb}");
        }
        assert_eq!(api.state(&node).await, state, "{operation:?}");
        assert_eq!(api.field(&node, "fault").await, fault, "{operation:?}");
        assert_eq!(api.field(&node, "last_error").await, "on fire", "{operation:?}");
    }
}

#[tokio::test]
async fn somebody_else_may_change_a_node() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let change =
        json!({"maintenance": true, "reason": "disk swap", "fault": "power failure", "health": "Critical"});
    let (status, _) = control(&api, Method::PATCH, "nodes/ns~a", change).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for (field, value) in [
        ("maintenance", json!(true)),
        ("maintenance_reason", json!("disk swap")),
        ("fault", json!("power failure")),
        ("health", json!("Critical")),
    ] {
        assert_eq!(api.field(&node, field).await, value, "{field}");
    }
    let change = json!({"maintenance": false, "provision_state": "error", "last_error": "lost"});
    assert_eq!(
        control(&api, Method::PATCH, "nodes/ns~a", change).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(api.state(&node).await, "error");
    assert_eq!(api.field(&node, "fault").await, Value::Null);
    for change in [
        json!({"fault": "hunger"}),
        json!({"health": "fine"}),
        json!({"provision_state": "gone"}),
    ] {
        let (status, _) = control(&api, Method::PATCH, "nodes/ns~a", change).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn the_log_tells_what_was_done_and_who_asked() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    assert_eq!(deeds(&api, &node), [], "verifying touches nothing");
    for verb in ["inspect", "provide"] {
        assert_eq!(
            api.verb(&node, json!({"target": verb})).await,
            StatusCode::ACCEPTED
        );
    }
    assert_eq!(api.deploy(&node).await, StatusCode::ACCEPTED);
    assert_eq!(
        api.verb(&node, json!({"target": "deleted"})).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(api.state(&node).await, "available");
    let (status, _) = api.call(Method::DELETE, "nodes/ns~a", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);

    let (_, logs) = control(&api, Method::GET, "actions", Value::Null).await;
    let told: Vec<String> = logs[0]["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| {
            let words = [&action["deed"], &action["operation"], &action["asked"]];
            words.map(|word| word.as_str().unwrap_or("-")).join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "boot-ramdisk inspect PUT states/provision inspect",
            "power-off inspect PUT states/provision inspect",
            "boot-ramdisk clean PUT states/provision provide",
            "erase clean PUT states/provision provide",
            "power-off clean PUT states/provision provide",
            "boot-ramdisk deploy PUT states/provision active",
            "deploy deploy PUT states/provision active",
            "undeploy undeploy PUT states/provision deleted",
            "power-off undeploy PUT states/provision deleted",
            "boot-ramdisk clean PUT states/provision deleted",
            "erase clean PUT states/provision deleted",
            "power-off clean PUT states/provision deleted",
            "delete - DELETE nodes",
        ]
    );
    let deploy = &logs[0]["actions"][6];
    assert_eq!(deploy["detail"], "http://images/a");
}

#[tokio::test]
async fn an_adopted_host_is_not_touched() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    assert_eq!(
        api.verb(&node, json!({"target": "adopt"})).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(api.state(&node).await, "active");
    assert_eq!(deeds(&api, &node), []);
}

#[tokio::test]
async fn the_log_of_a_machine_is_bounded_and_says_so() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    for _ in 0..KEPT {
        assert!(api.sim.press_power(&node, true));
    }
    assert_eq!(api.sim.actions_of(&node).unwrap().dropped, 0);
    assert!(api.sim.press_power(&node, false));
    let log = api.sim.actions_of(&node).unwrap();
    assert_eq!((log.actions.len(), log.dropped), (KEPT, 1));
    assert_eq!(log.actions.last().unwrap().deed, Deed::PowerOff);
    api.sim.clear_actions();
    assert_eq!(deeds(&api, &node), []);
}

#[tokio::test]
async fn the_command_line_steers_a_simulation() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let url = api.sim.endpoint.replace("/v1", "");
    let ctl = async |words: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ironic-sim"));
        command.args(["ctl", "--url", &url]).args(words);
        let output = command.output().await.unwrap();
        let text = String::from_utf8(if output.status.success() {
            output.stdout
        } else {
            output.stderr
        });
        (output.status.success(), text.unwrap())
    };
    let (done, text) = ctl(&["power", "ns~a", "on"]).await;
    assert!(done, "{text}");
    assert!(ctl(&["hosts"]).await.1.contains("no-boot-source"));
    assert!(
        ctl(&["actions", "ns~a"])
            .await
            .1
            .contains("power-on   <- somebody at the machine")
    );
    let (done, text) = ctl(&["fault", "fail:clean@ns~a", "--name", "c"]).await;
    assert!(done, "{text}");
    assert!(ctl(&["faults"]).await.1.contains("clean"));
    assert!(ctl(&["clear", "c"]).await.0);
    let (done, text) = ctl(&["node", "ns~a", "--fault", "hunger"]).await;
    assert!(!done && text.contains("hunger"), "{text}");
    assert!(
        ctl(&[
            "add",
            "https://192.0.2.7/redfish/v1/Systems/1",
            "--on",
            "--image",
            "http://i/a"
        ])
        .await
        .0
    );
    assert_eq!(
        api.sim
            .machine("https://192.0.2.7/redfish/v1/Systems/1")
            .unwrap()
            .power_state,
        "power on"
    );
    assert!(ctl(&["wipe"]).await.0);
    assert_eq!(
        api.call(Method::GET, &format!("nodes/{node}"), None).await.0,
        StatusCode::NOT_FOUND
    );
}
