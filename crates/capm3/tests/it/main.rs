//! The provider as it runs in production: the program itself, under the role of its chart, against a real API server, a
//! real workload cluster and a host service whose answers the test sets.
//!
//! The tests share one control plane; each has a namespace, a host service and a provider of its own. Those about
//! webhooks share another one, `webhooks.rs`. Begin with `world.rs`; `lab.rs` plays the users and Cluster API.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this is how tests fail")]

mod absent;
mod admission;
mod bad_network;
mod broken;
mod check;
mod conversion;
mod crash;
mod dumps;
mod flags;
#[path = "../common/hosts.rs"]
mod hosts;
mod lab;
mod label_sync;
mod leader;
mod life;
mod long_outage;
mod metrics;
mod migrate;
mod missing;
mod moving;
mod outage;
mod parents;
mod pause;
mod program;
mod queue;
mod remediation;
mod renewed_ca;
mod reservations;
mod reuse;
mod rights;
mod self_signed;
mod shards;
mod template;
mod template_left;
mod webhooks;
mod workload;
mod world;
