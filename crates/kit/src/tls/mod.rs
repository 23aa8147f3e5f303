//! Serving certificates, and a listener that uses them.
//!
//! * [`Certificate`] is what a listener shows; it can be exchanged while connections go on.
//! * It comes from a [`Folder`], as cert-manager and kubelet lay it out, or from a [`Keeper`]: made and renewed by the
//!   service itself and kept in Secrets that all replicas share. `issue.rs` decides, `keeper.rs` reads and writes.
//!   A [`Source`] is which of them the flags choose.
//! * A [`ClientCa`] is whose certificates a listener asks its clients for, if it does.
//! * An [`Offer`] is which versions, cipher suites and curves a listener speaks.
//! * A [`Publisher`] tells the CA to those who have to trust it.

mod certificate;
mod clients;
mod inject;
mod issue;
mod keeper;
mod listener;
mod offer;
mod source;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use certificate::{Certificate, Folder};
pub use clients::ClientCa;
pub use inject::{Publisher, Target};
pub use issue::Terms;
pub use keeper::{Keeper, Kept};
pub use listener::{Protocol, TlsListener};
pub use offer::{Offer, OfferArgs};
pub use source::Source;

/// How often Secrets, and where their CA is told, are looked at.
pub const LOOK: std::time::Duration = std::time::Duration::from_secs(30);

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
