//! bmo as it runs in production: the program itself, under the role of its chart, against a real API server and a
//! simulated Ironic.
//!
//! The tests share one control plane; each has a namespace, an Ironic and a bmo of its own. Begin with `world.rs`.

mod api;
mod claim;
mod crash;
mod errors;
mod ironic;
mod leader;
mod life;
mod permission;
mod program;
mod watch;
mod world;
