//! The controller of BareMetalHosts.
//!
//! `reconcile.rs` is all of it that thinks: ask what the core asks, commit what it decides. `observe.rs` reads what a
//! decision needs, `secrets.rs` is the only place that reads Secrets, `commit.rs` writes.

mod commit;
mod controller;
mod observe;
mod reconcile;
mod secrets;

pub(crate) use controller::{Controller, settings};
