//! The functional core of a BareMetalHost: decides, never does.
//!
//! [`step`] looks at a host and at what is known so far and either asks for one fact ([`Step::Ask`]) or finishes with a
//! [`Verdict`]. The shell performs the ask and calls `step` again from the start; it commits the verdict. Nothing here
//! does IO, reads a clock or draws a random number, so that a whole life can be driven by a table.
//!
//! Begin with [`step`], then one file of [`state`]; [`transitions`] lists every edge.
#![deny(clippy::wildcard_enum_match_arm)]

mod conditions;
mod deletion;
mod explain;
mod failure;
mod hardware;
mod hints;
mod image;
mod input;
mod pass;
mod power;
mod raid;
mod registration;
mod requests;
mod restore;
mod state;
mod step;
pub mod transitions;
mod verdict;
mod waiting;

pub use explain::{Explanation, Failure, Wait, explain, state_since, waits};
pub use failure::backoff_minutes;
pub use input::{Answer, Ask, BmcSecret, Built, HostView, Observed, PullSecretProblem, Settings};
pub use step::{is_paused, step, unavailable};
pub use verdict::{Event, EventKind, Finish, Next, Requeue, Step, Verdict, Write};
