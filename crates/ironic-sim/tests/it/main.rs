//! The simulation from outside: its HTTP API, its faults, and its state machine.
//!
//! * `api`: the life of nodes, and what is refused
//! * `parts`: what belongs to nodes: steps, settings, firmware, RAID, media, subscriptions, lists
//! * `faults`: what can be made to go wrong, and the log of what was done
//! * `machine`: the state machine against a table

#![expect(clippy::unwrap_used, reason = "helpers of tests are not test functions")]

mod api;
mod faults;
mod machine;
mod parts;
mod support;
