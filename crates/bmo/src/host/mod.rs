//! The controller of BareMetalHosts.
//!
//! `reconcile.rs` is all of it that thinks: ask what the core asks, commit what it decides. `observe.rs` reads what a
//! decision needs, `secrets/` is the only place that reads Secrets, `hardware.rs` keeps HardwareData, `commit.rs` writes,
//! `late.rs` keeps back what would be written between the two writes of a claim, `trace.rs` tells whose call that serves.

mod commit;
mod controller;
mod hardware;
mod late;
mod observe;
mod reconcile;
mod secrets;
mod trace;

pub(crate) use controller::{Controller, settings};
pub(crate) use reconcile::Failure;
pub(crate) use secrets::{Beside, Claim, Secrets, claim};
