//! As much of a Kubernetes API server as the provider uses: lists, watches, merge patches and status writes guarded by
//! the resourceVersion, finalizers. The real one is used by `tests/it`; this one starts in a millisecond.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Plural, namespace and name.
type Id = (String, String, String);

#[derive(Default)]
struct Store {
    revision: u64,
    objects: BTreeMap<Id, Value>,
    log: Vec<(u64, String, Value)>,
    events: Vec<Value>,
}

/// The server; clones share it.
#[derive(Clone)]
pub(crate) struct Kube {
    store: Arc<Mutex<Store>>,
    changed: watch::Sender<u64>,
    pub(crate) address: SocketAddr,
}

impl Kube {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let kube = Self {
            store: Arc::default(),
            changed: watch::Sender::new(0),
            address: listener.local_addr().unwrap(),
        };
        let router = Router::new().fallback(handle).with_state(kube.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        kube
    }

    pub(crate) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "t",
            "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
            "clusters": [{"name": "t", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "t", "user": {"token": "t"}}],
        })
        .to_string()
    }

    /// Creates or replaces an object.
    pub(crate) fn put(&self, plural: &str, object: Value) {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let id = (plural.to_owned(), text("namespace"), text("name"));
        self.write(&mut self.store.lock().unwrap(), id, object);
    }

    pub(crate) fn get(&self, plural: &str, name: &str) -> Option<Value> {
        let store = self.store.lock().unwrap();
        let found = store
            .objects
            .iter()
            .find(|(id, _)| id.0 == plural && id.2 == name);
        found.map(|(_, object)| object.clone())
    }

    /// Marks an object as deleted, as `kubectl delete` does with one that has finalizers.
    pub(crate) fn delete(&self, plural: &str, name: &str) {
        let mut object = self.get(plural, name).unwrap();
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.put(plural, object);
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.store.lock().unwrap().events.clone()
    }

    /// The number of writes so far.
    pub(crate) fn revision(&self) -> u64 {
        self.store.lock().unwrap().revision
    }

    fn write(&self, store: &mut Store, id: Id, mut object: Value) -> Value {
        store.revision += 1;
        object["metadata"]["resourceVersion"] = json!(store.revision.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", id.2));
        }
        let old = store.objects.get(&id);
        let generation = old.map_or(1, |old| {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(1);
            generation + i64::from(old["spec"] != object["spec"])
        });
        object["metadata"]["generation"] = json!(generation);
        let held = object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|finalizers| !finalizers.is_empty());
        let gone = !object["metadata"]["deletionTimestamp"].is_null() && !held;
        let kind = match (gone, old.is_some()) {
            (true, _) => "DELETED",
            (false, true) => "MODIFIED",
            (false, false) => "ADDED",
        };
        let event = json!({"type": kind, "object": object});
        store.log.push((store.revision, id.0.clone(), event));
        if gone {
            store.objects.remove(&id);
        } else {
            store.objects.insert(id, object.clone());
        }
        self.changed.send_replace(store.revision);
        object
    }

    fn watch(&self, plural: String, from: u64) -> Response {
        let (store, changed) = (Arc::clone(&self.store), self.changed.subscribe());
        let lines = stream::unfold((from, changed), move |(seen, mut changed)| {
            let (store, plural) = (Arc::clone(&store), plural.clone());
            async move {
                loop {
                    let next = {
                        let store = store.lock().unwrap();
                        let found = store.log.iter().find(|(at, of, _)| *at > seen && *of == plural);
                        found.map(|(at, _, event)| (*at, format!("{event}\n")))
                    };
                    match next {
                        Some((at, line)) => return Some((Ok::<_, Infallible>(line), (at, changed))),
                        None => changed.changed().await.ok()?,
                    }
                }
            }
        });
        Body::from_stream(lines).into_response()
    }

    /// Changes one object, guarded by the resourceVersion that the request carries.
    fn change(&self, id: &Id, body: &Value, apply: impl FnOnce(&mut Value)) -> Response {
        let mut store = self.store.lock().unwrap();
        let Some(old) = store.objects.get(id).cloned() else {
            return failure(404, "NotFound");
        };
        let guard = &body["metadata"]["resourceVersion"];
        if !guard.is_null() && *guard != old["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        let mut new = old.clone();
        apply(&mut new);
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if new == old {
            return Json(old).into_response();
        }
        Json(self.write(&mut store, id.clone(), new)).into_response()
    }
}

fn failure(code: u16, reason: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code,
    });
    (StatusCode::from_u16(code).unwrap(), Json(status)).into_response()
}

async fn handle(
    State(kube): State<Kube>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let path: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    // /api/v1/… or /apis/<group>/<version>/…
    let rest = path
        .get(if path[0] == "api" { 2 } else { 3 }..)
        .unwrap_or_default();
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = |plural: &str, name: &str| (plural.to_owned(), namespace.to_owned(), name.to_owned());
    match (method.as_str(), rest) {
        ("POST", ["events"]) => {
            kube.store.lock().unwrap().events.push(body.clone());
            Json(body).into_response()
        }
        ("GET", [plural]) if query.contains_key("watch") => {
            let from = query
                .get("resourceVersion")
                .and_then(|from| from.parse().ok())
                .unwrap_or(0);
            kube.watch((*plural).to_owned(), from)
        }
        ("GET", [plural]) => {
            let store = kube.store.lock().unwrap();
            let items: Vec<_> = store
                .objects
                .iter()
                .filter(|(id, _)| id.0 == *plural)
                .map(|(_, o)| o)
                .collect();
            let revision = store.revision.to_string();
            Json(
                json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": revision}, "items": items}),
            )
            .into_response()
        }
        ("GET", [plural, name]) => match kube.store.lock().unwrap().objects.get(&id(plural, name)) {
            Some(object) => Json(object.clone()).into_response(),
            None => failure(404, "NotFound"),
        },
        ("PATCH", [plural, name]) => kube.change(&id(plural, name), &body, |object| {
            json_patch::merge(object, &body);
        }),
        ("PUT", [plural, name, "status"]) => kube.change(&id(plural, name), &body, |object| {
            object["status"] = body["status"].clone();
        }),
        _ => failure(405, "MethodNotAllowed"),
    }
}
