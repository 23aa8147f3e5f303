//! Ironic behind the port `Provisioner`.
//!
//! * [`client`]: the HTTP client, typed as far as we use the API
//! * [`mirror`]: all nodes in memory, read page by page; tells which hosts changed
//! * [`IronicProvisioner`]: the adapter, one file per operation under `provisioner/`
//! * [`Settings`]: what is configured, by upstream's environment variables; [`Access`] is the part of it that may be renewed while we run
//!
//! Retries belong to the caller: an answer says what is waited for, an error what went wrong.

mod access;
pub mod client;
pub mod mirror;
mod provisioner;
mod settings;

pub use access::{Access, Files};
pub use provisioner::IronicProvisioner;
pub use settings::{Settings, SettingsError};
