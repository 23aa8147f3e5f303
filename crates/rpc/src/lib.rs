//! The contract between bmo and capm3: `metal3.host.v1`.
//!
//! * [`v1`]: code generated from `proto/metal3/host/v1` by `cargo xtask gen proto`; never edited.
//! * [`DESCRIPTOR`]: the descriptor set with imports, for reflection.
//! * [`call`]: its calls, and the verb that each needs.
//! * [`reason`]: why a call failed, as `google.rpc.ErrorInfo`, the same words on both sides.
//! * [`client`]: the client used by everything that is not the server.
//! * [`watch`]: a local view of the hosts that survives everything that happens to its stream.
//! * [`identity`]: comparing and converting host references and consumers.
//! * [`claimable`]: what stands against a claim, the same on both sides.
//!
//! It knows neither Kubernetes nor how anything is done. Begin with `proto/metal3/host/v1/host_service.proto`.

pub mod call;
pub mod claimable;
pub mod client;
pub mod identity;
pub mod reason;
pub mod watch;

/// Generated messages, client and server.
#[expect(
    clippy::all,
    clippy::allow_attributes,
    clippy::too_many_lines,
    reason = "generated code"
)]
pub mod v1 {
    include!("gen/metal3.host.v1.rs");
}

/// The file descriptor set of the contract and its imports.
pub const DESCRIPTOR: &[u8] = include_bytes!("gen/descriptor.bin");

/// The audience of ServiceAccount tokens meant for the host service alone.
pub const AUDIENCE: &str = "metal3-host-service";

/// API group of the virtual resource `hosts` that authorises calls.
pub const AUTHORIZATION_GROUP: &str = "host.metal3.io";
