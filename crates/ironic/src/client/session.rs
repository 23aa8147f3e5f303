//! The connections to Ironic and what they are made with; both are exchanged when the files are renewed.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;

use crate::{Access, Settings};

/// Connections that show and trust the same.
pub(super) struct Session {
    pub(super) http: reqwest::Client,
    pub(super) access: Access,
}

/// The session of the moment.
pub(super) struct Sessions {
    settings: Settings,
    current: RwLock<Arc<Session>>,
    looked: Mutex<Looked>,
}

/// The last look at the files.
struct Looked {
    at: Instant,
    /// What was wrong with them; told once.
    trouble: Option<String>,
}

impl Sessions {
    pub(super) fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let first = Session::new(settings, settings.access.clone())?;
        Ok(Self {
            settings: settings.clone(),
            current: RwLock::new(Arc::new(first)),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                trouble: None,
            }),
        })
    }

    /// The one to use now. Requests under way end on that with which they began.
    pub(super) fn current(&self) -> Arc<Session> {
        self.look();
        self.known()
    }

    fn known(&self) -> Arc<Session> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
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

    fn renew(&self) -> Result<(), Box<dyn Error>> {
        let Some(files) = &self.settings.files else {
            return Ok(());
        };
        let before = self.known();
        let access = files.read_again(&before.access)?;
        let changed = access.differences(&before.access);
        if changed.is_empty() {
            return Ok(());
        }
        let session = Session::new(&self.settings, access)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(session);
        tracing::info!(changed = changed.join(", "), "files for Ironic were renewed");
        Ok(())
    }
}

impl Session {
    fn new(settings: &Settings, access: Access) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("metal3-bmo/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(settings.insecure);
        if let Some(pem) = &access.ca {
            http = http.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        if let Some(pem) = &access.identity {
            http = http.identity(reqwest::Identity::from_pem(pem.expose_secret().as_bytes())?);
        }
        let http = http.build()?;
        Ok(Self { http, access })
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
