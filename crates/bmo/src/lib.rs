//! baremetal-operator: the BareMetalHost controller and the HostService.
//!
//! * [`run`] starts everything; [`Args`] are the flags and variables.
//! * `host/` is the controller: it performs what `metal3-host-core` asks and commits what it decides.
//! * `grpc/` answers the HostService from an index of all hosts.
//! * [`check()`] looks at a running service, for `helm test`.
//! * `webhook/` admits objects by the rules of `metal3-admission`.
//! * `preprovisioning/` has a ramdisk built for each host, where that is wanted.
//! * [`reference`] writes pages of the documentation; [`trial`] is for those who feed the HostService with odd requests.
//! * `backend.rs` picks what drives the hardware; `ironic_resource.rs` follows the object that tells where it is; `orphans.rs`
//!   tells of nodes without a host.

mod args;
mod backend;
mod check;
mod events;
mod follow;
mod grpc;
mod host;
mod ironic_resource;
mod metrics;
mod orphans;
mod preprovisioning;
pub mod reference;
mod run;
mod watch;
mod webhook;

pub use args::{Args, Cli, Command};
pub use check::{CheckArgs, check};
pub use grpc::trial;
pub use run::run;
