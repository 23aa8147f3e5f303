//! The controller of Metal3MachineTemplates: what changes in them and counts for machines that have their host already is
//! carried to those machines. Their own controller brings it to the hosts.

mod reconcile;

pub(crate) use reconcile::Controller;
