//! The controller of Metal3Machines.
//!
//! `reconcile.rs` is all of it that thinks: ask what the core asks, commit what it decides. `commit.rs` writes.

mod commit;
mod controller;
mod reconcile;

pub(crate) use controller::Controller;
