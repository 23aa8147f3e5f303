//! The client against real servers of the contract, over wires that are as bad as real ones.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod balance;
mod failure;
mod outage;
mod replicas;
mod server;
mod tls;
mod watch;
