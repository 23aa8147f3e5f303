//! `infrastructure.cluster.x-k8s.io/v1beta2`: the stored version.

mod cluster;
mod common;
mod data;
mod data_template;
mod machine;
mod network_data;
mod remediation;

pub use cluster::*;
pub use common::*;
pub use data::*;
pub use data_template::*;
pub use machine::*;
pub use network_data::*;
pub use remediation::*;
