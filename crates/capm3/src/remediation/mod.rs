//! The controller of Metal3Remediations.
//!
//! `reconcile.rs` asks what the core asks and `commit.rs` writes what it decides; `machine.rs` writes the conditions of the
//! Machine.

mod commit;
mod machine;
mod reconcile;

pub(crate) use reconcile::Controller;
