//! What belongs to a node.

use metal3_ironic_sim::{Fault, Kind, Operation};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Api;

async fn clean(api: &Api, node: &str, steps: Value) -> StatusCode {
    api.verb(node, json!({"target": "clean", "clean_steps": steps}))
        .await
}

#[tokio::test]
async fn raid_steps_move_the_target_to_what_is_there() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let target = json!({"logical_disks": [{"size_gb": "MAX", "raid_level": "1"}]});
    let (status, _) = api
        .call(
            Method::PUT,
            &format!("nodes/{node}/states/raid"),
            Some(target.clone()),
        )
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(api.field(&node, "raid_config").await, json!({}));
    let steps = json!([{"interface": "raid", "step": "delete_configuration"},
                       {"interface": "raid", "step": "create_configuration"}]);
    assert_eq!(clean(&api, &node, steps).await, StatusCode::ACCEPTED);
    assert_eq!(api.state(&node).await, "manageable");
    let config = api.field(&node, "raid_config").await;
    assert_eq!(config["logical_disks"], target["logical_disks"]);
    let steps = json!([{"interface": "raid", "step": "delete_configuration"}]);
    assert_eq!(clean(&api, &node, steps).await, StatusCode::ACCEPTED);
    assert_eq!(api.field(&node, "raid_config").await, json!({}));
}

#[tokio::test]
async fn bios_settings_and_firmware_change_by_steps() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let setting = async |name: &str| {
        let bios = api.get(&format!("nodes/{node}/bios?detail=true")).await;
        let list = bios["bios"].as_array().unwrap().clone();
        list.into_iter().find(|setting| setting["name"] == name).unwrap()
    };
    assert_eq!(setting("ProcTurboMode").await["value"], "Enabled");
    assert_eq!(setting("NumCores").await["upper_bound"], 64);
    let steps = json!([
        {"interface": "bios", "step": "apply_configuration",
         "args": {"settings": [{"name": "ProcTurboMode", "value": "Disabled"}, {"name": "NumCores", "value": 8}]}},
        {"interface": "firmware", "step": "update",
         "args": {"settings": [{"component": "bmc", "url": "http://images/bmc-2.10.bin"}]}},
    ]);
    assert_eq!(clean(&api, &node, steps).await, StatusCode::ACCEPTED);
    assert_eq!(api.state(&node).await, "manageable");
    assert_eq!(setting("ProcTurboMode").await["value"], "Disabled");
    assert_eq!(setting("NumCores").await["value"], "8");
    let firmware = api.get(&format!("nodes/{node}/firmware")).await;
    let bmc = &firmware["firmware"][1];
    assert_eq!(
        (bmc["initial_version"].as_str(), bmc["current_version"].as_str()),
        (Some("1.00"), Some("2.10"))
    );
    assert_eq!(bmc["last_version_flashed"], "2.10");
}

#[tokio::test]
async fn a_step_that_the_bmc_refuses_leaves_a_fault() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let settings = json!([{"name": "NoSuchThing", "value": "x"}]);
    let steps = json!([{"interface": "bios", "step": "apply_configuration", "args": {"settings": settings}}]);
    assert_eq!(clean(&api, &node, steps).await, StatusCode::ACCEPTED);
    assert_eq!(api.state(&node).await, "clean failed");
    assert_eq!(api.field(&node, "fault").await, "clean failure");
    let error = api.field(&node, "last_error").await;
    assert!(error.as_str().unwrap().contains("NoSuchThing"), "{error}");
}

#[tokio::test]
async fn only_steps_that_erase_touch_the_disk() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let address = api.sim.machine(&node).unwrap().bmc_address;
    api.sim.add_machine(metal3_ironic_sim::meddling::NewMachine {
        bmc_address: address,
        image: Some("http://images/old".to_owned()),
        on: true,
    });
    let step = |interface: &str, step: &str| json!([{"interface": interface, "step": step}]);
    assert_eq!(
        clean(&api, &node, step("bios", "factory_reset")).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(api.state(&node).await, "manageable");
    assert!(api.sim.machine(&node).unwrap().disk.is_some());
    assert_eq!(
        clean(&api, &node, step("deploy", "erase_devices_metadata")).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(api.state(&node).await, "manageable");
    assert!(api.sim.machine(&node).unwrap().disk.is_none());
}

#[tokio::test]
async fn subscriptions_come_and_go() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let path = |method: &str| format!("nodes/{node}/vendor_passthru?method={method}");
    let body = json!({"Destination": "https://receiver/events", "Context": "c"});
    let (status, answer) = api
        .call(Method::POST, &path("create_subscription"), Some(body))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["Protocol"], "Redfish");
    let all = api.get(&path("get_all_subscriptions")).await;
    assert_eq!(all["Members"][0]["Id"], answer["Id"]);
    let delete = async |id: &Value| {
        let body = json!({"id": id});
        api.call(Method::DELETE, &path("delete_subscription"), Some(body))
            .await
            .0
    };
    assert_eq!(delete(&json!("")).await, StatusCode::BAD_REQUEST);
    assert_eq!(delete(&answer["Id"]).await, StatusCode::OK);
    assert_eq!(delete(&answer["Id"]).await, StatusCode::INTERNAL_SERVER_ERROR);
    let (status, _) = api.call(Method::POST, &path("fly"), Some(json!({}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn virtual_media_fail_later_and_are_refused_at_once() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    let path = format!("nodes/{node}/vmedia");
    let attach = async |device: &str, url: &str| {
        let body = json!({"device_type": device, "image_url": url});
        api.call(Method::POST, &path, Some(body)).await.0
    };
    assert_eq!(attach("cdrom", "ftp://a/b.iso").await, StatusCode::BAD_REQUEST);
    assert_eq!(attach("tape", "http://a/b.iso").await, StatusCode::BAD_REQUEST);
    assert_eq!(attach("cdrom", "http://a/b.iso").await, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&path).await[0]["image"], "http://a/b.iso");
    api.sim.set_fault("bmc", Fault::new(Kind::BmcError, "*"));
    let (status, _) = api.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(api.field(&node, "last_error").await.is_string());
}

#[tokio::test]
async fn lists_are_sorted_and_filtered_by_shard() {
    let api = Api::new().await;
    for name in ["ns~b", "ns~c", "ns~a"] {
        api.node(name).await;
    }
    let patch = json!([{"op": "add", "path": "/shard", "value": "left"}]);
    assert_eq!(api.patch("ns~c", patch).await, StatusCode::OK);
    let names = async |query: &str| {
        let list = api.get(&format!("nodes?fields=name&{query}")).await;
        let nodes = list["nodes"].as_array().unwrap().clone();
        nodes
            .iter()
            .map(|node| node["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("sort_key=name").await, ["ns~a", "ns~b", "ns~c"]);
    assert_eq!(names("sort_key=updated_at&sort_dir=desc&limit=1").await, ["ns~c"]);
    assert_eq!(names("shard=left,right").await, ["ns~c"]);
    assert_eq!(names("sharded=false").await, ["ns~b", "ns~a"]);
    let marker = api.field("ns~a", "uuid").await;
    let query = format!("sort_key=name&marker={}", marker.as_str().unwrap());
    assert_eq!(
        names(&query).await,
        ["ns~b", "ns~c"],
        "a page goes on after its marker"
    );
    assert_eq!(api.get("shards").await["shards"].as_array().unwrap().len(), 2);
    for query in ["nodes?health=OK", "nodes?sort_key=bogus", "nodes?sort_dir=up"] {
        assert_eq!(
            api.call(Method::GET, query, None).await.0,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
}

#[tokio::test]
async fn network_data_have_a_schema() {
    let api = Api::new().await;
    let node = api.node("ns~a").await;
    let link = json!({"id": "eth0", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:01"});
    let network = json!({"id": "n0", "link": "eth0", "network_id": "n0", "type": "ipv4_dhcp"});
    for (data, status) in [
        (json!({}), StatusCode::OK),
        (
            json!({"links": [link], "networks": [network], "services": []}),
            StatusCode::OK,
        ),
        (json!({"networks": [], "services": []}), StatusCode::BAD_REQUEST),
        (
            json!({"links": [{"id": "eth0"}], "networks": [], "services": []}),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let patch = json!([{"op": "add", "path": "/network_data", "value": data}]);
        assert_eq!(api.patch(&node, patch).await, status, "{data}");
    }
}

#[tokio::test]
async fn a_ramdisk_may_report_hardware_of_its_own() {
    let api = Api::new().await;
    let node = api.manageable("ns~a").await;
    api.sim.set_fault(
        "hang",
        Fault::new(
            Kind::Hang {
                operation: Operation::Inspect,
            },
            "*",
        ),
    );
    assert_eq!(
        api.verb(&node, json!({"target": "inspect"})).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(api.state(&node).await, "inspect wait");
    let report = json!({"inventory": {"hostname": "of-mine", "interfaces": [
        {"name": "eno1", "mac_address": "52:54:00:00:00:01"}]}});
    let path = format!("continue_inspection?node_uuid={node}");
    let (status, _) = api.call(Method::POST, &path, Some(report)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(api.state(&node).await, "manageable");
    let inventory = api.get(&format!("nodes/{node}/inventory")).await;
    assert_eq!(inventory["inventory"]["hostname"], "of-mine");
    let ports = api.get(&format!("ports?node_uuid={node}")).await;
    assert_eq!(ports["ports"][0]["address"], "52:54:00:00:00:01");
}
