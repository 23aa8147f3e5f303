//! The charts, rendered by real Helm. A change of what they render shows in the files beside this one:
//! `UPDATE_SNAPSHOTS=1 cargo test -p xtask --test charts` writes them anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this is how tests fail")]

mod cases;
mod dist;
mod helm;
mod objects;
mod pods;
mod refused;
mod roles;
mod snapshots;
