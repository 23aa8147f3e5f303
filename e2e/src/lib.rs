//! The whole stack, started for real and walked through: what `make quickstart` and the end-to-end tests run.
//!
//! * [`bed`]: the scripts of `hack/testbed` as calls; everything they start lives in one network namespace
//! * [`hardware`]: what the servers are: a real Ironic with emulated BMCs and agents, or ironic-sim
//! * [`config_drive`] and [`player`]: what a booted server does, from the config drive that it really received
//! * [`stack`]: bmo and capm3, installed by clusterctl, as processes
//! * [`tour`]: the steps of the main job; [`report`]: what came out of it; [`progress`]: what a person sees meanwhile
//! * [`view`]: what can be seen of it all while waiting
//! * [`contract`]: what Cluster API asks for on the following days
//! * [`chaos`]: kills services at random while the tour goes on
//!
//! Begin with `tour.rs`.

pub mod bed;
pub mod chaos;
pub mod checks;
pub mod config_drive;
pub mod contract;
pub mod hardware;
pub mod player;
pub mod progress;
pub mod release;
pub mod report;
pub mod stack;
pub mod tour;
pub mod view;
