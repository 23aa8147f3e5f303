//! What may be wrong with the configuration.

use std::path::PathBuf;

use thiserror::Error;

/// The configuration cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A variable that must be there.
    #[error("{name} is not set: {remedy}")]
    Missing {
        /// Variable.
        name: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A value that makes no sense.
    #[error("{name}={value:?} is not valid: {remedy}")]
    Invalid {
        /// Variable.
        name: &'static str,
        /// Value; never a secret.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A file without which another is of no use.
    #[error("{} is {problem}: {remedy}", path.display())]
    Lacking {
        /// Which one.
        path: PathBuf,
        /// Missing or empty.
        problem: &'static str,
        /// What to do.
        remedy: String,
    },
    /// Files that are not what they should be.
    #[error("{files} cannot be used ({cause}): {remedy}")]
    Unfit {
        /// Which ones.
        files: String,
        /// Why; never their content.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
}
