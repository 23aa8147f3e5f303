//! A client of the simulation.

use metal3_ironic_sim::{Config, Running, Sim};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// A simulation with a client.
pub(crate) struct Api {
    pub(crate) sim: Running,
    pub(crate) http: Client,
}

impl Api {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        Self {
            sim: Sim::start(config).await.unwrap(),
            http: Client::new(),
        }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let url = format!("{}/{path}", self.sim.endpoint);
        let mut request = self
            .http
            .request(method, url)
            .header("X-OpenStack-Ironic-API-Version", "1.110");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let bytes = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// A node at its own BMC.
    pub(crate) async fn node(&self, name: &str) -> String {
        let body = json!({
            "driver": "redfish", "name": name, "boot_interface": "redfish-virtual-media",
            "driver_info": {"redfish_address": format!("http://{name}.bmc"), "redfish_system_id": "/redfish/v1/Systems/1",
                "redfish_username": "root", "redfish_password": "calvin"},
        });
        let (status, body) = self.call(Method::POST, "nodes", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["uuid"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn verb(&self, node: &str, body: Value) -> StatusCode {
        let path = format!("nodes/{node}/states/provision");
        self.call(Method::PUT, &path, Some(body)).await.0
    }

    pub(crate) async fn manageable(&self, name: &str) -> String {
        let node = self.node(name).await;
        assert_eq!(
            self.verb(&node, json!({"target": "manage"})).await,
            StatusCode::ACCEPTED
        );
        assert_eq!(self.state(&node).await, "manageable");
        node
    }

    pub(crate) async fn field(&self, node: &str, field: &str) -> Value {
        self.get(&format!("nodes/{node}?fields={field}")).await[field].clone()
    }

    pub(crate) async fn state(&self, node: &str) -> String {
        self.field(node, "provision_state")
            .await
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) async fn patch(&self, node: &str, patch: Value) -> StatusCode {
        self.call(Method::PATCH, &format!("nodes/{node}"), Some(patch))
            .await
            .0
    }

    pub(crate) async fn deploy(&self, node: &str) -> StatusCode {
        let info = json!({"image_source": "http://images/a", "image_checksum": "abc"});
        let patch = json!([{"op": "add", "path": "/instance_info", "value": info}]);
        assert_eq!(self.patch(node, patch).await, StatusCode::OK);
        let drive = json!({"meta_data": {"name": "a"}, "user_data": "#cloud-config"});
        self.verb(node, json!({"target": "active", "configdrive": drive}))
            .await
    }
}
