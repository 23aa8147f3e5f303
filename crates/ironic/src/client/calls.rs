//! The requests, resource by resource.

use std::sync::PoisonError;
use std::time::Instant;

use metal3_provisioner::{Error, Kind};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::not_ready;
use super::{Accepted, Client, LIST_FIELDS, Node};

/// Label of the error when a node that a page began after is gone.
pub const MARKER_GONE: &str = "marker_gone";

impl Client {
    /// A node by UUID or name.
    pub async fn node(&self, id: &str) -> Result<Option<Node>, Error> {
        self.get("nodes/{id}", &format!("nodes/{id}"), id).await
    }

    /// One page of nodes with [`LIST_FIELDS`], and the marker of the next one.
    pub async fn nodes(
        &self,
        marker: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Node>, Option<String>), Error> {
        #[derive(Deserialize)]
        struct Page {
            nodes: Vec<Node>,
            next: Option<String>,
        }
        let mut fields = LIST_FIELDS.to_owned();
        if self.ready().await? >= 109 {
            fields.push_str(",health");
        }
        let mut path = format!("nodes?fields={fields}&limit={limit}");
        if let Some(marker) = marker {
            path.push_str(&format!("&marker={marker}"));
        }
        let page: Option<Page> = self.get("nodes", &path, "the list of nodes").await?;
        let page = page.ok_or_else(|| match marker {
            None => not_ready("Ironic has no node list; check IRONIC_ENDPOINT".into()),
            Some(marker) => Error::new(
                Kind::Conflict,
                MARKER_GONE,
                format!("node {marker} went while the node list was read; it is read again"),
            ),
        })?;
        let last = page.nodes.last().map(|node| node.uuid.clone());
        let marker = last.filter(|last| page.next.is_some() && Some(last.as_str()) != marker);
        Ok((page.nodes, marker))
    }

    /// Creates a node.
    pub async fn create_node(&self, body: &Value) -> Result<Accepted<Node>, Error> {
        Ok(
            match self.mutate(Method::POST, "nodes", "nodes", Some(body)).await? {
                Ok(body) => Ok(decode(body)?),
                Err(refusal) => Err(refusal),
            },
        )
    }

    /// Changes a node by JSON patch.
    pub async fn patch_node(&self, id: &str, patch: &[Value]) -> Result<Accepted<Node>, Error> {
        let patch = Value::Array(patch.to_vec());
        Ok(
            match self
                .mutate(Method::PATCH, "nodes/{id}", &format!("nodes/{id}"), Some(&patch))
                .await?
            {
                Ok(body) => Ok(decode(body)?),
                Err(refusal) => Err(refusal),
            },
        )
    }

    /// Removes a node; one that is gone is no failure.
    pub async fn delete_node(&self, id: &str) -> Result<Accepted, Error> {
        let answer = self
            .mutate(Method::DELETE, "nodes/{id}", &format!("nodes/{id}"), None)
            .await?;
        Ok(match answer {
            Err(refusal) if refusal.status() == StatusCode::NOT_FOUND => Ok(()),
            other => other.map(drop),
        })
    }

    /// Asks for another provision state.
    pub async fn provision_state(&self, id: &str, body: &Value) -> Result<Accepted, Error> {
        let path = format!("nodes/{id}/states/provision");
        let answer = self
            .mutate(Method::PUT, "nodes/{id}/states/provision", &path, Some(body))
            .await?
            .map(drop);
        let lasts = matches!(
            body["target"].as_str(),
            Some("inspect" | "provide" | "clean" | "active" | "rebuild" | "deleted")
        );
        if answer.is_ok() && lasts {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            begun.push((id.to_owned(), Instant::now()));
        }
        Ok(answer)
    }

    /// Asks for another power state.
    pub async fn power_state(&self, id: &str, target: &str, timeout: Option<i64>) -> Result<Accepted, Error> {
        let mut body = json!({"target": target});
        if let Some(timeout) = timeout {
            body["timeout"] = json!(timeout);
        }
        let path = format!("nodes/{id}/states/power");
        Ok(self
            .mutate(Method::PUT, "nodes/{id}/states/power", &path, Some(&body))
            .await?
            .map(drop))
    }

    /// Sets the volumes that the RAID steps of a cleaning create; an empty map for none.
    pub async fn target_raid(&self, id: &str, config: &Value) -> Result<Accepted, Error> {
        let path = format!("nodes/{id}/states/raid");
        Ok(self
            .mutate(Method::PUT, "nodes/{id}/states/raid", &path, Some(config))
            .await?
            .map(drop))
    }

    /// Has Ironic ask the BMC for the boot device and waits for it: this proves access and changes nothing.
    pub async fn boot_device(&self, id: &str) -> Result<Accepted, Error> {
        let path = format!("nodes/{id}/management/boot_device");
        Ok(self
            .mutate(Method::GET, "nodes/{id}/management/boot_device", &path, None)
            .await?
            .map(drop))
    }

    /// Sets maintenance with a reason, or clears it.
    pub async fn maintenance(&self, id: &str, reason: Option<&str>) -> Result<Accepted, Error> {
        let path = format!("nodes/{id}/maintenance");
        let body = reason.map(|reason| json!({"reason": reason}));
        let method = if reason.is_some() {
            Method::PUT
        } else {
            Method::DELETE
        };
        Ok(self
            .mutate(method, "nodes/{id}/maintenance", &path, body.as_ref())
            .await?
            .map(drop))
    }

    /// What speaks against a deployment; empty when nothing does.
    pub async fn validate(&self, id: &str) -> Result<Accepted<Vec<String>>, Error> {
        let path = format!("nodes/{id}/validate");
        Ok(self
            .mutate(Method::GET, "nodes/{id}/validate", &path, None)
            .await?
            .map(|body| {
                ["boot", "deploy"]
                    .into_iter()
                    .filter(|part| body[part]["result"] == json!(false))
                    .map(|part| body[part]["reason"].as_str().unwrap_or(part).to_owned())
                    .collect()
            }))
    }

    /// The UUID of the node that has a port with this MAC address.
    pub async fn node_of_mac(&self, mac: &str) -> Result<Option<String>, Error> {
        Ok(self
            .ports(&format!("address={mac}"))
            .await?
            .into_iter()
            .next()
            .map(|(_, node)| node))
    }

    /// The MAC addresses of a node's ports.
    pub async fn macs_of(&self, id: &str) -> Result<Vec<String>, Error> {
        Ok(self
            .ports(&format!("node_uuid={id}"))
            .await?
            .into_iter()
            .map(|(mac, _)| mac)
            .collect())
    }

    async fn ports(&self, query: &str) -> Result<Vec<(String, String)>, Error> {
        let path = format!("ports?fields=node_uuid,uuid,address&{query}");
        let body: Value = self.get("ports", &path, "ports").await?.unwrap_or_default();
        let ports = body["ports"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(ports
            .filter_map(|port| Some((text(&port["address"])?, text(&port["node_uuid"])?)))
            .collect())
    }

    /// Adds a port.
    pub async fn create_port(&self, node: &str, mac: &str, pxe: bool) -> Result<Accepted, Error> {
        let body = json!({"node_uuid": node, "address": mac, "pxe_enabled": pxe});
        Ok(self
            .mutate(Method::POST, "ports", "ports", Some(&body))
            .await?
            .map(drop))
    }

    /// What inspection found; `None` before the first one.
    pub async fn inventory(&self, id: &str) -> Result<Option<Value>, Error> {
        self.get(
            "nodes/{id}/inventory",
            &format!("nodes/{id}/inventory"),
            "inspection data",
        )
        .await
    }
}

fn decode(body: Value) -> Result<Node, Error> {
    serde_json::from_value(body)
        .map_err(|error| Error::new(Kind::Bug, "decode", format!("a node of Ironic: {error}")))
}
