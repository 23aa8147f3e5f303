//! Ironic's HTTP API: versions, login and routing; one file per resource.

mod filter;
mod inspection;
mod list;
mod management;
mod media;
mod nodes;
mod parts;
mod ports;
mod root;
mod states;
mod trouble;
mod vendor;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use self::trouble::Trouble;
use crate::Sim;
use crate::faults::Kind;
use crate::refusal::{Refusal, early};

/// The oldest version of the API.
pub(crate) const MIN_MINOR: u32 = 1;
/// Images for config drives are some tens of MiB at most.
const BODY_LIMIT: usize = 64 << 20;

/// A request, as far as handlers need it.
pub(crate) struct Call {
    /// The part of the path that names an object; empty for collections.
    pub(crate) id: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) body: Bytes,
    /// `http://host:port`
    pub(crate) base: String,
    /// Negotiated version.
    pub(crate) minor: u32,
    /// The client, as it calls itself.
    pub(crate) agent: String,
}

pub(crate) type Answer = Result<Response, Refusal>;
pub(crate) type Handler = fn(&Sim, &Call) -> Answer;

impl Call {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Refusal::bad(format!("The request body is not JSON: {error}")))
    }

    /// What the action log says of the request.
    pub(crate) fn asked(&self, what: &str) -> Arc<str> {
        match self.agent.as_str() {
            "" => what.into(),
            agent => format!("{what} by {agent}").into(),
        }
    }

    /// A query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

/// A JSON answer.
pub(crate) fn reply(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(bytes) => Ok((status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response()),
        Err(error) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    Ok(status.into_response())
}

/// The ramdisk does not log in.
const INSPECTION: &str = "continue_inspection";

const ROUTES: &[(Method, &str, Handler)] = &[
    (Method::POST, INSPECTION, inspection::proceed),
    (Method::GET, "drivers", root::drivers),
    (Method::GET, "drivers/{id}", root::driver),
    (Method::GET, "conductors", root::conductors),
    (Method::GET, "nodes", list::list),
    (Method::POST, "nodes", nodes::create),
    (Method::GET, "nodes/{id}", nodes::get),
    (Method::PATCH, "nodes/{id}", nodes::update),
    (Method::DELETE, "nodes/{id}", nodes::delete),
    (Method::GET, "nodes/{id}/states", states::get),
    (Method::PUT, "nodes/{id}/states/provision", states::provision),
    (Method::PUT, "nodes/{id}/states/power", states::power),
    (Method::PUT, "nodes/{id}/states/raid", states::raid),
    (Method::PUT, "nodes/{id}/maintenance", states::set_maintenance),
    (
        Method::DELETE,
        "nodes/{id}/maintenance",
        states::clear_maintenance,
    ),
    (Method::GET, "nodes/{id}/validate", parts::validate),
    (Method::GET, "nodes/{id}/inventory", parts::inventory),
    (Method::GET, "nodes/{id}/ports", ports::of_node),
    (Method::GET, "nodes/{id}/bios", parts::bios),
    (Method::GET, "nodes/{id}/firmware", parts::firmware),
    (
        Method::GET,
        "nodes/{id}/management/boot_device",
        management::boot_device,
    ),
    (Method::GET, "nodes/{id}/vmedia", media::get),
    (Method::POST, "nodes/{id}/vmedia", media::attach),
    (Method::DELETE, "nodes/{id}/vmedia", media::detach),
    (Method::GET, "nodes/{id}/vendor_passthru", vendor::get),
    (Method::POST, "nodes/{id}/vendor_passthru", vendor::post),
    (Method::DELETE, "nodes/{id}/vendor_passthru", vendor::delete),
    (Method::GET, "shards", filter::shards),
    (Method::GET, "ports", ports::list),
    (Method::POST, "ports", ports::create),
    (Method::GET, "ports/{id}", ports::get),
    (Method::PATCH, "ports/{id}", ports::update),
    (Method::DELETE, "ports/{id}", ports::delete),
];

/// Open to everybody: clients ask for the versions before they log in.
const OPEN: &[(&str, Handler)] = &[("/", root::versions), ("/v1", root::v1), ("/v1/", root::v1)];

/// The routes of the API, with and without `/v1`.
pub(crate) fn router(sim: &Arc<Sim>) -> Router {
    let mut router = Router::new();
    for (path, handler) in OPEN {
        let sim = Arc::clone(sim);
        let route = move |headers: HeaderMap| async move {
            let call = Call {
                id: String::new(),
                query: HashMap::new(),
                body: Bytes::new(),
                base: base(&headers),
                minor: MIN_MINOR,
                agent: String::new(),
            };
            sim.stats.count(&Method::GET, path);
            if sim.refuses() {
                return unavailable();
            }
            with_versions(&sim, MIN_MINOR, handler(&sim, &call).into_response())
        };
        router = router.route(path, on(MethodFilter::GET, route));
    }
    for (method, path, handler) in ROUTES {
        for prefix in ["/v1/", "/"] {
            let sim = Arc::clone(sim);
            let route = move |Path(ids): Path<HashMap<String, String>>,
                              Query(query): Query<HashMap<String, String>>,
                              headers: HeaderMap,
                              body: Bytes| async move {
                sim.stats.count(method, path);
                let id = ids.into_values().next().unwrap_or_default();
                let trouble = sim.trouble(method, path, &id);
                match trouble {
                    Some(Trouble::Answer(status)) => return trouble::answer(status),
                    Some(Trouble::Drop { done: false }) => return trouble::broken(),
                    Some(Trouble::Slow(delay)) => tokio::time::sleep(delay).await,
                    Some(Trouble::Drop { done: true }) | None => {}
                }
                let anonymous = *path == INSPECTION;
                let response = guarded(&sim, &headers, anonymous, |minor| {
                    let call = Call {
                        id,
                        query,
                        body,
                        base: base(&headers),
                        minor,
                        agent: agent(&headers),
                    };
                    handler(&sim, &call)
                });
                if trouble == Some(Trouble::Drop { done: true }) {
                    return trouble::broken();
                }
                response
            };
            let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
            router = router.route(&format!("{prefix}{path}"), on(filter, route));
        }
    }
    router
        .fallback(|| async { early(StatusCode::NOT_FOUND, "") })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// Faults, login and version first.
fn guarded(sim: &Sim, headers: &HeaderMap, anonymous: bool, handle: impl FnOnce(u32) -> Answer) -> Response {
    if sim.refuses() {
        return unavailable();
    }
    if let Some(login) = &sim.auth
        && !anonymous
        && !logged_in(headers, login)
    {
        let body = json!({"error": {"message": "Authorization required", "code": 401}});
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"Baremetal API\"")];
        return (StatusCode::UNAUTHORIZED, challenge, axum::Json(body)).into_response();
    }
    match version(headers, sim.max_minor) {
        Ok(minor) => with_versions(sim, minor, handle(minor).into_response()),
        Err(response) => *response,
    }
}

fn unavailable() -> Response {
    early(StatusCode::SERVICE_UNAVAILABLE, "Ironic is starting")
}

fn logged_in(headers: &HeaderMap, (user, password): &(String, String)) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|text| STANDARD.decode(text).ok())
        .is_some_and(|given| given == format!("{user}:{password}").into_bytes())
}

/// The version that a request asks for; the oldest if it asks for none.
fn version(headers: &HeaderMap, max: u32) -> Result<u32, Box<Response>> {
    let refused = |text: String| {
        let mut response = early(StatusCode::NOT_ACCEPTABLE, text);
        version_headers(response.headers_mut(), max, None);
        Box::new(response)
    };
    let asked = headers
        .get("x-openstack-ironic-api-version")
        .map(|value| value.to_str().unwrap_or_default())
        .or_else(|| {
            let other = headers.get("openstack-api-version")?.to_str().ok()?;
            other.strip_prefix("baremetal ")
        });
    let Some(asked) = asked else {
        return Ok(MIN_MINOR);
    };
    if asked == "latest" {
        return Ok(max);
    }
    let minor = asked.strip_prefix("1.").and_then(|minor| minor.parse().ok());
    match minor {
        Some(minor) if (MIN_MINOR..=max).contains(&minor) => Ok(minor),
        Some(_) => Err(refused(format!(
            "Version {asked} was requested but the minor version is not supported by this service. The supported \
             version range is: [1.{MIN_MINOR}, 1.{max}]."
        ))),
        None => Err(refused(
            "Invalid value for X-OpenStack-Ironic-API-Version header".to_owned(),
        )),
    }
}

fn with_versions(sim: &Sim, minor: u32, mut response: Response) -> Response {
    version_headers(response.headers_mut(), sim.max_minor, Some(minor));
    response
}

fn version_headers(headers: &mut HeaderMap, max: u32, minor: Option<u32>) {
    for (name, value) in [
        ("x-openstack-ironic-api-minimum-version", Some(MIN_MINOR)),
        ("x-openstack-ironic-api-maximum-version", Some(max)),
        ("x-openstack-ironic-api-version", minor),
    ] {
        if let Some(value) = value.and_then(|minor| HeaderValue::from_str(&format!("1.{minor}")).ok()) {
            headers.insert(name, value);
        }
    }
}

/// Links point to where the client came.
fn base(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or("localhost"))
}

fn agent(headers: &HeaderMap) -> String {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    agent.unwrap_or_default().to_owned()
}

impl Sim {
    /// The API is out of service: a fault, or a restart that is not over.
    fn refuses(&self) -> bool {
        self.with(|world, now| {
            if world.down.is_some_and(|until| now >= until) {
                world.down = None;
            }
            world.down.is_some() || world.faults.strike_api(&Kind::ApiUnavailable)
        })
    }
}
