//! PreprovisioningImages: the ramdisk that is built for each host, with `--build-preprov-image`.
//!
//! `keep.rs` and `built.rs` are the side of the host: `images.rs` keeps the object of each and reads the answer. The other
//! side is a builder: `controller.rs` is the one for hosts that all boot the same, from `DEPLOY_*_URL` (`sources.rs`), by
//! what `decide.rs` says. Somebody else's builder may stand in for it.

mod built;
mod controller;
mod decide;
mod images;
mod keep;
mod sources;

pub(crate) use controller::Builder;
pub(crate) use images::Images;

/// Condition: the image can be booted.
const READY: &str = "Ready";
/// Condition: the image cannot be built.
const ERROR: &str = "Error";
/// Reason of both when the network data cannot be found, which may change at any time.
const MISSING_NETWORK_DATA: &str = "MissingNetworkData";
