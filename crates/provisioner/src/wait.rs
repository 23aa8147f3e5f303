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
    /// Ironic lost the node, and gets it again.
    NodeLost,
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
    /// The pull secret of an OCI image is missing or cannot be used.
    PullSecretUnusable,
    /// The PreprovisioningImage of the host is not ready.
    PreprovisioningImage,
    /// Ironic services a provisioned host.
    Servicing,
    /// An earlier failure is retried after its back-off.
    RetryBackoff,
    /// The host is paused: nothing is done about it, and nothing is written to it.
    Paused,
    /// The host is detached from Ironic.
    Detached,
    /// The BMC address is still to be filled in by the user.
    Unmanaged,
    /// Who asked for a reboot in phases keeps the host off.
    HeldOff,
    /// `spec.online` is false, so that the requested image is not deployed.
    PoweredOffByUser,
    /// The retry limit of provisioning was reached.
    ProvisioningRetryLimit,
    /// The recorded state is not one that this release knows.
    UnknownState,
    /// The status that came with the host, in an annotation, cannot be read.
    StatusUnreadable,
}

/// What the catalogue says of a reason.
struct Entry {
    code: &'static str,
    awaits: &'static str,
    remedy: &'static str,
    /// `None`: until the user acts.
    budget: Option<SignedDuration>,
}

const fn within(minutes: i64, code: &'static str, awaits: &'static str, remedy: &'static str) -> Entry {
    let budget = Some(SignedDuration::from_mins(minutes));
    Entry {
        code,
        awaits,
        remedy,
        budget,
    }
}

const fn for_user(code: &'static str, awaits: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        awaits,
        remedy,
        budget: None,
    }
}

impl WaitReason {
    /// All reasons, for catalogues and tests.
    pub const ALL: [Self; 30] = [
        Self::BackendNotReady,
        Self::VerifyingBmcAccess,
        Self::NodeLocked,
        Self::NodeFault,
        Self::NodeLost,
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
        Self::PullSecretUnusable,
        Self::PreprovisioningImage,
        Self::Servicing,
        Self::RetryBackoff,
        Self::Paused,
        Self::Detached,
        Self::Unmanaged,
        Self::HeldOff,
        Self::PoweredOffByUser,
        Self::ProvisioningRetryLimit,
        Self::UnknownState,
        Self::StatusUnreadable,
    ];

    /// The reason with this code, as it stands in a condition.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The CamelCase code used as condition reason and metric label.
    pub const fn code(self) -> &'static str {
        self.entry().code
    }

    /// What is waited for, as a sentence fragment.
    pub const fn awaits(self) -> &'static str {
        self.entry().awaits
    }

    /// What a user can do when it takes too long.
    pub const fn remedy(self) -> &'static str {
        self.entry().remedy
    }

    /// How long it may take before the host counts as overdue. `None`: until the user acts.
    pub const fn budget(self) -> Option<SignedDuration> {
        self.entry().budget
    }

    #[expect(clippy::too_many_lines, reason = "the catalogue")]
    const fn entry(self) -> Entry {
        match self {
            Self::BackendNotReady => within(
                5,
                "BackendNotReady",
                "Ironic to answer and to have a conductor",
                "check IRONIC_ENDPOINT, its credentials and CA, and that a conductor is up",
            ),
            Self::VerifyingBmcAccess => within(
                3,
                "VerifyingBMCAccess",
                "Ironic to verify the BMC address and credentials",
                "check spec.bmc.address, the credentials and the network path to the BMC",
            ),
            Self::NodeLocked => within(
                5,
                "NodeLocked",
                "Ironic to release the lock of the node",
                "look at the node's reservation in Ironic; a dead conductor releases it on restart",
            ),
            Self::NodeFault => within(
                10,
                "NodeFault",
                "Ironic to regain power control of the node",
                "check that the BMC answers and its credentials are still valid",
            ),
            Self::NodeLost => within(
                5,
                "BackendLostNode",
                "Ironic to know the node again",
                "nothing, if Ironic lost its database; else see who deletes nodes in Ironic",
            ),
            Self::BackendTransition => within(
                5,
                "BackendTransition",
                "Ironic to finish a change of the provision state",
                "look at the node in Ironic: provision_state and last_error",
            ),
            Self::Inspecting => within(
                60,
                "InspectionRunning",
                "the inspection ramdisk to boot and report the hardware",
                "look at the host's console: does the ramdisk boot and reach Ironic?",
            ),
            Self::Preparing => within(
                240,
                "PreparationRunning",
                "manual cleaning to apply settings",
                "look at the host's console and the node's clean step in Ironic",
            ),
            Self::Cleaning => within(
                240,
                "CleaningRunning",
                "automated cleaning to finish",
                "look at the host's console and the node's clean step in Ironic",
            ),
            Self::Deploying => within(
                60,
                "DeploymentRunning",
                "the image to be written and booted",
                "check that image.url is reachable from the ramdisk; look at the host's console",
            ),
            Self::Adopting => within(
                5,
                "AdoptionRunning",
                "Ironic to take over the running host",
                "look at the node's last_error in Ironic",
            ),
            Self::Undeploying => within(
                60,
                "UndeployRunning",
                "Ironic to remove the instance",
                "look at the node's last_error in Ironic",
            ),
            Self::PowerChanging => within(
                10,
                "PowerChangeRunning",
                "the power state to change",
                "check the BMC; a hard power off can be asked for with reboot.metal3.io",
            ),
            Self::RemovingNode => within(
                3,
                "RemovingNode",
                "Ironic to remove the node",
                "look at the node in Ironic; it may be locked or busy",
            ),
            Self::NoCapacity => within(
                120,
                "NoCapacity",
                "other hosts to finish; too many are busy at once",
                "wait, or raise PROVISIONING_LIMIT",
            ),
            Self::BmcSecretMissing => for_user(
                "BMCSecretMissing",
                "the Secret named by spec.bmc.credentialsName",
                "create the Secret with keys username and password, or correct the name",
            ),
            Self::BmcAccessIncomplete => for_user(
                "BMCAccessIncomplete",
                "a complete BMC address and Secret with username and password",
                "set spec.bmc.address and the keys username and password of the Secret",
            ),
            Self::ConfigDataMissing => for_user(
                "ConfigDataMissing",
                "a Secret referenced by userData, metaData or networkData",
                "create the Secret in the host's namespace, or correct the reference",
            ),
            Self::PullSecretUnusable => for_user(
                "PullSecretUnusable",
                "a Secret named by image.ociAuthSecretName that has a login for the image's registry",
                "create the Secret with kubectl create secret docker-registry in the host's namespace, or correct the name",
            ),
            Self::PreprovisioningImage => within(
                30,
                "WaitingForPreprovisioningImage",
                "the PreprovisioningImage of the host to become ready",
                "look at the conditions of the PreprovisioningImage of the same name, and at what builds it",
            ),
            Self::Servicing => within(
                240,
                "ServicingRunning",
                "Ironic to finish servicing the host",
                "look at the host's console and the node's service step in Ironic",
            ),
            // The longest back-off of upstream's arithmetic: 2^9 minutes.
            Self::RetryBackoff => within(
                512,
                "RetryBackoff",
                "the back-off of the last failure to pass",
                "fix the cause named in status.errorMessage; the retry is automatic",
            ),
            Self::Paused => for_user(
                "Paused",
                "the paused annotation to be removed",
                "remove the annotation baremetalhost.metal3.io/paused, or resume the cluster that set it",
            ),
            Self::Detached => for_user(
                "Detached",
                "the detached annotation to be removed",
                "remove the annotation baremetalhost.metal3.io/detached",
            ),
            Self::Unmanaged => for_user(
                "Unmanaged",
                "spec.bmc to be filled in",
                "set spec.bmc.address and spec.bmc.credentialsName",
            ),
            Self::HeldOff => for_user(
                "HeldOffForReboot",
                "the annotation reboot.metal3.io/<client> to be removed by the client that set it",
                "see what the client does meanwhile; removing its annotation powers the host on",
            ),
            Self::PoweredOffByUser => for_user(
                "PoweredOffByUser",
                "spec.online to become true",
                "set spec.online to true",
            ),
            Self::ProvisioningRetryLimit => for_user(
                "ProvisioningRetryLimit",
                "another image or a reset of the failure count",
                "change spec.image, or set status.provisioningFailCount to 0",
            ),
            Self::UnknownState => for_user(
                "UnknownState",
                "a provisioning state that this release knows",
                "another version wrote the state: run that version, or restore the status",
            ),
            Self::StatusUnreadable => for_user(
                "StatusUnreadable",
                "a status annotation that can be read",
                "correct the annotation baremetalhost.metal3.io/status; without it the host is inspected and cleaned",
            ),
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
        assert_eq!(
            codes.len(),
            WaitReason::StatusUnreadable as usize + 1,
            "one is missing in ALL"
        );
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
            assert_eq!(WaitReason::from_code(code), Some(reason));
            assert!(
                reason.budget().is_none_or(|budget| budget.is_positive()),
                "{code}"
            );
        }
    }
}
