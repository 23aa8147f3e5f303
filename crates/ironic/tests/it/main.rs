//! The adapter against Ironic: a simulated one, odd ones, and a real one.
//!
//! * `conformance`: scenarios that hold for every Ironic; `conformance/on_sim.rs` and `conformance/on_real.rs` run them
//! * `registration`, `ramdisk`, `states`, `recovery`, `load`: what only a simulation can be made to do
//! * `credentials`, `raid`: what holds for every Ironic, in the same file for both
//! * `tls`: certificates of both sides and the login, and their renewal
//! * `trace_upstream`: the operator of the Metal3 project drives the simulation
//! * `client_trouble`, `mirror_pages`, `odd`: answers that no Ironic gives, or seldom, but proxies do
//! * `capacity_queue`, `orphans`: what the adapter knows of all hosts together
//!
//! A [`bed::Bed`] is an Ironic with machines; a [`host::Host`] is one machine with the adapter that drives it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are not test functions"
)]

mod bed;
mod capacity_queue;
mod client_trouble;
mod conformance;
mod credentials;
mod host;
mod load;
mod mirror_pages;
mod odd;
mod orphans;
mod raid;
mod ramdisk;
mod recovery;
mod registration;
mod states;
mod tls;
mod trace_golden;
mod trace_recorder;
mod trace_upstream;
