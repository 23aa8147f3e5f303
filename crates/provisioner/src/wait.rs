use jiff::SignedDuration;

/// Why a host waits. Every wait of the machine and of a backend is one of these: code, remedy and budget are part of
/// the contract with users (condition `Waiting`, events, metrics, `ExplainHost`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// Ironic does not answer, or has no conductor yet.
    BackendNotReady,
    /// Ironic checks the BMC credentials.
    VerifyingBmcAccess,
    /// Ironic holds the node's lock.
    NodeLocked,
    /// Ironic reports a fault (lost power control) and recovers by itself.
    NodeFault,
    /// Ironic changes the provision state.
    BackendTransition,
    /// The inspection ramdisk boots and collects.
    Inspecting,
    /// Manual cleaning applies settings.
    Preparing,
    /// Automated cleaning runs.
    Cleaning,
    /// The image is being written.
    Deploying,
    /// Ironic takes over a running host.
    Adopting,
    /// The instance is being removed.
    Undeploying,
    /// A power change is in progress.
    PowerChanging,
    /// The node is being removed from Ironic.
    RemovingNode,
    /// Too many hosts are busy in Ironic.
    NoCapacity,
    /// The Secret named by `spec.bmc.credentialsName` is missing.
    BmcSecretMissing,
    /// The BMC Secret or address is incomplete.
    BmcAccessIncomplete,
    /// A Secret for the config drive is missing or incomplete.
    ConfigDataMissing,
    /// The PreprovisioningImage of the host is not ready.
    PreprovisioningImage,
    /// Ironic services a provisioned host.
    Servicing,
    /// An earlier failure is retried after its back-off.
    RetryBackoff,
    /// The host is detached from Ironic.
    Detached,
    /// The BMC address is still to be filled in by the user.
    Unmanaged,
    /// `spec.online` is false, so that the requested image is not deployed.
    PoweredOffByUser,
    /// The retry limit of provisioning was reached.
    ProvisioningRetryLimit,
    /// The recorded state is not one that this release knows.
    UnknownState,
    /// The status that came with the host, in an annotation, cannot be read.
    StatusUnreadable,
}

impl WaitReason {
    /// All reasons, for catalogues and tests.
    pub const ALL: [Self; 26] = [
        Self::BackendNotReady,
        Self::VerifyingBmcAccess,
        Self::NodeLocked,
        Self::NodeFault,
        Self::BackendTransition,
        Self::Inspecting,
        Self::Preparing,
        Self::Cleaning,
        Self::Deploying,
        Self::Adopting,
        Self::Undeploying,
        Self::PowerChanging,
        Self::RemovingNode,
        Self::NoCapacity,
        Self::BmcSecretMissing,
        Self::BmcAccessIncomplete,
        Self::ConfigDataMissing,
        Self::PreprovisioningImage,
        Self::Servicing,
        Self::RetryBackoff,
        Self::Detached,
        Self::Unmanaged,
        Self::PoweredOffByUser,
        Self::ProvisioningRetryLimit,
        Self::UnknownState,
        Self::StatusUnreadable,
    ];

    /// The CamelCase code used as condition reason and metric label.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BackendNotReady => "BackendNotReady",
            Self::VerifyingBmcAccess => "VerifyingBMCAccess",
            Self::NodeLocked => "NodeLocked",
            Self::NodeFault => "NodeFault",
            Self::BackendTransition => "BackendTransition",
            Self::Inspecting => "InspectionRunning",
            Self::Preparing => "PreparationRunning",
            Self::Cleaning => "CleaningRunning",
            Self::Deploying => "DeploymentRunning",
            Self::Adopting => "AdoptionRunning",
            Self::Undeploying => "UndeployRunning",
            Self::PowerChanging => "PowerChangeRunning",
            Self::RemovingNode => "RemovingNode",
            Self::NoCapacity => "NoCapacity",
            Self::BmcSecretMissing => "BMCSecretMissing",
            Self::BmcAccessIncomplete => "BMCAccessIncomplete",
            Self::ConfigDataMissing => "ConfigDataMissing",
            Self::PreprovisioningImage => "WaitingForPreprovisioningImage",
            Self::Servicing => "ServicingRunning",
            Self::RetryBackoff => "RetryBackoff",
            Self::Detached => "Detached",
            Self::Unmanaged => "Unmanaged",
            Self::PoweredOffByUser => "PoweredOffByUser",
            Self::ProvisioningRetryLimit => "ProvisioningRetryLimit",
            Self::UnknownState => "UnknownState",
            Self::StatusUnreadable => "StatusUnreadable",
        }
    }

    /// What is waited for, as a sentence fragment.
    pub const fn awaits(self) -> &'static str {
        match self {
            Self::BackendNotReady => "Ironic to answer and to have a conductor",
            Self::VerifyingBmcAccess => "Ironic to verify the BMC address and credentials",
            Self::NodeLocked => "Ironic to release the lock of the node",
            Self::NodeFault => "Ironic to regain power control of the node",
            Self::BackendTransition => "Ironic to finish a change of the provision state",
            Self::Inspecting => "the inspection ramdisk to boot and report the hardware",
            Self::Preparing => "manual cleaning to apply settings",
            Self::Cleaning => "automated cleaning to finish",
            Self::Deploying => "the image to be written and booted",
            Self::Adopting => "Ironic to take over the running host",
            Self::Undeploying => "Ironic to remove the instance",
            Self::PowerChanging => "the power state to change",
            Self::RemovingNode => "Ironic to remove the node",
            Self::NoCapacity => "other hosts to finish; too many are busy at once",
            Self::BmcSecretMissing => "the Secret named by spec.bmc.credentialsName",
            Self::BmcAccessIncomplete => "a complete BMC address and Secret with username and password",
            Self::ConfigDataMissing => "a Secret referenced by userData, metaData or networkData",
            Self::PreprovisioningImage => "the PreprovisioningImage of the host to become ready",
            Self::Servicing => "Ironic to finish servicing the host",
            Self::RetryBackoff => "the back-off of the last failure to pass",
            Self::Detached => "the detached annotation to be removed",
            Self::Unmanaged => "spec.bmc to be filled in",
            Self::PoweredOffByUser => "spec.online to become true",
            Self::ProvisioningRetryLimit => "another image or a reset of the failure count",
            Self::UnknownState => "a provisioning state that this release knows",
            Self::StatusUnreadable => "a status annotation that can be read",
        }
    }

    /// What a user can do when it takes too long.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::BackendNotReady => {
                "check IRONIC_ENDPOINT, its credentials and CA, and that a conductor is up"
            }
            Self::VerifyingBmcAccess => {
                "check spec.bmc.address, the credentials and the network path to the BMC"
            }
            Self::NodeLocked => {
                "look at the node's reservation in Ironic; a dead conductor releases it on restart"
            }
            Self::NodeFault => "check that the BMC answers and its credentials are still valid",
            Self::BackendTransition => "look at the node in Ironic: provision_state and last_error",
            Self::Inspecting => "look at the host's console: does the ramdisk boot and reach Ironic?",
            Self::Preparing | Self::Cleaning => {
                "look at the host's console and the node's clean step in Ironic"
            }
            Self::Deploying => {
                "check that image.url is reachable from the ramdisk; look at the host's console"
            }
            Self::Adopting => "look at the node's last_error in Ironic",
            Self::Undeploying => "look at the node's last_error in Ironic",
            Self::PowerChanging => "check the BMC; a hard power off can be asked for with reboot.metal3.io",
            Self::RemovingNode => "look at the node in Ironic; it may be locked or busy",
            Self::NoCapacity => "wait, or raise PROVISIONING_LIMIT",
            Self::BmcSecretMissing => {
                "create the Secret with keys username and password, or correct the name"
            }
            Self::BmcAccessIncomplete => {
                "set spec.bmc.address and the keys username and password of the Secret"
            }
            Self::ConfigDataMissing => "create the Secret in the host's namespace, or correct the reference",
            Self::PreprovisioningImage => {
                "look at the conditions of the PreprovisioningImage of the same name, and at what builds it"
            }
            Self::Servicing => "look at the host's console and the node's service step in Ironic",
            Self::RetryBackoff => "fix the cause named in status.errorMessage; the retry is automatic",
            Self::Detached => "remove the annotation baremetalhost.metal3.io/detached",
            Self::Unmanaged => "set spec.bmc.address and spec.bmc.credentialsName",
            Self::PoweredOffByUser => "set spec.online to true",
            Self::ProvisioningRetryLimit => "change spec.image, or set status.provisioningFailCount to 0",
            Self::UnknownState => "another version wrote the state: run that version, or restore the status",
            Self::StatusUnreadable => {
                "correct the annotation baremetalhost.metal3.io/status; without it the host is inspected and cleaned"
            }
        }
    }

    /// How long it may take before the host counts as overdue. `None`: until the user acts.
    pub const fn budget(self) -> Option<SignedDuration> {
        match self {
            Self::BackendNotReady | Self::NodeLocked | Self::BackendTransition | Self::Adopting => {
                Some(SignedDuration::from_mins(5))
            }
            Self::VerifyingBmcAccess | Self::RemovingNode => Some(SignedDuration::from_mins(3)),
            Self::PowerChanging | Self::NodeFault => Some(SignedDuration::from_mins(10)),
            Self::Inspecting | Self::Deploying | Self::Undeploying => Some(SignedDuration::from_mins(60)),
            Self::PreprovisioningImage => Some(SignedDuration::from_mins(30)),
            Self::Preparing | Self::Cleaning | Self::Servicing => Some(SignedDuration::from_hours(4)),
            Self::NoCapacity => Some(SignedDuration::from_hours(2)),
            // The longest back-off of upstream's arithmetic: 2^9 minutes.
            Self::RetryBackoff => Some(SignedDuration::from_mins(512)),
            Self::BmcSecretMissing
            | Self::BmcAccessIncomplete
            | Self::ConfigDataMissing
            | Self::Detached
            | Self::Unmanaged
            | Self::PoweredOffByUser
            | Self::ProvisioningRetryLimit
            | Self::UnknownState
            | Self::StatusUnreadable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_code_and_a_remedy() {
        let codes: HashSet<_> = WaitReason::ALL.map(WaitReason::code).into();
        assert_eq!(codes.len(), WaitReason::ALL.len());
        for reason in WaitReason::ALL {
            let code = reason.code();
            assert!(
                code.starts_with(|first: char| first.is_ascii_uppercase())
                    && code.chars().all(char::is_alphanumeric),
                "{code} is no condition reason"
            );
            assert!(
                !reason.awaits().is_empty() && !reason.remedy().is_empty(),
                "{code}"
            );
            assert!(
                reason.budget().is_none_or(|budget| budget.is_positive()),
                "{code}"
            );
        }
    }
}
