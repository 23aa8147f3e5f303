//! Kubernetes API types of Metal3.

pub mod capi;
pub mod infra;
pub mod ipam;
