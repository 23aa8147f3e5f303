//! `infrastructure.cluster.x-k8s.io/v1beta2`: the stored version.

mod cluster;
mod common;
mod machine;

pub use cluster::*;
pub use common::*;
pub use machine::*;
