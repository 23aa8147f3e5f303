//! The decisions about a remediation. `scenarios.rs` has each documented path, `away.rs` those on which the host service does
//! not answer, `model.rs` what holds whatever happens.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod away;
mod common;
mod model;
mod scenarios;
