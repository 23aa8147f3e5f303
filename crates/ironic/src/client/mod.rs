//! The HTTP client: one place for version, login, limits, counting and error mapping.

mod calls;
mod error;
mod node;
mod session;
mod stats;

use std::sync::RwLock;
use std::time::{Duration, Instant};

use metal3_provisioner::Error;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

pub use self::error::Refusal;
use self::error::{not_ready, transport};
pub use self::node::{LIST_FIELDS, Node};
use self::session::Sessions;
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
    sessions: Sessions,
    base: String,
    /// Where it is, without a login, for messages.
    shown: String,
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
    /// When the certificates or TLS cannot be set up.
    pub fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        Ok(Self {
            sessions: Sessions::new(settings)?,
            base: settings.endpoint.trim_end_matches('/').to_owned(),
            shown: without_login(&settings.endpoint),
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
        let root = format!("{}/", self.base);
        let answer = self.sessions.current().http.get(root).send().await;
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
                self.shown
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
                self.shown
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
        let session = self.sessions.current();
        let mut request = session
            .http
            .request(method.clone(), format!("{}/{path}", self.base))
            .header("X-OpenStack-Ironic-API-Version", format!("1.{minor}"))
            .header("OpenStack-API-Version", format!("baremetal 1.{minor}"));
        if let Some((user, password)) = &session.access.login {
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
}

/// Scheme, host and port.
fn without_login(endpoint: &str) -> String {
    reqwest::Url::parse(endpoint).map_or_else(
        |_| "IRONIC_ENDPOINT".to_owned(),
        |url| url.origin().ascii_serialization(),
    )
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
