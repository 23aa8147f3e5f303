//! The controller of Metal3Machines.
//!
//! `reconcile.rs` is all of it that thinks: ask what the core asks, commit what it decides. `commit.rs` writes,
//! `successor.rs` finds out whether another machine will want the host of one that goes.

mod commit;
mod reconcile;
mod successor;

pub(crate) use reconcile::Controller;
#[cfg(test)]
pub(crate) use reconcile::look_for_host;
