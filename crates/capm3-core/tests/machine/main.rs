//! The decisions about a machine. `scenarios.rs` has each documented path, `provider_id.rs` how its Node is found,
//! `reuse.rs` what becomes of its host, `moving.rs` how it moves to another cluster, `model.rs` what holds whatever happens.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod common;
mod model;
mod moving;
mod provider_id;
mod reuse;
mod scenarios;
