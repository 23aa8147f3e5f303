//! bmo as it runs in production: the program itself, under the role of its chart, against a real API server and a
//! simulated Ironic.
//!
//! The tests share one control plane; each has a namespace, an Ironic and a bmo of its own. Begin with `world.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is how tests fail and speak"
)]

mod api;
mod chaos;
mod check;
mod claim;
mod claim_late;
mod claim_listed;
mod claim_seen;
mod claim_stray;
mod config_data;
mod crash;
mod errors;
mod grpc_bad_input;
mod grpc_calls;
mod grpc_limits;
mod grpc_move;
mod grpc_page;
mod grpc_reservations;
mod grpc_security;
mod grpc_tls;
mod hardware_data;
mod ironic;
mod ironic_real;
mod ironic_resource;
mod late;
mod leader;
mod lend;
mod life;
mod metrics;
mod namespace;
mod orphans;
mod partition;
mod permission;
mod preprovisioning;
mod program;
mod renewal;
mod secrets;
mod self_signed;
mod trace;
mod watch;
mod webhook;
mod webhook_corpus;
mod webhook_self_signed;
mod world;
