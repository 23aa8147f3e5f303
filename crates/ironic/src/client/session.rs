//! The connections to Ironic and what they are made with; both are exchanged when that changes, and only then.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use metal3_provisioner::Error;
use secrecy::ExposeSecret as _;
use thiserror::Error as ThisError;
use tokio::sync::watch;

use super::error::not_ready;
use super::{CONCURRENCY, trust};
use crate::{Access, Settings, Target};

/// An idle connection is not kept longer: Ironic's own server closes it after 10 s, and a request could meet that.
const IDLE: Duration = Duration::from_secs(5);

/// The client cannot be set up.
#[derive(Debug, ThisError)]
pub enum SetupError {
    /// By HTTP.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// By TLS.
    #[error("TLS to Ironic cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Connections to one place that show and trust the same.
pub(super) struct Session {
    /// Differs from all others.
    pub(super) id: u64,
    pub(super) http: reqwest::Client,
    pub(super) access: Access,
    /// Base URL without a slash at its end.
    pub(super) base: String,
    /// Where it is, without a login, for messages.
    pub(super) shown: String,
    /// Host and port of it, for traces.
    pub(super) place: (String, Option<u16>),
    /// Who says that it is there, for messages.
    pub(super) told_by: Arc<str>,
}

/// The session of the moment.
pub(super) struct Sessions {
    settings: Settings,
    told_by: Arc<str>,
    current: Mutex<Current>,
    looked: Mutex<Looked>,
}

struct Current {
    /// Kept over times without a target, with its connections.
    session: Option<Arc<Session>>,
    /// Where to go now, if that may change.
    target: Option<watch::Receiver<Target>>,
    /// Why there is nothing to connect to.
    unready: Option<String>,
}

/// The last look at the files.
struct Looked {
    at: Instant,
    /// What was wrong with them; told once.
    trouble: Option<String>,
}

impl Sessions {
    pub(super) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let told_by: Arc<str> = match &settings.resource {
            Some(resource) => format!("the Ironic resource {resource}").into(),
            None => "IRONIC_ENDPOINT".into(),
        };
        let session = match &settings.target {
            Some(_) => None,
            None => Some(Arc::new(Session::new(
                settings,
                &settings.endpoint,
                settings.access.clone(),
                &told_by,
            )?)),
        };
        let mut target = settings.target.clone();
        // What is there already is news.
        if let Some(target) = &mut target {
            target.mark_changed();
        }
        Ok(Self {
            settings: settings.clone(),
            told_by,
            current: Mutex::new(Current {
                session,
                target,
                unready: None,
            }),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                trouble: None,
            }),
        })
    }

    /// The one to use now. Requests under way end on that with which they began.
    pub(super) fn current(&self) -> Result<Arc<Session>, Error> {
        self.look();
        self.follow();
        let current = self.lock();
        match (&current.session, &current.unready) {
            (Some(session), None) => Ok(Arc::clone(session)),
            (_, Some(why)) => Err(not_ready(why.clone())),
            (None, None) => Err(not_ready(format!("{} was not read yet", self.told_by))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes where the target is now.
    fn follow(&self) {
        let mut current = self.lock();
        let target = match &mut current.target {
            Some(target) if target.has_changed().unwrap_or(false) => target.borrow_and_update().clone(),
            Some(_) | None => return,
        };
        let (endpoint, login, ca) = match target {
            Target::At { endpoint, login, ca } => (endpoint, login, ca),
            Target::NotReady(why) => {
                current.unready = Some(why);
                return;
            }
        };
        let identity = match &current.session {
            Some(session) => session.access.identity.clone(),
            None => self.settings.access.identity.clone(),
        };
        let access = Access { login, ca, identity };
        if let Err(error) = self.exchange(&mut current, Some(&endpoint), access) {
            current.unready = Some(format!(
                "{} tells what cannot be used: {}",
                self.told_by,
                chain(&error)
            ));
        } else {
            current.unready = None;
        }
    }

    /// Makes a new session, if there is a difference; says what differs.
    fn exchange(
        &self,
        current: &mut Current,
        endpoint: Option<&str>,
        access: Access,
    ) -> Result<Vec<&'static str>, SetupError> {
        let mut changed = match &current.session {
            Some(session) => access.differences(&session.access),
            None => vec!["access"],
        };
        let known = current.session.as_ref().map(|session| session.base.clone());
        let base = endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        if base.is_some() && base != known {
            changed.push("endpoint");
        }
        if changed.is_empty() {
            return Ok(changed);
        }
        let base = base.or(known).unwrap_or_default();
        let session = Session::new(&self.settings, &base, access, &self.told_by)?;
        tracing::info!(
            endpoint = session.shown,
            changed = changed.join(", "),
            "connections to Ironic are made anew"
        );
        current.session = Some(Arc::new(session));
        Ok(changed)
    }

    /// Reads the files again, if it is time and nobody else does. When they cannot be used, things stay as they are.
    fn look(&self) {
        let mut looked = match self.looked.try_lock() {
            Ok(looked) => looked,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if looked.at.elapsed() < self.settings.reread {
            return;
        }
        looked.at = Instant::now();
        let trouble = self.renew().err().map(|error| chain(error.as_ref()));
        if let Some(error) = trouble.as_ref().filter(|_| trouble != looked.trouble) {
            tracing::warn!(
                error,
                "changed files are not used for Ironic; those of before are"
            );
        }
        looked.trouble = trouble;
    }

    fn renew(&self) -> Result<(), Box<dyn StdError>> {
        let Some(files) = &self.settings.files else {
            return Ok(());
        };
        let before = match &self.lock().session {
            Some(session) => session.access.clone(),
            None => return Ok(()),
        };
        let access = if self.settings.target.is_some() {
            // Only what we show comes from files then.
            Access {
                identity: files.identity()?,
                ..before
            }
        } else {
            files.read_again(&before)?
        };
        self.exchange(&mut self.lock(), None, access)?;
        Ok(())
    }
}

impl Session {
    fn new(
        settings: &Settings,
        endpoint: &str,
        access: Access,
        told_by: &Arc<str>,
    ) -> Result<Self, SetupError> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let http = reqwest::Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(Duration::from_secs(10).min(settings.timeout))
            .tcp_keepalive(Duration::from_secs(30))
            .http1_only()
            .pool_max_idle_per_host(CONCURRENCY)
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("metal3-bmo/", env!("CARGO_PKG_VERSION")));
        let identity = access.identity.as_ref().map(|pem| pem.expose_secret());
        let http = match &access.ca {
            Some(pem) if !settings.insecure => http.tls_backend_preconfigured(trust::config(pem, identity)?),
            Some(_) | None => {
                let http = http.tls_danger_accept_invalid_certs(settings.insecure);
                match identity {
                    Some(pem) => http.identity(reqwest::Identity::from_pem(pem.as_bytes())?),
                    None => http,
                }
            }
        };
        Ok(Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            http: http.build()?,
            access,
            base: endpoint.trim_end_matches('/').to_owned(),
            shown: without_login(endpoint),
            place: place(endpoint),
            told_by: Arc::clone(told_by),
        })
    }
}

/// Host and port of a URL.
fn place(endpoint: &str) -> (String, Option<u16>) {
    let Ok(url) = reqwest::Url::parse(endpoint) else {
        return (String::new(), None);
    };
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), url.port_or_known_default())
}

/// Scheme, host and port.
fn without_login(endpoint: &str) -> String {
    reqwest::Url::parse(endpoint).map_or_else(
        |_| "IRONIC_ENDPOINT".to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
