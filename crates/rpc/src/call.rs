//! The calls of the contract, and which verb of the virtual resource `hosts` each of them needs.
//!
//! The comments of the proto and `docs/grpc.md` tell the same; tests compare them.

use crate::v1::host_service_server::SERVICE_NAME;

/// A call of the HostService.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// One host.
    GetHost,
    /// Hosts in pages.
    ListHosts,
    /// Hosts as they change.
    WatchHosts,
    /// What inspection found.
    GetInventory,
    /// Takes a free host.
    ClaimHost,
    /// Records what is to run.
    ProvisionHost,
    /// Changes what cleaning does.
    SetCleaningMode,
    /// Gives a host back.
    ReleaseHost,
    /// Frees hosts kept for somebody who comes later.
    ReleaseReservations,
    /// Keeps a host off.
    HoldPowerOff,
    /// Ends that.
    ReleasePowerHold,
    /// Marks a host healthy or unhealthy.
    MarkHealth,
    /// Makes a host ready for `clusterctl move`.
    PrepareMove,
    /// Ends that.
    ResumeAfterMove,
    /// Why a host is where it is.
    ExplainHost,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::GetHost,
        Self::ListHosts,
        Self::WatchHosts,
        Self::GetInventory,
        Self::ClaimHost,
        Self::ProvisionHost,
        Self::SetCleaningMode,
        Self::ReleaseHost,
        Self::ReleaseReservations,
        Self::HoldPowerOff,
        Self::ReleasePowerHold,
        Self::MarkHealth,
        Self::PrepareMove,
        Self::ResumeAfterMove,
        Self::ExplainHost,
    ];

    /// As in the contract.
    pub const fn name(self) -> &'static str {
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

    /// The call of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.name() == name)
    }

    /// The call of a path of HTTP.
    pub fn of_path(path: &str) -> Option<Self> {
        let name = path
            .strip_prefix('/')?
            .strip_prefix(SERVICE_NAME)?
            .strip_prefix('/')?;
        Self::named(name)
    }

    /// What the caller must be granted on the virtual resource.
    pub const fn verb(self) -> Verb {
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

    /// Whether it changes a host.
    pub const fn changes(self) -> bool {
        !matches!(self.verb(), Verb::Get | Verb::List | Verb::Watch | Verb::Explain)
    }
}

/// A verb of the virtual resource `hosts`, see [`crate::AUTHORIZATION_GROUP`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One host, and what inspection found.
    Get,
    /// Hosts in pages.
    List,
    /// Hosts as they change.
    Watch,
    /// Takes a free host.
    Claim,
    /// What runs on a host, and what its cleaning does.
    Provision,
    /// Gives hosts back, and those that are kept for later.
    Release,
    /// Keeps hosts off.
    Power,
    /// Marks hosts healthy or unhealthy.
    Health,
    /// Makes hosts ready for `clusterctl move`.
    Move,
    /// Why a host is where it is.
    Explain,
}

impl Verb {
    /// As RBAC has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Claim => "claim",
            Self::Provision => "provision",
            Self::Release => "release",
            Self::Power => "power",
            Self::Health => "health",
            Self::Move => "move",
            Self::Explain => "explain",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message as _;

    use super::*;

    /// Call and verb of each.
    fn here() -> BTreeMap<String, String> {
        let pair = |call: Call| (call.name().to_owned(), call.verb().as_str().to_owned());
        Call::ALL.into_iter().map(pair).collect()
    }

    fn text(path: &str) -> String {
        let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn these_are_the_calls_of_the_contract() {
        let contract = prost_types::FileDescriptorSet::decode(crate::DESCRIPTOR).unwrap();
        let service = contract
            .file
            .iter()
            .flat_map(|file| &file.service)
            .find(|service| service.name() == "HostService")
            .unwrap();
        let mut there: Vec<_> = service.method.iter().map(|method| method.name()).collect();
        there.sort_unstable();
        assert_eq!(here().into_keys().collect::<Vec<_>>(), there);
    }

    #[test]
    fn the_comments_of_the_contract_tell_the_same_verbs() {
        let mut there = BTreeMap::new();
        let mut comment = String::new();
        for line in text("proto/metal3/host/v1/host_service.proto").lines() {
            if let Some(words) = line.trim().strip_prefix("//") {
                comment.push_str(words);
            } else if let Some(call) = line.trim().strip_prefix("rpc ") {
                let verb = comment
                    .split_once("Verb \"")
                    .and_then(|(_, rest)| rest.split_once('"'));
                let (call, verb) = (call.split('(').next(), verb.map(|(verb, _)| verb));
                there.insert(
                    call.unwrap_or_default().to_owned(),
                    verb.unwrap_or_default().to_owned(),
                );
            } else {
                comment.clear();
            }
        }
        assert_eq!(here(), there);
    }

    #[test]
    fn the_manual_tells_the_same_verbs() {
        let page = text("docs/grpc.md");
        let (_, table) = page.split_once("| call | verb |").unwrap();
        let mut there = BTreeMap::new();
        for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let (calls, verb) = (cells.next().unwrap(), cells.next().unwrap());
            for call in calls.split(',') {
                there.insert(call.trim().trim_matches('`').to_owned(), verb.to_owned());
            }
        }
        assert_eq!(here(), there);
    }

    #[test]
    fn a_call_is_known_by_its_path() {
        assert_eq!(
            Call::of_path("/metal3.host.v1.HostService/GetHost"),
            Some(Call::GetHost)
        );
        for path in [
            "",
            "/",
            "/GetHost",
            "/metal3.host.v1.HostService/",
            "/metal3.host.v1.HostService/gethost",
        ] {
            assert_eq!(Call::of_path(path), None, "{path}");
        }
    }

    #[test]
    fn what_only_tells_of_hosts_changes_none() {
        let reads = Call::ALL.into_iter().filter(|call| !call.changes());
        let reads: Vec<_> = reads.map(Call::name).collect();
        assert_eq!(
            reads,
            [
                "GetHost",
                "ListHosts",
                "WatchHosts",
                "GetInventory",
                "ExplainHost"
            ]
        );
    }
}
