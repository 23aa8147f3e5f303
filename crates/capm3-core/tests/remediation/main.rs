//! The decisions about a remediation. `scenarios.rs` has each documented path, `model.rs` what holds whatever happens.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod common;
mod model;
mod scenarios;
