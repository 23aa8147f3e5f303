//! The simulation as a client sees it.

use metal3_ironic_sim::{Config, Fault, Kind, Latencies, Login, Operation};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Api;

#[tokio::test]
async fn a_node_lives_from_enrolment_to_removal() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    assert_eq!(
        api.call(Method::GET, &format!("nodes/{node}/inventory"), None)
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    for (verb, state) in [("inspect", "manageable"), ("provide", "available")] {
        assert_eq!(
            api.verb(&node, json!({"target": verb})).await,
            StatusCode::ACCEPTED
        );
        assert_eq!(api.state(&node).await, state);
    }
    let inventory = api.get(&format!("nodes/{node}/inventory")).await;
    assert_eq!(inventory["inventory"]["disks"].as_array().unwrap().len(), 2);
    assert_eq!(
        api.get(&format!("ports?node_uuid={node}")).await["ports"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    assert_eq!(api.deploy(&node).await, StatusCode::ACCEPTED);
    assert_eq!(api.state(&node).await, "active");
    let machine = api.sim.machine(&node).unwrap();
    assert_eq!(machine.power_state, "power on");
    let disk = machine.disk.unwrap();
    assert_eq!(disk.image, "http://images/a");
    assert_eq!(disk.configdrive["user_data"], "#cloud-config");
    assert_eq!(api.field(&node, "instance_info").await["configdrive"], "******");

    assert_eq!(
        api.verb(&node, json!({"target": "deleted"})).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(api.state(&node).await, "available");
    assert!(
        api.sim.machine(&node).unwrap().disk.is_none(),
        "cleaning wipes the disk"
    );
    assert_eq!(
        api.call(Method::DELETE, "nodes/ns~a", None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        api.call(Method::GET, &format!("nodes/{node}"), None).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        api.get("ports").await["ports"],
        json!([]),
        "ports go with their node"
    );
}

#[tokio::test]
async fn a_list_has_pages_fields_and_filters() {
    let api = Api::new().await;
    for index in 0..5 {
        api.node(&format!("ns~{index}")).await;
    }
    let (mut names, mut path) = (Vec::new(), "nodes?fields=name&limit=2".to_owned());
    loop {
        let page = api.get(&path).await;
        for node in page["nodes"].as_array().unwrap() {
            assert_eq!(node.as_object().unwrap().len(), 2, "name and links only: {node}");
            names.push(node["name"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => path = next.split("/v1/").last().unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["ns~0", "ns~1", "ns~2", "ns~3", "ns~4"]);
    for (filter, count) in [
        ("provision_state=enroll", 5),
        ("provision_state=active", 0),
        ("driver=ipmi", 0),
        ("associated=false", 5),
        ("maintenance=true", 0),
    ] {
        let nodes = api.get(&format!("nodes?{filter}")).await["nodes"]
            .as_array()
            .unwrap()
            .len();
        assert_eq!(nodes, count, "{filter}");
    }
    assert_eq!(
        api.call(
            Method::GET,
            "nodes?marker=11111111-1111-4111-8111-111111111111",
            None
        )
        .await
        .0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn duplicates_are_conflicts() {
    let api = Api::new().await;
    let node = api.node("ns~a").await;
    let (status, _) = api
        .call(
            Method::POST,
            "nodes",
            Some(json!({"driver": "redfish", "name": "ns~a"})),
        )
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    let port = json!({"node_uuid": node, "address": "52:54:00:00:00:01"});
    assert_eq!(
        api.call(Method::POST, "ports", Some(port.clone())).await.0,
        StatusCode::CREATED
    );
    let (status, body) = api.call(Method::POST, "ports", Some(port)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let inner: Value = serde_json::from_str(body["error_message"].as_str().unwrap()).unwrap();
    assert_eq!(
        inner["faultstring"],
        "A port with MAC address 52:54:00:00:00:01 already exists."
    );
}

#[tokio::test]
async fn a_patch_that_fails_changes_nothing() {
    let api = Api::new().await;
    let node = api.node("ns~a").await;
    let patch = json!([
        {"op": "add", "path": "/driver_info/deploy_iso", "value": "x"},
        {"op": "remove", "path": "/driver_info/nothing"},
    ]);
    assert_eq!(api.patch(&node, patch).await, StatusCode::BAD_REQUEST);
    assert!(api.field(&node, "driver_info").await.get("deploy_iso").is_none());
}

#[tokio::test]
async fn a_node_at_work_is_locked_and_says_so() {
    let config = Config {
        faults: vec![("stuck".into(), "hang:verify".parse().unwrap())],
        ..Config::default()
    };
    let api = Api::with(config).await;
    let node = api.node("ns~a").await;
    api.verb(&node, json!({"target": "manage"})).await;
    assert_eq!(api.state(&node).await, "verifying");
    assert_eq!(api.field(&node, "target_provision_state").await, "manageable");
    assert_eq!(api.field(&node, "reservation").await, "sim");
    let patch = json!([{"op": "add", "path": "/extra/x", "value": 1}]);
    assert_eq!(api.patch(&node, patch).await, StatusCode::CONFLICT);
    assert_eq!(
        api.verb(&node, json!({"target": "provide"})).await,
        StatusCode::CONFLICT
    );
    assert!(api.sim.remove_fault("stuck"));
    assert_eq!(api.state(&node).await, "manageable");
}

#[tokio::test]
async fn a_ramdisk_at_work_can_be_aborted() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    api.sim.set_fault("stuck", "hang:inspect".parse().unwrap());
    api.verb(&node, json!({"target": "inspect"})).await;
    assert_eq!(api.state(&node).await, "inspect wait");
    assert_eq!(api.field(&node, "reservation").await, Value::Null);
    assert_eq!(
        api.verb(&node, json!({"target": "abort"})).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(api.state(&node).await, "inspect failed");
    assert_eq!(
        api.field(&node, "last_error").await,
        "Inspection was aborted by request."
    );
    api.sim.clear_faults();
    assert_eq!(
        api.state(&node).await,
        "inspect failed",
        "what was aborted does not go on"
    );
}

#[tokio::test]
async fn a_failed_clean_step_leaves_maintenance_and_a_fault() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    api.sim.set_fault("dirty", "fail:clean@ns~a".parse().unwrap());
    api.verb(&node, json!({"target": "provide"})).await;
    assert_eq!(api.state(&node).await, "clean failed");
    assert_eq!(api.field(&node, "fault").await, "clean failure");
    assert_eq!(api.field(&node, "maintenance").await, true);
    assert_eq!(api.field(&node, "target_provision_state").await, "available");
    api.call(Method::DELETE, &format!("nodes/{node}/maintenance"), None)
        .await;
    assert_eq!(api.field(&node, "fault").await, Value::Null);
}

#[tokio::test]
async fn a_ramdisk_is_not_heard_in_maintenance() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let maintenance = format!("nodes/{node}/maintenance");
    api.call(Method::PUT, &maintenance, Some(json!({"reason": "x"})))
        .await;
    assert_eq!(
        api.verb(&node, json!({"target": "provide"})).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(api.state(&node).await, "clean wait");
    api.call(Method::DELETE, &maintenance, None).await;
    assert_eq!(api.state(&node).await, "available");
}

#[tokio::test]
async fn only_the_given_bmc_login_is_right_if_one_is_given() {
    let login = Login {
        username: "root".into(),
        password: "other".into(),
    };
    let api = Api::with(Config {
        bmc_login: Some(login),
        ..Config::default()
    })
    .await;
    let node = api.node("ns~a").await;
    api.verb(&node, json!({"target": "manage"})).await;
    assert_eq!(api.state(&node).await, "enroll");
    let error = api.field(&node, "last_error").await;
    assert!(error.as_str().unwrap().contains("401"), "{error}");
    let patch = json!([{"op": "add", "path": "/driver_info/redfish_password", "value": "other"}]);
    assert_eq!(api.patch(&node, patch).await, StatusCode::OK);
    api.verb(&node, json!({"target": "manage"})).await;
    assert_eq!(api.state(&node).await, "manageable");
}

#[tokio::test]
async fn machines_survive_the_loss_of_the_database() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    api.verb(&node, json!({"target": "provide"})).await;
    api.deploy(&node).await;
    api.sim.wipe();
    assert_eq!(api.get("nodes").await["nodes"], json!([]));
    let machine = api.sim.machine("http://ns~a.bmc/redfish/v1/Systems/1").unwrap();
    assert_eq!((machine.node, machine.power_state), (None, "power on"));
    assert!(machine.disk.is_some());
    let node = api.manageable("ns~a").await;
    assert_eq!(api.field(&node, "power_state").await, "power on");
}

#[tokio::test]
async fn a_restart_fails_what_the_conductor_was_doing() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    api.sim.set_fault(
        "slow",
        Fault::new(
            Kind::BmcSlow {
                delay: std::time::Duration::from_secs(3600),
            },
            "*",
        ),
    );
    api.verb(&node, json!({"target": "provide"})).await;
    assert_eq!(api.state(&node).await, "cleaning");
    api.sim.restart(std::time::Duration::ZERO);
    assert_eq!(api.state(&node).await, "clean failed");
}

#[tokio::test]
async fn lost_power_control_is_noticed_and_regained() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    api.sim.set_fault("dead", "power-lost@ns~a".parse().unwrap());
    assert_eq!(api.field(&node, "fault").await, "power failure");
    assert_eq!(api.field(&node, "power_state").await, Value::Null);
    assert!(api.sim.remove_fault("dead"));
    assert_eq!(api.field(&node, "fault").await, Value::Null);
    assert_eq!(api.field(&node, "maintenance").await, false);
    assert_eq!(api.field(&node, "power_state").await, "power off");
}

#[tokio::test]
async fn the_version_is_negotiated() {
    let api = Api::with(Config {
        max_minor: 94,
        ..Config::default()
    })
    .await;
    let (status, body) = api.call(Method::GET, "drivers", None).await;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE);
    assert!(
        body["error_message"].as_str().unwrap().contains("[1.1, 1.94]"),
        "{body}"
    );
    let old = api
        .http
        .post(format!("{}/nodes", api.sim.endpoint))
        .header("X-OpenStack-Ironic-API-Version", "1.94")
        .json(&json!({"driver": "redfish", "disable_power_off": true}))
        .send()
        .await
        .unwrap();
    assert_eq!(old.status(), StatusCode::NOT_ACCEPTABLE);
    assert_eq!(old.headers()["x-openstack-ironic-api-maximum-version"], "1.94");
}

#[tokio::test]
async fn the_login_is_checked_except_for_the_versions() {
    let api = Api::with(Config {
        auth: Some(("admin".into(), "secret".into())),
        ..Config::default()
    })
    .await;
    assert_eq!(api.get("").await["id"], "v1");
    assert_eq!(
        api.call(Method::GET, "nodes", None).await.0,
        StatusCode::UNAUTHORIZED
    );
    let request = api.http.get(format!("{}/nodes", api.sim.endpoint));
    let answer = request.basic_auth("admin", Some("secret")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_control_api_does_what_the_library_does() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let control = |path: &str| format!("{}/{path}", api.sim.control);
    let fault = json!({"kind": "fail", "operation": "deploy", "message": "no way", "times": 1});
    api.http
        .put(control("faults/x"))
        .json(&fault)
        .send()
        .await
        .unwrap();
    api.verb(&node, json!({"target": "provide"})).await;
    api.deploy(&node).await;
    assert_eq!(api.field(&node, "last_error").await, "no way");
    let faults: Value = api
        .http
        .get(control("faults"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(faults, json!({}), "it struck once");

    let machines: Value = api
        .http
        .get(control("machines"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(machines[0]["node"], json!(node));
    let machine: Value = api
        .http
        .get(control("machines/ns~a"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(machine["system"], "1");
    assert_eq!(machine["provision_state"], "deploy failed");

    let button = json!({"power": "on"});
    api.http
        .put(control("machines/ns~a/power"))
        .json(&button)
        .send()
        .await
        .unwrap();
    assert_eq!(api.field(&node, "power_state").await, "power on");

    let stats: Value = api
        .http
        .get(control("stats"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let provision = stats["requests"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["route"] == "nodes/{id}/states/provision");
    assert_eq!(provision.unwrap()["count"], 3);

    api.http.post(control("wipe")).send().await.unwrap();
    assert_eq!(api.sim.nodes(), 0);
}

#[tokio::test]
async fn latencies_are_spent_in_the_states_between() {
    let mut latencies = Latencies::ZERO;
    latencies.set(Operation::Clean, std::time::Duration::from_secs(3600));
    let api = Api::with(Config {
        latencies,
        ..Config::default()
    })
    .await;
    let node = api.manageable("ns~a").await;
    api.verb(&node, json!({"target": "provide"})).await;
    assert_eq!(api.state(&node).await, "cleaning");
    api.sim.set_latencies(Latencies::ZERO);
    assert_eq!(api.state(&node).await, "cleaning", "what began keeps its pace");
}

#[tokio::test]
async fn an_unavailable_api_answers_503_and_recovers() {
    let api = Api::new().await;
    api.sim
        .set_fault("down", Fault::new(Kind::ApiUnavailable, "*").times(1));
    assert_eq!(
        api.call(Method::GET, "nodes", None).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(api.call(Method::GET, "nodes", None).await.0, StatusCode::OK);
    api.sim.set_fault("none", Fault::new(Kind::NoConductor, "*"));
    assert_eq!(api.get("drivers").await["drivers"], json!([]));
}

#[tokio::test]
async fn power_is_refused_where_ironic_refuses_it() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let power = async |target: &str| {
        let path = format!("nodes/{node}/states/power");
        api.call(Method::PUT, &path, Some(json!({"target": target})))
            .await
            .0
    };
    assert_eq!(power("bogus").await, StatusCode::BAD_REQUEST);
    assert_eq!(power("power on").await, StatusCode::ACCEPTED);
    assert_eq!(api.field(&node, "power_state").await, "power on");
    let patch = json!([{"op": "add", "path": "/disable_power_off", "value": true}]);
    assert_eq!(api.patch(&node, patch).await, StatusCode::OK);
    assert_eq!(power("power off").await, StatusCode::CONFLICT);
    let boots = api.sim.machine(&node).unwrap().boots;
    assert_eq!(power("rebooting").await, StatusCode::ACCEPTED);
    assert_eq!(api.sim.machine(&node).unwrap().boots, boots + 1);
    api.sim.set_fault("stuck", "hang:clean".parse().unwrap());
    api.verb(&node, json!({"target": "provide"})).await;
    assert_eq!(api.state(&node).await, "clean wait");
    assert_eq!(power("rebooting").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_dropped_simulation_is_gone() {
    let api = Api::new().await;
    let endpoint = api.sim.endpoint.clone();
    api.sim.stop().await.unwrap();
    assert!(Client::new().get(endpoint).send().await.is_err());
}
