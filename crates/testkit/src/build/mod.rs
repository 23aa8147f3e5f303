//! Objects for tests: say what matters, the rest is sensible.

mod capi;
mod host;

pub use capi::{ClusterBuilder, MachineBuilder, cluster, machine, metal3_cluster, metal3_machine};
pub use host::{HostBuilder, host};
