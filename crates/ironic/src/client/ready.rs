//! Whether Ironic can be used, and by which version of its API.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use metal3_provisioner::Error;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::error::{Refusal, not_ready, transport};
use super::session::Session;
use super::{Client, Request};

/// The oldest API that upstream's operator accepts.
const OLDEST: u32 = 89;
/// The versions that brought something we use: `disable_power_off`, `health` and aborting a deployment are the last
/// three; before them come virtual media, and reading them.
const STEPS: [u32; 5] = [110, 109, 95, 93, OLDEST];
/// A failed check is not repeated sooner, however many hosts ask.
const RETRY: Duration = Duration::from_secs(2);
/// Nobody waits longer for a check that somebody else makes of an Ironic in trouble.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Api {
    /// Minor version that is sent.
    pub(super) minor: u32,
    /// What comes between the base URL and the resources.
    pub(super) prefix: &'static str,
}

#[derive(Clone, Debug)]
pub(super) enum Ready {
    /// Not known, or not any more; the trouble that made it so.
    Unknown { trouble: Option<Error> },
    Yes {
        api: Api,
        session: u64,
        checked: Instant,
    },
    No {
        session: u64,
        since: Instant,
        error: Error,
    },
}

impl Client {
    /// The negotiated minor version, once Ironic answers and has a conductor.
    ///
    /// # Errors
    /// [`Kind::NotReady`](metal3_provisioner::Kind::NotReady), or a configuration error such as wrong credentials.
    pub async fn ready(&self) -> Result<u32, Error> {
        Ok(self.api(Duration::MAX).await?.1.minor)
    }

    /// The session of the moment, and what was negotiated with it not longer than `trust` ago.
    pub(super) async fn api(&self, trust: Duration) -> Result<(Arc<Session>, Api), Error> {
        let session = self.sessions.current()?;
        if let Some(known) = self.known(&session, trust) {
            return known.map(|api| (session, api));
        }
        let checking = self.checking.lock();
        let _one_at_a_time = match self.trouble() {
            None => checking.await,
            Some(error) => match tokio::time::timeout(PATIENCE, checking).await {
                Ok(lock) => lock,
                Err(_) => return Err(error),
            },
        };
        if let Some(known) = self.known(&session, trust) {
            return known.map(|api| (session, api));
        }
        self.admit(&session)?;
        let result = self.check(&session).await;
        self.learn(&session, &result);
        result.map(|api| (session, api))
    }

    fn known(&self, session: &Session, trust: Duration) -> Option<Result<Api, Error>> {
        match &*self.ready.read().unwrap_or_else(PoisonError::into_inner) {
            Ready::Yes {
                api,
                session: with,
                checked,
            } if *with == session.id && (trust == Duration::MAX || checked.elapsed() < trust) => {
                Some(Ok(*api))
            }
            Ready::No {
                session: with,
                since,
                error,
            } if *with == session.id && since.elapsed() < RETRY => Some(Err(error.clone())),
            Ready::Yes { .. } | Ready::No { .. } | Ready::Unknown { .. } => None,
        }
    }

    /// Why Ironic is not known to be ready.
    fn trouble(&self) -> Option<Error> {
        match &*self.ready.read().unwrap_or_else(PoisonError::into_inner) {
            Ready::Yes { .. } => None,
            Ready::No { error, .. } => Some(error.clone()),
            Ready::Unknown { trouble } => trouble.clone(),
        }
    }

    fn learn(&self, session: &Session, result: &Result<Api, Error>) {
        let now = Instant::now();
        let learned = match result {
            Ok(api) => {
                self.breaker().go_on(now);
                Ready::Yes {
                    api: *api,
                    session: session.id,
                    checked: now,
                }
            }
            Err(error) => Ready::No {
                session: session.id,
                since: now,
                error: error.clone(),
            },
        };
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = learned;
    }

    /// The next call checks again; after a lost connection Ironic may be another version, or starting.
    pub(super) fn doubt(&self, trouble: Error) {
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = Ready::Unknown {
            trouble: Some(trouble),
        };
    }

    async fn check(&self, session: &Session) -> Result<Api, Error> {
        let api = negotiate(session, &self.document(session).await?)?;
        let request = Request {
            method: &Method::GET,
            route: "drivers",
            path: "drivers",
            body: None,
        };
        let answer = self.send(session, api, &request, self.timeout).await;
        self.judge(session, &answer);
        let answer = answer?;
        if answer.status != StatusCode::OK {
            return Err(Refusal::new(answer.status, &answer.json()).into_error("the list of drivers"));
        }
        if answer.json()["drivers"].as_array().is_none_or(Vec::is_empty) {
            return Err(not_ready(format!(
                "no drivers loaded in Ironic at {}: is a conductor running?",
                session.shown
            )));
        }
        Ok(api)
    }

    /// What Ironic says of itself to everybody: without a login and a version.
    async fn document(&self, session: &Session) -> Result<Value, Error> {
        let started = Instant::now();
        let answer = match session.http.get(format!("{}/", session.base)).send().await {
            Ok(answer) => {
                let status = answer.status();
                answer.bytes().await.map(|bytes| (status, bytes))
            }
            Err(error) => Err(error),
        };
        let code = answer.as_ref().map_or(0, |(status, _)| status.as_u16());
        self.stats.record("GET", "versions", code, started.elapsed());
        let (status, bytes) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let error = transport(&error, session);
                self.count_failure(session, &error);
                return Err(error);
            }
        };
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match status {
            StatusCode::OK | StatusCode::MULTIPLE_CHOICES => Ok(body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Refusal::new(status, &body).into_error("its versions, which anybody may ask for"))
            }
            status => {
                let error = not_ready(format!(
                    "Ironic at {} answered {status} when asked for its versions; check {} and that Ironic is up",
                    session.shown, session.told_by
                ));
                if status.is_server_error() {
                    self.count_failure(session, &error);
                }
                Err(error)
            }
        }
    }
}

/// Chooses from what is offered: `/v1/` tells its version, `/` lists all.
fn negotiate(session: &Session, document: &Value) -> Result<Api, Error> {
    let (version, prefix) = match (&document["version"], document["versions"].as_array()) {
        (version @ Value::Object(_), _) => (version, ""),
        (_, Some(versions)) => {
            let first = versions
                .iter()
                .find(|version| version["id"] == "v1")
                .or_else(|| versions.first());
            (first.unwrap_or(&Value::Null), "/v1")
        }
        _ => (&Value::Null, ""),
    };
    let Some(version) = version["version"].as_str() else {
        return Err(not_ready(format!(
            "what answers at {} is no Ironic; check {}",
            session.shown, session.told_by
        )));
    };
    let minor = version
        .strip_prefix("1.")
        .and_then(|minor| minor.parse::<u32>().ok())
        .unwrap_or(0);
    match STEPS.into_iter().find(|step| *step <= minor) {
        Some(minor) => Ok(Api { minor, prefix }),
        None => Err(not_ready(format!(
            "Ironic at {} offers API version {version:?}; 1.{OLDEST} or newer is needed: upgrade Ironic",
            session.shown
        ))),
    }
}
