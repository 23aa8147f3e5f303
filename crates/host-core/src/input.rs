//! What a decision is made from.

use metal3_api::metal3::hardware_data::HardwareData;
use metal3_api::metal3::host::{AutomatedCleaningMode, BareMetalHost, BareMetalHostStatus, InspectionMode};
use metal3_api::names;
use metal3_provisioner::{
    AdoptArgs, BuiltRamdisk, Capacity, CapacityArgs, CleaningMode, DeprovisionArgs, DetachArgs, Hardware,
    InspectArgs, Inspection, Outcome, PowerArgs, PrepareArgs, ProvisionArgs, RegisterArgs, Registration,
    ServiceArgs,
};

/// The BMC Secret as far as a decision needs it: never its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BmcSecret {
    /// Complete.
    Found {
        /// `metadata.resourceVersion`.
        version: String,
        /// Earlier versions that are known to give the same access: only labels and the like changed since.
        same: Vec<String>,
    },
    /// It does not exist.
    Missing,
    /// It, or the BMC address, lacks something.
    Incomplete {
        /// What is missing.
        message: String,
    },
    /// The host's state needs none.
    NotNeeded,
}

/// The operator's settings that decisions depend on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Failed deployments of one image before it is given up; 0 means no limit.
    pub max_provisioning_retries: u32,
    /// Architecture to assume when nothing tells.
    pub default_architecture: String,
    /// A ramdisk is built for each host, by way of its `PreprovisioningImage`.
    pub build_preprovisioning_images: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_provisioning_retries: 5,
            default_architecture: "x86_64".into(),
            build_preprovisioning_images: false,
        }
    }
}

/// A host as it was read, with what belongs to it.
#[derive(Clone, Debug)]
pub struct HostView<'a> {
    /// The host.
    pub host: &'a BareMetalHost,
    /// Its HardwareData, if there is one.
    pub hardware: Option<&'a HardwareData>,
    /// Its BMC Secret.
    pub secret: BmcSecret,
    /// The operator's settings.
    pub settings: &'a Settings,
}

impl HostView<'_> {
    pub(crate) fn deleting(&self) -> bool {
        self.host.metadata.deletion_timestamp.is_some()
    }

    pub(crate) fn has_finalizer(&self) -> bool {
        self.host
            .metadata
            .finalizers
            .iter()
            .flatten()
            .any(|finalizer| finalizer == names::FINALIZER_HOST)
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.host
            .metadata
            .annotations
            .as_ref()?
            .get(name)
            .map(String::as_str)
    }

    pub(crate) fn has_bmc(&self) -> bool {
        !self.host.spec.bmc.address.is_empty() || !self.host.spec.bmc.credentials_name.is_empty()
    }

    pub(crate) fn status(&self) -> BareMetalHostStatus {
        self.host.status.clone().unwrap_or_default()
    }

    pub(crate) fn cleaning(&self) -> CleaningMode {
        match self.host.spec.automated_cleaning_mode {
            Some(AutomatedCleaningMode::Disabled) => CleaningMode::Disabled,
            Some(AutomatedCleaningMode::Metadata) | None => CleaningMode::Metadata,
        }
    }

    pub(crate) fn wants_image(&self) -> bool {
        self.host
            .spec
            .image
            .as_ref()
            .is_some_and(|image| !image.url.is_empty())
    }

    pub(crate) fn inspection_disabled(&self) -> bool {
        self.host.spec.inspection_mode == Some(InspectionMode::Disabled)
            || self.annotation(names::ANNOTATION_INSPECT) == Some("disabled")
    }
}

/// A question to the backend.
#[derive(Clone, Debug)]
pub enum Ask {
    /// May a long operation start?
    Capacity(CapacityArgs),
    /// Is the ramdisk of the host built? The shell keeps its `PreprovisioningImage`, for this architecture.
    PreprovisioningImage {
        /// CPU architecture, if known.
        architecture: Option<String>,
    },
    /// Is the host known and its BMC accessible? The shell adds the preprovisioning network data.
    Register(Box<RegisterArgs>),
    /// What is its hardware?
    Inspect(Box<InspectArgs>),
    /// Is the running host taken over?
    Adopt(AdoptArgs),
    /// Are the settings applied?
    Prepare(Box<PrepareArgs>),
    /// Is servicing over?
    Service(ServiceArgs),
    /// Is the image deployed? The shell adds the config drive and the pull secret.
    Provision(Box<ProvisionArgs>),
    /// Is the image removed?
    Deprovision(DeprovisionArgs),
    /// Is the node gone?
    Delete,
    /// Is the host let go?
    Detach(DetachArgs),
    /// What is its power?
    Hardware,
    /// Is the power as wanted?
    SetPower(PowerArgs),
}

/// What came back.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Ask::Capacity`].
    Capacity(Capacity),
    /// To [`Ask::PreprovisioningImage`].
    PreprovisioningImage(Built),
    /// To [`Ask::Register`].
    Register(Registration),
    /// To [`Ask::Register`], when the preprovisioning network data cannot be used.
    NetworkDataUnusable(String),
    /// To [`Ask::Inspect`].
    Inspect(Inspection),
    /// To [`Ask::Adopt`].
    Adopt(Outcome),
    /// To [`Ask::Prepare`].
    Prepare(Outcome),
    /// To [`Ask::Service`].
    Service(Outcome),
    /// To [`Ask::Provision`].
    Provision(Outcome),
    /// To [`Ask::Provision`], when a Secret for the config drive is missing or incomplete.
    ConfigDataMissing(String),
    /// To [`Ask::Provision`], when the deployment is not begun because the pull secret of an OCI image cannot be used.
    PullSecretUnusable {
        /// What kind of problem it is.
        problem: PullSecretProblem,
        /// In words.
        message: String,
    },
    /// To [`Ask::Deprovision`].
    Deprovision(Outcome),
    /// To [`Ask::Delete`].
    Delete(Outcome),
    /// To [`Ask::Detach`].
    Detach(Outcome),
    /// To [`Ask::Hardware`].
    Hardware(Hardware),
    /// To [`Ask::SetPower`].
    SetPower(Outcome),
    /// To any but [`Ask::Capacity`], [`Ask::PreprovisioningImage`] and [`Ask::Register`]: the backend does not know the node.
    NodeUnknown,
}

/// Why a pull secret cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullSecretProblem {
    /// It does not exist.
    Missing,
    /// Its type is not one of registry credentials.
    Format,
    /// Its content cannot be read, or does not name the registry.
    Content,
}

/// How far the ramdisk of a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Built {
    /// Not there yet.
    NotYet {
        /// What the `PreprovisioningImage` says.
        detail: String,
    },
    /// It can be used.
    Ready(BuiltRamdisk),
    /// It cannot be built.
    Failed(String),
}

/// What came back to [`Ask::Provision`].
#[derive(Clone, Debug)]
pub(crate) enum Provision {
    Outcome(Outcome),
    ConfigDataMissing(String),
    PullSecretUnusable(PullSecretProblem, String),
}

/// The answers of this pass, one of each kind at most.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub(crate) capacity: Option<Capacity>,
    pub(crate) ramdisk: Option<Built>,
    pub(crate) register: Option<Result<Registration, String>>,
    pub(crate) inspect: Option<Inspection>,
    pub(crate) adopt: Option<Outcome>,
    pub(crate) prepare: Option<Outcome>,
    pub(crate) service: Option<Outcome>,
    pub(crate) provision: Option<Provision>,
    pub(crate) deprovision: Option<Outcome>,
    pub(crate) delete: Option<Outcome>,
    pub(crate) detach: Option<Outcome>,
    pub(crate) hardware: Option<Hardware>,
    pub(crate) power: Option<Outcome>,
    pub(crate) node_unknown: bool,
}

impl Observed {
    /// Whether [`Answer::NodeUnknown`] was recorded: a second one would tell nothing new.
    pub fn node_unknown(&self) -> bool {
        self.node_unknown
    }

    /// Adds an answer.
    pub fn record(&mut self, answer: Answer) {
        match answer {
            Answer::Capacity(answer) => self.capacity = Some(answer),
            Answer::PreprovisioningImage(answer) => self.ramdisk = Some(answer),
            Answer::Register(answer) => self.register = Some(Ok(answer)),
            Answer::NetworkDataUnusable(message) => self.register = Some(Err(message)),
            Answer::Service(answer) => self.service = Some(answer),
            Answer::Inspect(answer) => self.inspect = Some(answer),
            Answer::Adopt(answer) => self.adopt = Some(answer),
            Answer::Prepare(answer) => self.prepare = Some(answer),
            Answer::Provision(answer) => self.provision = Some(Provision::Outcome(answer)),
            Answer::ConfigDataMissing(message) => {
                self.provision = Some(Provision::ConfigDataMissing(message));
            }
            Answer::PullSecretUnusable { problem, message } => {
                self.provision = Some(Provision::PullSecretUnusable(problem, message));
            }
            Answer::Deprovision(answer) => self.deprovision = Some(answer),
            Answer::Delete(answer) => self.delete = Some(answer),
            Answer::Detach(answer) => self.detach = Some(answer),
            Answer::Hardware(answer) => self.hardware = Some(answer),
            Answer::SetPower(answer) => self.power = Some(answer),
            Answer::NodeUnknown => self.node_unknown = true,
        }
    }
}
