//! The controller of Metal3Clusters.

mod controller;
mod reconcile;

pub(crate) use controller::Controller;
