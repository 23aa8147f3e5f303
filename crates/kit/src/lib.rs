//! The shell of a service, without a word about what the service does.
//!
//! * [`telemetry`]: logs and traces; [`metrics`]: the `/metrics` server; [`probes`]: `/healthz` and `/readyz`
//! * [`tls`]: certificates from a folder or made by the service itself, exchanged without dropping connections, and a
//!   listener that uses them
//! * [`caller`]: who calls, and may they
//! * [`webhook`]: admission and conversion reviews
//! * [`lease`]: leader election; [`shutdown`]: signals and supervised tasks
//! * [`check`]: looks at a server as its callers see it
//! * [`flags`]: flags as Go takes them; [`client`]: the Kubernetes client; [`backoff`]: the one place that counts retries of an object

pub mod backoff;
mod cache;
pub mod caller;
pub mod check;
pub mod client;
pub mod flags;
pub mod lease;
pub mod metrics;
pub mod probes;
mod process;
mod requests;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod webhook;
