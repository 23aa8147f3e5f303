//! baremetal-operator: the BareMetalHost controller and the HostService.
//!
//! * [`run`] starts everything; [`Args`] are the flags and variables.
//! * `host/` is the controller: it performs what `metal3-host-core` asks and commits what it decides.
//! * `grpc/` answers the HostService from an index of all hosts.
//! * `backend.rs` picks what drives the hardware.

mod args;
mod backend;
mod grpc;
mod host;
mod metrics;
mod run;
mod watch;

pub use args::Args;
pub use run::run;
