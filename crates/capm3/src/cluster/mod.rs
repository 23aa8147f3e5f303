//! The controller of Metal3Clusters.

mod reconcile;

pub(crate) use reconcile::Controller;
