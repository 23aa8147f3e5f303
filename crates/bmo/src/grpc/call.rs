//! The calls of the contract: what each needs, how long it may take, whether it changes something.

use std::time::Duration;

use metal3_rpc::v1::host_service_server::SERVICE_NAME;

use super::auth::Verb;

/// Reads answer from memory, or with one look at Kubernetes.
const READ: Duration = Duration::from_secs(10);
/// Changes compete with other writers of a host, some rounds of it.
const CHANGE: Duration = Duration::from_secs(30);

/// A call of the HostService.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    GetHost,
    ListHosts,
    WatchHosts,
    GetInventory,
    ClaimHost,
    ProvisionHost,
    SetCleaningMode,
    ReleaseHost,
    ReleaseReservations,
    HoldPowerOff,
    ReleasePowerHold,
    MarkHealth,
    PrepareMove,
    ResumeAfterMove,
    ExplainHost,
}

impl Call {
    /// As in the contract.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::GetHost => "GetHost",
            Self::ListHosts => "ListHosts",
            Self::WatchHosts => "WatchHosts",
            Self::GetInventory => "GetInventory",
            Self::ClaimHost => "ClaimHost",
            Self::ProvisionHost => "ProvisionHost",
            Self::SetCleaningMode => "SetCleaningMode",
            Self::ReleaseHost => "ReleaseHost",
            Self::ReleaseReservations => "ReleaseReservations",
            Self::HoldPowerOff => "HoldPowerOff",
            Self::ReleasePowerHold => "ReleasePowerHold",
            Self::MarkHealth => "MarkHealth",
            Self::PrepareMove => "PrepareMove",
            Self::ResumeAfterMove => "ResumeAfterMove",
            Self::ExplainHost => "ExplainHost",
        }
    }

    /// The call of a path.
    pub(super) fn of(path: &str) -> Option<Self> {
        let name = path
            .strip_prefix('/')?
            .strip_prefix(SERVICE_NAME)?
            .strip_prefix('/')?;
        ALL.into_iter().find(|call| call.name() == name)
    }

    /// What the caller must be granted on the virtual resource.
    pub(super) const fn verb(self) -> Verb {
        match self {
            Self::GetHost | Self::GetInventory => Verb::Get,
            Self::ListHosts => Verb::List,
            Self::WatchHosts => Verb::Watch,
            Self::ClaimHost => Verb::Claim,
            Self::ProvisionHost | Self::SetCleaningMode => Verb::Provision,
            Self::ReleaseHost | Self::ReleaseReservations => Verb::Release,
            Self::HoldPowerOff | Self::ReleasePowerHold => Verb::Power,
            Self::MarkHealth => Verb::Health,
            Self::PrepareMove | Self::ResumeAfterMove => Verb::Move,
            Self::ExplainHost => Verb::Explain,
        }
    }

    /// Whether it changes a host, and so is told in the audit log.
    pub(super) const fn changes(self) -> bool {
        !matches!(self.verb(), Verb::Get | Verb::List | Verb::Watch | Verb::Explain)
    }

    /// The longest it may take to be answered; a stream is answered once it is open.
    pub(super) const fn limit(self) -> Duration {
        if self.changes() { CHANGE } else { READ }
    }
}

const ALL: [Call; 15] = [
    Call::GetHost,
    Call::ListHosts,
    Call::WatchHosts,
    Call::GetInventory,
    Call::ClaimHost,
    Call::ProvisionHost,
    Call::SetCleaningMode,
    Call::ReleaseHost,
    Call::ReleaseReservations,
    Call::HoldPowerOff,
    Call::ReleasePowerHold,
    Call::MarkHealth,
    Call::PrepareMove,
    Call::ResumeAfterMove,
    Call::ExplainHost,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    #[test]
    fn these_are_the_calls_of_the_contract() {
        let contract = prost_types::FileDescriptorSet::decode(metal3_rpc::DESCRIPTOR).unwrap();
        let service = contract
            .file
            .iter()
            .flat_map(|file| &file.service)
            .find(|service| service.name() == "HostService")
            .unwrap();
        let there: BTreeSet<_> = service.method.iter().map(|method| method.name()).collect();
        let here: BTreeSet<_> = ALL.into_iter().map(Call::name).collect();
        assert_eq!(here, there);
    }

    #[test]
    fn a_call_is_known_by_its_path() {
        assert_eq!(
            Call::of("/metal3.host.v1.HostService/GetHost"),
            Some(Call::GetHost)
        );
        for path in [
            "",
            "/",
            "/GetHost",
            "/metal3.host.v1.HostService/",
            "/metal3.host.v1.HostService/gethost",
        ] {
            assert_eq!(Call::of(path), None, "{path}");
        }
    }

    #[test]
    fn what_changes_hosts_may_take_longer_than_what_reads() {
        for call in ALL {
            assert_eq!(call.limit() == CHANGE, call.changes(), "{}", call.name());
        }
        assert!(Call::ReleaseReservations.changes() && !Call::ExplainHost.changes());
    }
}
