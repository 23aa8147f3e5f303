//! Development only: real servers for tests, builders of objects, waiting on conditions.
//!
//! * [`ControlPlane`] is a real etcd and kube-apiserver with RBAC on; begin with [`ControlPlane::shared`].
//! * [`Account`] is a ServiceAccount with the rules of a chart, so that a missing verb fails a test and not a user.
//! * [`process`] runs our programs and kills them, [`gate`] at the instant of a request; [`wire`] is a bad network;
//!   [`certs`], [`port`] and [`scratch`] are what servers need.
//! * [`wait::until`] is the only way to wait; [`build`] makes objects; [`events`], [`audit`] and [`traces`] read what
//!   happened; [`page`] runs what documentation shows.
//!
//! Everything started here ends with the test process, however that ends. Files go to [`scratch`], which is removed as
//! well unless `METAL3_TEST_KEEP` is set.

pub mod access;
pub mod audit;
pub mod build;
pub mod certs;
mod control_plane;
mod crds;
pub mod events;
pub mod gate;
pub mod http;
mod keeper;
pub mod page;
pub mod port;
pub mod process;
pub mod scratch;
pub mod tools;
pub mod traces;
pub mod wait;
pub mod wire;

use std::path::{Path, PathBuf};

pub use access::{Account, Rules};
pub use control_plane::ControlPlane;

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// What a `main` does for its process and tests must do for theirs: pick the one TLS implementation.
pub fn init() {
    // Fails only when it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
