//! The port between the host state machine and whatever drives the hardware.
//!
//! The state machine (`host-core`) only knows the argument and answer types of this crate; a backend
//! (`ironic`) implements [`Provisioner`]. Three kinds of outcome never mix:
//!
//! * the backend works or is done: [`Progress::Working`], [`Progress::Done`];
//! * the *host* failed (inspection failed, power refused): [`Progress::Failed`], which ends in the host's status;
//! * the *infrastructure* failed (network, HTTP, lost node): [`Error`], which the caller retries.
//!
//! Every call is safe to repeat: the caller may have died before it recorded the answer of the first one.
//! Start at [`Provisioner`], then [`Progress`] and [`WaitReason`].

mod answer;
mod args;
mod error;
mod failure;
mod host;
mod wait;

pub use answer::{Capacity, Hardware, Inspection, Notice, Outcome, Progress, Registration};
pub use args::{
    AdoptArgs, BuiltRamdisk, CapacityArgs, CleaningMode, ConfigDrive, DeployImage, DeprovisionArgs,
    DetachArgs, Force, InspectArgs, OnFailure, PowerArgs, PowerTarget, PrepareArgs, ProvisionArgs,
    PullSecret, Ramdisk, RegisterArgs, ServiceArgs,
};
pub use error::{Error, Kind};
pub use failure::FailureCause;
pub use host::{BmcAccess, Credentials, HostKey, HostRef, NodeId};
pub use wait::WaitReason;

use async_trait::async_trait;

/// Drives the hardware of one host at a time, on behalf of the state machine.
///
/// Calls start or observe long operations and return at once. `Err` means infrastructure trouble only.
#[async_trait]
pub trait Provisioner: Send + Sync + 'static {
    /// Makes the host known to the backend and its BMC access verified; repeated in every pass of a managed host.
    ///
    /// # Errors
    /// [`Kind::NotReady`] when the backend does not answer yet, else infrastructure trouble.
    async fn register(&self, host: &HostRef, args: &RegisterArgs) -> Result<Registration, Error>;

    /// Starts or observes hardware inspection.
    async fn inspect(&self, host: &HostRef, args: &InspectArgs) -> Result<Inspection, Error>;

    /// Takes over a host that already runs a workload, without touching it.
    async fn adopt(&self, host: &HostRef, args: &AdoptArgs) -> Result<Outcome, Error>;

    /// Applies settings that need the host to be idle (manual cleaning steps).
    async fn prepare(&self, host: &HostRef, args: &PrepareArgs) -> Result<Outcome, Error>;

    /// Cleans if needed, writes the image with its config drive and boots it.
    async fn provision(&self, host: &HostRef, args: &ProvisionArgs) -> Result<Outcome, Error>;

    /// Undeploys and, unless cleaning is disabled, cleans.
    async fn deprovision(&self, host: &HostRef, args: &DeprovisionArgs) -> Result<Outcome, Error>;

    /// Ends the servicing of a provisioned host: what runs is waited for, what failed or was never asked for is aborted.
    async fn service(&self, host: &HostRef, args: &ServiceArgs) -> Result<Outcome, Error>;

    /// Removes the host from the backend. `Done` only once its absence was seen.
    async fn delete(&self, host: &HostRef) -> Result<Outcome, Error>;

    /// Removes the host from the backend and leaves the machine as it is.
    async fn detach(&self, host: &HostRef, args: &DetachArgs) -> Result<Outcome, Error>;

    /// Power, fault and health as last observed by the backend.
    async fn hardware(&self, host: &HostRef) -> Result<Hardware, Error>;

    /// Asks for a power state.
    async fn set_power(&self, host: &HostRef, args: &PowerArgs) -> Result<Outcome, Error>;

    /// Whether a long operation of this host may start now; asked again and again, it keeps its place in the queue.
    async fn capacity(&self, host: &HostRef, args: &CapacityArgs) -> Result<Capacity, Error>;
}
