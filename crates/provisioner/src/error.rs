use thiserror::Error as ThisError;

/// What a caller does about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The backend does not answer or is not ready: try again later, the host is not to blame.
    NotReady,
    /// A request failed in a way that a retry may heal.
    Transient,
    /// Something else changed it at the same time: try again soon.
    Conflict,
    /// The backend does not know the host: register it first.
    NotRegistered,
    /// The operator's own configuration is wrong: wait for a change.
    Config,
    /// A state or reply that must not happen.
    Bug,
}

/// Infrastructure trouble. Messages name the object and the cause, never a credential.
#[derive(Clone, Debug, ThisError)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    label: &'static str,
    message: String,
}

impl Error {
    /// A new error; `label` is a bounded word for metrics.
    pub fn new(kind: Kind, label: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            label,
            message: message.into(),
        }
    }

    /// What to do about it.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Bounded word for metrics.
    pub const fn label(&self) -> &'static str {
        self.label
    }
}
