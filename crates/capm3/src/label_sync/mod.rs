//! The controller that keeps the labels of hosts on their Nodes. It looks at Metal3Machines, which stand between the two.
//!
//! `reconcile.rs` compares and changes; both sides are in memory, so that a look at a Node that is as it should be costs
//! nobody a request. `pace.rs` slows down where somebody changes Nodes back, `told.rs` knows what was said before.

mod pace;
mod reconcile;
mod told;

pub(crate) use reconcile::Controller;
