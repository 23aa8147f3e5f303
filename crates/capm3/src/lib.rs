//! The Cluster API infrastructure provider: Metal3Cluster and Metal3Machine controllers and their webhooks.
//!
//! * [`run`] starts everything; [`Args`] are the flags and variables.
//! * [`check()`] looks at running webhooks and at the HostService, for `helm test`.
//! * `machine/`, `cluster/`, `remediation/` and `template/` are the controllers: they perform what `metal3-capm3-core` asks and
//!   commit what it decides. `queue.rs` is what they have in common, `objects.rs` what they read, `wake.rs` how they are woken.
//! * `hosts/` speaks to the HostService; there is no other way to a host, and no permission on `metal3.io`.
//! * `workload/` looks at the Nodes of workload clusters; `label_sync/` keeps the labels of hosts on them.
//! * [`reference`] makes the documentation of the flags.
//! * `webhook.rs` converts and admits objects, `migrate.rs` stores old ones anew.

mod args;
mod check;
mod cluster;
mod commit;
mod hosts;
mod interruptions;
mod label_sync;
mod machine;
mod metrics;
mod migrate;
mod objects;
mod queue;
pub mod reference;
mod remediation;
mod run;
mod template;
mod wake;
mod watch;
mod webhook;
mod workload;

pub use args::{Args, Cli, Command};
pub use check::{CheckArgs, check};
pub use run::run;
