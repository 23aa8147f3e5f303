//! The decisions of the Cluster API provider, without doing anything.
//!
//! [`machine::plan`] and [`cluster::plan`] look at objects and at what was seen so far, and either ask for one more
//! fact or action or finish with a [`Verdict`](machine::Verdict). They are pure: the shell in `metal3-capm3` performs
//! what they ask, calls them again, and writes the verdict. Nothing here knows gRPC, a Kubernetes client, a clock or
//! chance.
//!
//! Every ask may be repeated: the process may die between any two of them. What must survive is written before it is
//! needed (the finalizer before the claim), and the rest is found again by the consumer's name.
//!
//! Begin with `machine/mod.rs`; `waiting.rs` says who of those that wait for a host asks for it next.

#![deny(clippy::wildcard_enum_match_arm)]

pub mod admission;
pub mod cluster;
pub mod condition;
pub mod host;
pub mod label_sync;
pub mod machine;
pub mod node;
pub mod remediation;
pub mod template_sync;
pub mod waiting;
