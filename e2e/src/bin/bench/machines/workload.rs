//! The workload clusters: one real API server in which each Cluster sees its own Nodes only.
//!
//! A kubeconfig leads to `http://<door>/<cluster>`; the door in between asks the API server for the Nodes with the label of
//! that cluster, and passes everything else on as it is. A hundred API servers would be most of what is measured.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING, USER_AGENT};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse as _;
use kube::Client;
use metal3_testkit::ControlPlane;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::count::Counts;

/// Label of Nodes with the name of their Cluster.
pub(super) const CLUSTER: &str = "bench/cluster";
const NODES: &str = "/api/v1/nodes";
/// Nobody sends more.
const LARGEST: usize = 4 << 20;

/// Where workload clusters are.
pub(super) struct Workload {
    pub(super) plane: ControlPlane,
    pub(super) port: u16,
    door: Door,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Door {
    client: Client,
    passed: Arc<Mutex<Counts>>,
}

impl Workload {
    pub(super) async fn start() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let door = Door {
            client: plane.client(),
            passed: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let router = Router::new().fallback(pass).with_state(door.clone());
        let serving = tokio::spawn(async move {
            // Ends with the process only.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            plane,
            port,
            door,
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// What leads into the workload cluster of a Cluster.
    pub(super) fn kubeconfig(&self, cluster: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: bench\n\
             clusters: [{{name: bench, cluster: {{server: 'http://127.0.0.1:{}/{cluster}'}}}}]\n\
             users: [{{name: bench, user: {{}}}}]\n\
             contexts: [{{name: bench, context: {{cluster: bench, user: bench}}}}]\n",
            self.port
        )
    }

    /// Requests by program, method and what they were about.
    pub(super) fn passed(&self) -> Counts {
        self.door.count(|passed| passed.clone())
    }
}

impl Door {
    fn count<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn pass(State(door): State<Door>, request: Request) -> Response<Body> {
    match forward(&door, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn forward(door: &Door, request: Request) -> Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    let agent = parts
        .headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    let passing = Passing::of(&parts.uri, agent.unwrap_or_default())?;
    let what = format!("{} {} {}", passing.agent, parts.method, passing.what);
    door.count(|passed| *passed.entry(what).or_default() += 1.0);
    parts.uri = passing.uri;
    // These are about the connection to us.
    for name in [HOST, CONNECTION, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let body = to_bytes(body, LARGEST).await?.to_vec();
    let request = axum::http::Request::from_parts(parts, kube::client::Body::from(body));
    let mut response = door.client.send(request).await?;
    for name in [CONNECTION, TRANSFER_ENCODING] {
        response.headers_mut().remove(name);
    }
    Ok(response.map(Body::new))
}

/// A request on its way.
#[derive(Debug, PartialEq, Eq)]
struct Passing {
    /// The program that asks.
    agent: String,
    /// What it is about, without names.
    what: String,
    /// Where it goes on to.
    uri: Uri,
}

impl Passing {
    fn of(uri: &Uri, agent: &str) -> Result<Self> {
        let (cluster, path) = uri
            .path()
            .strip_prefix('/')
            .and_then(|path| path.split_once('/'))
            .unwrap_or_else(|| (uri.path().trim_start_matches('/'), ""));
        let path = format!("/{path}");
        let query = uri.query().unwrap_or_default();
        let watch = query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"));
        let selected = (path == NODES).then(|| {
            let selector = format!("labelSelector={}%3D{cluster}", CLUSTER.replace('/', "%2F"));
            if query.is_empty() {
                selector
            } else {
                format!("{query}&{selector}")
            }
        });
        let target = match selected.as_deref().unwrap_or(query) {
            "" => path.clone(),
            query => format!("{path}?{query}"),
        };
        // All Nodes are one thing; discovery and probes are few, and told as they are.
        let what = match path.strip_prefix(NODES) {
            Some("") => "nodes",
            Some(_) => "a node",
            None => &path,
        };
        Ok(Self {
            agent: agent.split(['/', ' ']).next().unwrap_or_default().to_owned(),
            what: format!("{what}{}", if watch { " watch" } else { "" }),
            uri: target.parse().with_context(|| format!("the path {target}"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing(uri: &str) -> (String, String) {
        let passing = Passing::of(&uri.parse().unwrap(), "metal3-capm3/1 (linux)").unwrap();
        assert_eq!(passing.agent, "metal3-capm3");
        (passing.what, passing.uri.to_string())
    }

    #[test]
    fn each_cluster_is_shown_its_own_nodes_and_everything_else_as_it_is() {
        for (uri, what, to) in [
            (
                "/c-1/api/v1/nodes",
                "nodes",
                "/api/v1/nodes?labelSelector=bench%2Fcluster%3Dc-1",
            ),
            (
                "/c-1/api/v1/nodes?watch=1&limit=5",
                "nodes watch",
                "/api/v1/nodes?watch=1&limit=5&labelSelector=bench%2Fcluster%3Dc-1",
            ),
            ("/c-1/api/v1/nodes/n", "a node", "/api/v1/nodes/n"),
            ("/c-1/", "/", "/"),
            ("/c-1", "/", "/"),
            ("/c-1/apis?timeout=5s", "/apis", "/apis?timeout=5s"),
        ] {
            assert_eq!(passing(uri), (what.to_owned(), to.to_owned()));
        }
    }
}
