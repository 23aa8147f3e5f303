//! The HTTP client: one place for version, login, limits, counting and error mapping.
//!
//! A request is sent under a limit of those under way, with a bound of its own, and only while the breaker lets it
//! through. One that changes nothing is repeated within its bound when the connection or a proxy fails; others are left
//! to the caller, who looks at the node before he tries again.

mod calls;
mod error;
mod node;
mod ready;
mod retry;
mod session;
mod stats;
mod trust;

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metal3_provisioner::{Error, Kind};
use reqwest::{Method, StatusCode, header};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tracing::{Instrument as _, field};

pub use self::calls::MARKER_GONE;
pub use self::error::Refusal;
use self::error::{UNREACHABLE, transport};
pub use self::node::{LIST_FIELDS, Node};
use self::ready::{Api, Ready};
use self::retry::Setback;
pub use self::session::SetupError;
use self::session::{Session, Sessions};
pub use self::stats::{BOUNDS, Histogram, Key, Stats};
use crate::Settings;
use crate::breaker::{Breaker, BreakerState};

/// Requests under way at once; Ironic's API processes serve a few at a time.
const CONCURRENCY: usize = 32;

/// A client of one Ironic.
pub struct Client {
    sessions: Sessions,
    timeout: Duration,
    /// What was negotiated is believed for so long by requests that change something.
    trust: Duration,
    permits: Semaphore,
    breaker: Mutex<Breaker>,
    /// Nodes that were told to do something that keeps them busy, until somebody asks.
    begun: Mutex<Vec<(String, Instant)>>,
    ready: RwLock<Ready>,
    checking: tokio::sync::Mutex<()>,
    stats: Stats,
    propagate: fn(&mut header::HeaderMap),
}

/// Answer of a mutating request.
pub type Accepted<T = ()> = Result<T, Refusal>;

struct Request<'a> {
    method: &'a Method,
    /// The path without what names objects, for statistics.
    route: &'static str,
    path: &'a str,
    body: Option<&'a Value>,
}

struct Answer {
    status: StatusCode,
    bytes: Vec<u8>,
    retry_after: Option<Duration>,
}

impl Client {
    /// Prepares a client; nothing is sent.
    ///
    /// # Errors
    /// When the certificates or TLS cannot be set up.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        Ok(Self {
            sessions: Sessions::new(settings)?,
            timeout: settings.timeout,
            trust: settings.trust,
            permits: Semaphore::new(CONCURRENCY),
            breaker: Mutex::default(),
            begun: Mutex::default(),
            ready: RwLock::new(Ready::Unknown { trouble: None }),
            checking: tokio::sync::Mutex::new(()),
            stats: Stats::default(),
            propagate: settings.propagate,
        })
    }

    /// Requests so far, by route.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        CONCURRENCY - self.permits.available_permits()
    }

    /// Whether Ironic is given up for now.
    pub fn breaker_state(&self) -> BreakerState {
        self.breaker().state()
    }

    /// The nodes that began something since the last call, and when.
    pub(crate) fn take_begun(&self) -> Vec<(String, Instant)> {
        std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is sent while Ironic is given up.
    fn admit(&self, session: &Session) -> Result<(), Error> {
        let refused = match self.breaker().admit(Instant::now(), self.timeout) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let since = match refused.since {
            Some(since) => format!(" since {since:.0}"),
            None => String::new(),
        };
        Err(Error::new(
            Kind::NotReady,
            "given_up",
            format!(
                "Ironic at {} has not answered{since} and is asked again in {} s: {}",
                session.shown,
                refused.again.as_secs() + 1,
                refused.cause
            ),
        ))
    }

    /// Counts what an attempt tells of Ironic.
    fn judge(&self, session: &Session, answer: &Result<Answer, Error>) {
        match answer {
            Ok(answer)
                if matches!(
                    answer.status,
                    StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
                ) =>
            {
                let error = Refusal::new(answer.status, &answer.json()).into_error("anything");
                self.count_failure(session, &error);
            }
            Ok(_) => {}
            Err(error) => self.count_failure(session, error),
        }
    }

    fn count_failure(&self, session: &Session, error: &Error) {
        let opened = self
            .breaker()
            .failed(Instant::now(), Timestamp::now(), &error.to_string());
        if opened {
            tracing::warn!(endpoint = session.shown, %error, "ironic is given up for now; hosts wait");
        }
    }

    async fn send(
        &self,
        session: &Session,
        api: Api,
        request: &Request<'_>,
        bound: Duration,
    ) -> Result<Answer, Error> {
        let span = tracing::info_span!(
            "ironic",
            otel.name = format!("{} {}", request.method, request.route),
            otel.kind = "client",
            otel.status_code = field::Empty,
            http.request.method = request.method.as_str(),
            http.response.status_code = field::Empty,
            url.template = request.route,
            server.address = session.place.0,
            server.port = session.place.1,
            error.type = field::Empty,
        );
        let exchange = self.exchange(session, api, request, bound);
        let answer = exchange.instrument(span.clone()).await;
        let failed = match &answer {
            Ok(answer) => {
                span.record("http.response.status_code", answer.status.as_u16());
                let failed = answer.status.is_client_error() || answer.status.is_server_error();
                failed.then(|| answer.status.as_str())
            }
            Err(error) => Some(error.label()),
        };
        if let Some(failed) = failed {
            span.record("error.type", failed);
            span.record("otel.status_code", "ERROR");
        }
        answer
    }

    async fn exchange(
        &self,
        session: &Session,
        api: Api,
        request: &Request<'_>,
        bound: Duration,
    ) -> Result<Answer, Error> {
        let minor = api.minor;
        let mut context = header::HeaderMap::new();
        (self.propagate)(&mut context);
        let mut builder = session
            .http
            .request(
                request.method.clone(),
                format!("{}{}/{}", session.base, api.prefix, request.path),
            )
            .timeout(bound)
            .headers(context)
            .header("X-OpenStack-Ironic-API-Version", format!("1.{minor}"))
            .header("OpenStack-API-Version", format!("baremetal 1.{minor}"))
            .header(header::ACCEPT, "application/json");
        if let Some((user, password)) = &session.access.login {
            builder = builder.basic_auth(user, Some(password.expose_secret()));
        }
        if let Some(body) = request.body {
            builder = builder.json(body);
        }
        let started = Instant::now();
        let result = match builder.send().await {
            Ok(answer) => Answer::read(answer).await,
            Err(error) => Err(error),
        };
        let code = result.as_ref().map_or(0, |answer| answer.status.as_u16());
        self.stats
            .record(request.method.as_str(), request.route, code, started.elapsed());
        result.map_err(|error| transport(&error, session))
    }

    /// One request under all limits. A failed connection makes readiness doubtful.
    async fn call(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let reads = request.method == Method::GET;
        let trust = if reads { Duration::MAX } else { self.trust };
        let (session, api) = self.api(trust).await?;
        // Never closed, so acquiring cannot fail.
        let _permit = self.permits.acquire().await.ok();
        let end = Instant::now() + self.timeout;
        let mut failed = 0;
        let answer = loop {
            self.admit(&session)?;
            let bound = end.saturating_duration_since(Instant::now());
            let answer = self.send(&session, api, request, bound).await;
            self.judge(&session, &answer);
            failed += 1;
            let pause = setback(&answer)
                .filter(|_| reads)
                .and_then(|setback| retry::pause(setback, failed, jitter()))
                .filter(|pause| Instant::now() + *pause < end);
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => break answer,
            }
            self.stats.retried();
        };
        match &answer {
            Err(error) => self.doubt(error.clone()),
            Ok(answer)
                if matches!(
                    answer.status,
                    StatusCode::SERVICE_UNAVAILABLE | StatusCode::UNAUTHORIZED | StatusCode::NOT_ACCEPTABLE
                ) =>
            {
                self.doubt(Refusal::new(answer.status, &answer.json()).into_error(request.route));
            }
            Ok(answer) if answer.status == StatusCode::BAD_GATEWAY => {}
            Ok(answer) if answer.status == StatusCode::GATEWAY_TIMEOUT => {}
            Ok(_) => {
                if self.breaker().succeeded() {
                    tracing::info!(endpoint = session.shown, "ironic answers again");
                }
            }
        }
        answer
    }

    async fn get<T: for<'de> Deserialize<'de>>(
        &self,
        route: &'static str,
        path: &str,
        what: &str,
    ) -> Result<Option<T>, Error> {
        let request = Request {
            method: &Method::GET,
            route,
            path,
            body: None,
        };
        let answer = self.call(&request).await?;
        match answer.status {
            StatusCode::OK => match serde_json::from_slice(&answer.bytes) {
                Ok(body) => Ok(Some(body)),
                Err(error) if error.is_data() => {
                    Err(Error::new(Kind::Bug, "decode", format!("{what}: {error}")))
                }
                Err(error) => Err(answer.no_json(route, &error)),
            },
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(Refusal::new(status, &answer.json()).into_error(what)),
        }
    }

    async fn mutate(
        &self,
        method: Method,
        route: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Accepted<Value>, Error> {
        let request = Request {
            method: &method,
            route,
            path,
            body,
        };
        let answer = self.call(&request).await?;
        if !answer.status.is_success() {
            return Ok(Err(Refusal::new(answer.status, &answer.json())));
        }
        match serde_json::from_slice(&answer.bytes) {
            Ok(body) => Ok(Ok(body)),
            Err(_) if answer.bytes.is_empty() => Ok(Ok(Value::Null)),
            Err(error) => Err(answer.no_json(route, &error)),
        }
    }
}

impl Answer {
    async fn read(answer: reqwest::Response) -> Result<Self, reqwest::Error> {
        let retry_after = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        Ok(Self {
            status: answer.status(),
            retry_after,
            bytes: answer.bytes().await?.into(),
        })
    }

    /// The body; whatever comes with a failure may be a proxy's page.
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    fn no_json(&self, route: &str, error: &serde_json::Error) -> Error {
        Error::new(
            Kind::Transient,
            "not_json",
            format!(
                "Ironic answered {} to a request for {route} with something that is not JSON ({error}); is there a \
                 proxy at IRONIC_ENDPOINT?",
                self.status
            ),
        )
    }
}

/// How an attempt failed, if it did and another may go better.
fn setback(answer: &Result<Answer, Error>) -> Option<Setback> {
    match answer {
        Ok(answer) => Some(Setback::Status(answer.status, answer.retry_after)),
        Err(error) if error.label() == UNREACHABLE => Some(Setback::Connection),
        Err(_) => None,
    }
}

/// Any number from 0 to 1.
fn jitter() -> f64 {
    f64::from(Timestamp::now().subsec_nanosecond().unsigned_abs()) / 1e9
}
