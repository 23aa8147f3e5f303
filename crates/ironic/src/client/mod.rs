//! The HTTP client: one place for version, login, limits, counting and error mapping.

mod error;
mod node;
mod stats;

use std::sync::RwLock;
use std::time::{Duration, Instant};

use metal3_provisioner::Error;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub use self::error::Refusal;
use self::error::{not_ready, transport};
pub use self::node::{LIST_FIELDS, Node};
pub use self::stats::{Key, Stats};
use crate::Settings;

/// The oldest API that upstream's operator accepts, and the newest whose features are used.
const MIN_MINOR: u32 = 89;
const MAX_MINOR: u32 = 110;
/// Requests under way at once; Ironic's API processes serve a few at a time.
const CONCURRENCY: usize = 16;
/// A failed readiness check is not repeated sooner, however many hosts ask.
const READY_RETRY: Duration = Duration::from_secs(2);

/// A client of one Ironic.
pub struct Client {
    http: reqwest::Client,
    base: String,
    auth: Option<(String, SecretString)>,
    permits: Semaphore,
    ready: RwLock<Ready>,
    checking: tokio::sync::Mutex<()>,
    stats: Stats,
}

#[derive(Clone, Debug)]
enum Ready {
    Unknown,
    Yes { minor: u32 },
    No { since: Instant, error: Error },
}

/// Answer of a mutating request.
pub type Accepted<T = ()> = Result<T, Refusal>;

impl Client {
    /// Prepares a client; nothing is sent.
    ///
    /// # Errors
    /// When the CA or TLS cannot be set up.
    pub fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("metal3-bmo/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(settings.insecure);
        if let Some(pem) = &settings.ca {
            http = http.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        Ok(Self {
            http: http.build()?,
            base: settings.endpoint.trim_end_matches('/').to_owned(),
            auth: settings.auth.clone(),
            permits: Semaphore::new(CONCURRENCY),
            ready: RwLock::new(Ready::Unknown),
            checking: tokio::sync::Mutex::new(()),
            stats: Stats::default(),
        })
    }

    /// Requests so far, by route.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The negotiated minor version, once Ironic answers and has a conductor.
    ///
    /// # Errors
    /// [`Kind::NotReady`](metal3_provisioner::Kind::NotReady), or a configuration error such as wrong credentials.
    pub async fn ready(&self) -> Result<u32, Error> {
        if let Some(known) = self.known() {
            return known;
        }
        let _one_at_a_time = self.checking.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let result = self.check().await;
        let state = match &result {
            Ok(minor) => Ready::Yes { minor: *minor },
            Err(error) => Ready::No {
                since: Instant::now(),
                error: error.clone(),
            },
        };
        *self
            .ready
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = state;
        result
    }

    fn known(&self) -> Option<Result<u32, Error>> {
        match &*self
            .ready
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            Ready::Yes { minor } => Some(Ok(*minor)),
            Ready::No { since, error } if since.elapsed() < READY_RETRY => Some(Err(error.clone())),
            Ready::No { .. } | Ready::Unknown => None,
        }
    }

    /// The next call checks again; after a lost connection Ironic may be another version, or starting.
    fn doubt(&self) {
        *self
            .ready
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Ready::Unknown;
    }

    async fn check(&self) -> Result<u32, Error> {
        let answer = self.http.get(format!("{}/", self.base)).send().await;
        let root: Value = match answer {
            Ok(answer) => answer.json().await.map_err(|error| transport(&error))?,
            Err(error) => return Err(transport(&error)),
        };
        let version = root["version"]["version"]
            .as_str()
            .or_else(|| root["versions"][0]["version"].as_str())
            .or_else(|| root["default_version"]["version"].as_str())
            .unwrap_or_default();
        let minor = version
            .strip_prefix("1.")
            .and_then(|minor| minor.parse::<u32>().ok())
            .unwrap_or(0);
        if minor < MIN_MINOR {
            return Err(not_ready(format!(
                "Ironic at {} offers API version {version:?}; 1.{MIN_MINOR} or newer is needed",
                self.base
            )));
        }
        let minor = match minor {
            MAX_MINOR.. => MAX_MINOR,
            109 => 109,
            95.. => 95,
            93.. => 93,
            _ => MIN_MINOR,
        };
        let drivers = self.send(minor, Method::GET, "drivers", "drivers", None).await?;
        let drivers = match drivers {
            (StatusCode::OK, body) => body["drivers"].as_array().map_or(0, Vec::len),
            (status, body) => return Err(Refusal::new(status, &body).into_error("the list of drivers")),
        };
        if drivers == 0 {
            return Err(not_ready(format!(
                "no drivers loaded in Ironic at {}: is a conductor running?",
                self.base
            )));
        }
        Ok(minor)
    }

    async fn send(
        &self,
        minor: u32,
        method: Method,
        route: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Error> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}/{path}", self.base))
            .header("X-OpenStack-Ironic-API-Version", format!("1.{minor}"))
            .header("OpenStack-API-Version", format!("baremetal 1.{minor}"));
        if let Some((user, password)) = &self.auth {
            request = request.basic_auth(user, Some(password.expose_secret()));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let started = Instant::now();
        let answer = request.send().await;
        let result = match answer {
            Ok(answer) => {
                let status = answer.status();
                match answer.bytes().await {
                    Ok(bytes) => parse(status, &bytes, route).map(|body| (status, body)),
                    Err(error) => Err(transport(&error)),
                }
            }
            Err(error) => Err(transport(&error)),
        };
        let code = result.as_ref().map_or(0, |(status, _)| status.as_u16());
        self.stats.record(method.as_str(), route, code, started.elapsed());
        result
    }

    /// One request under the limit. A failed connection makes readiness doubtful.
    async fn call(
        &self,
        method: Method,
        route: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Error> {
        let minor = self.ready().await?;
        // Never closed, so acquiring cannot fail.
        let _permit = self.permits.acquire().await.ok();
        let result = self.send(minor, method, route, path, body).await;
        if result.is_err()
            || matches!(
                &result,
                Ok((StatusCode::SERVICE_UNAVAILABLE | StatusCode::UNAUTHORIZED, _))
            )
        {
            self.doubt();
        }
        result
    }

    async fn get<T: for<'de> Deserialize<'de>>(
        &self,
        route: &'static str,
        path: &str,
        what: &str,
    ) -> Result<Option<T>, Error> {
        match self.call(Method::GET, route, path, None).await? {
            (StatusCode::OK, body) => serde_json::from_value(body).map(Some).map_err(|error| {
                Error::new(
                    metal3_provisioner::Kind::Bug,
                    "decode",
                    format!("{what}: {error}"),
                )
            }),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(Refusal::new(status, &body).into_error(what)),
        }
    }

    async fn mutate(
        &self,
        method: Method,
        route: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Accepted<Value>, Error> {
        let (status, answer) = self.call(method, route, path, body).await?;
        Ok(if status.is_success() {
            Ok(answer)
        } else {
            Err(Refusal::new(status, &answer))
        })
    }

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
        let page = page.ok_or_else(|| not_ready("Ironic has no node list".into()))?;
        let marker = page
            .next
            .and_then(|_| page.nodes.last().map(|node| node.uuid.clone()));
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
        Ok(self
            .mutate(Method::PUT, "nodes/{id}/states/provision", &path, Some(body))
            .await?
            .map(drop))
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

/// The body of an answer; whatever comes with a failure may be a proxy's page.
fn parse(status: StatusCode, bytes: &[u8], route: &str) -> Result<Value, Error> {
    match serde_json::from_slice(bytes) {
        Ok(body) => Ok(body),
        Err(_) if bytes.is_empty() || !status.is_success() => Ok(Value::Null),
        Err(error) => Err(Error::new(
            metal3_provisioner::Kind::Transient,
            "not_json",
            format!(
                "Ironic answered {status} to a request for {route} with something that is not JSON ({error}); is there \
                 a proxy at IRONIC_ENDPOINT?"
            ),
        )),
    }
}

fn decode(body: Value) -> Result<Node, Error> {
    serde_json::from_value(body).map_err(|error| {
        Error::new(
            metal3_provisioner::Kind::Bug,
            "decode",
            format!("a node of Ironic: {error}"),
        )
    })
}
