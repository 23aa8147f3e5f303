//! `infrastructure.cluster.x-k8s.io`: what Cluster API and its users see of this provider.
//!
//! [`v1beta2`] is the stored version and the hub; [`v1beta1`] is served for older clients and
//! deprecated. The types mirror the wire: every field that may be absent is an `Option` or an empty
//! list, and closed sets of words stay strings, because an object that was written through one
//! version may hold a value that the other version's schema forbids.

pub mod conversion;
pub mod v1beta1;
pub mod v1beta2;

mod crds;
pub(crate) mod schema;

pub use crds::crds;
