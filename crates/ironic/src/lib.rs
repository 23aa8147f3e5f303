//! Ironic behind the port `Provisioner`.
//!
//! * [`client`]: the HTTP client, typed as far as we use the API
//! * [`mirror`]: all nodes in memory, read page by page; tells which hosts changed
//! * [`IronicProvisioner`]: the adapter, one file per operation under `provisioner/`
//! * [`Settings`]: what is configured, by upstream's environment variables; [`Access`] is the part of it that may be renewed while we run
//!
//! Retries belong to the caller: an answer says what is waited for, an error what went wrong.

mod access;
mod breaker;
mod capacity;
pub mod client;
pub mod mirror;
mod orphans;
mod provisioner;
mod settings;
mod target;

pub use access::{Access, Files};
pub use breaker::BreakerState;
pub use capacity::QueueState;
pub use orphans::{Known, Orphan};
pub use provisioner::IronicProvisioner;
#[doc(hidden)]
pub use provisioner::untrusted;
pub use settings::{AgentImages, Resource, Settings, SettingsError};
pub use target::Target;
