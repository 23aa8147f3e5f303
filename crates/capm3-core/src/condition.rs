//! Condition types and reasons, their summary, and the events that tell of their changes.
//!
//! Types and reasons are upstream's; those that say more than upstream could are marked as ours.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use metal3_api::conditions::{self, New, Status};

/// Condition types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Summary of the others.
    Ready,
    /// Nobody may reconcile the object.
    Paused,
    /// Machine: a host was claimed.
    Associated,
    /// Machine: metadata and the node's provider ID are in place.
    MetaData,
    /// Machine: the Secrets for metadata and network data exist.
    DataReady,
    /// Machine, ours: the host runs the image.
    HostProvisioned,
    /// Cluster: the endpoint is known.
    InfrastructureReady,
}

impl Type {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Paused => "Paused",
            Self::Associated => "AssociateBareMetalHost",
            Self::MetaData => "AssociateMetal3MachineMetaData",
            Self::DataReady => "Metal3DataReady",
            Self::HostProvisioned => "HostProvisioned",
            Self::InfrastructureReady => "BaremetalInfrastructureReady",
        }
    }
}

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All is well.
    Ready,
    /// See the message.
    NotReady,
    /// Something was not reported yet.
    ReadyUnknown,
    /// Paused by annotation or by the Cluster.
    Paused,
    /// Not paused.
    NotPaused,
    /// The host of a paused Cluster could not be paused.
    PauseSetFailed,
    /// That pause could not be ended.
    PauseRemoveFailed,
    /// No Machine owns the object yet.
    WaitingForOwner,
    /// Ours: no Cluster owns the object yet.
    WaitingForClusterOwner,
    /// The Cluster's infrastructure is not ready.
    WaitingForInfrastructure,
    /// The Metal3Cluster does not exist.
    WaitingForMetal3Cluster,
    /// The bootstrap provider has not made its Secret.
    WaitingForBootstrapData,
    /// No host could be claimed.
    AssociateFailed,
    /// A host was claimed.
    AssociateSuccess,
    /// A host was claimed that a machine of the same parent gave back.
    AssociateReused,
    /// Ours: a host is kept for the machine and not available yet.
    WaitingForReservedHost,
    /// Ours: the machine has more than one host in use.
    SeveralHosts,
    /// Ours: the claimed host is gone.
    HostMissing,
    /// Ours: the claimed host belongs to somebody else.
    HostTaken,
    /// Ours: the host is asked to run something else.
    HostRunsOther,
    /// Ours: the host service cannot be reached.
    HostServiceUnavailable,
    /// Ours: the host service refuses the call.
    HostServiceDenied,
    /// The spec cannot be carried out.
    InvalidConfiguration,
    /// Data templates are awaited.
    WaitingForMetal3Data,
    /// The user brought all Secrets, or none is needed.
    SecretsSetExternally,
    /// The node could not be matched by its label.
    CreateError,
    /// The node could not be matched by its host name.
    UpdateError,
    /// Metadata and provider ID are in place.
    MetaDataSuccess,
    /// Ours: the host is on its way.
    Provisioning,
    /// Ours: the host reports an error.
    HostError,
    /// Ours: the host runs the image.
    Provisioned,
    /// Being deleted.
    Deleting,
}

impl Reason {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::ReadyUnknown => "ReadyUnknown",
            Self::Paused => "Paused",
            Self::NotPaused => "NotPaused",
            Self::PauseSetFailed => "BareMetalHostPauseAnnotationSetFailed",
            Self::PauseRemoveFailed => "BareMetalHostPauseAnnotationRemoveFailed",
            Self::WaitingForOwner => "WaitingForMetal3MachineOwnerRef",
            Self::WaitingForClusterOwner => "WaitingForClusterOwnerRef",
            Self::WaitingForInfrastructure => "WaitingForClusterInfrastructureReady",
            Self::WaitingForMetal3Cluster => "WaitingforMetal3Cluster",
            Self::WaitingForBootstrapData => "WaitingForBootstrapData",
            Self::AssociateFailed => "AssociateBareMetalHostFailed",
            Self::AssociateSuccess => "AssociateBareMetalHostSuccess",
            Self::AssociateReused => "AssociateBareMetalHostViaNodeReuseSuccess",
            Self::WaitingForReservedHost => "WaitingForReservedHost",
            Self::SeveralHosts => "SeveralHosts",
            Self::HostMissing => "HostMissing",
            Self::HostTaken => "HostTaken",
            Self::HostRunsOther => "HostRunsOther",
            Self::HostServiceUnavailable => "HostServiceUnavailable",
            Self::HostServiceDenied => "HostServiceDenied",
            Self::InvalidConfiguration => "InvalidConfiguration",
            Self::WaitingForMetal3Data => "WaitingForMetal3Data",
            Self::SecretsSetExternally => "SecretsSetExternally",
            Self::CreateError => "CreateError",
            Self::UpdateError => "UpdateError",
            Self::MetaDataSuccess => "AssociateMetal3MachineMetaDataSuccess",
            Self::Provisioning => "Provisioning",
            Self::HostError => "HostError",
            Self::Provisioned => "Provisioned",
            Self::Deleting => "Deleting",
        }
    }

    /// A person should look at it: the event is a warning.
    const fn alarming(self) -> bool {
        match self {
            Self::PauseSetFailed
            | Self::PauseRemoveFailed
            | Self::AssociateFailed
            | Self::SeveralHosts
            | Self::HostMissing
            | Self::HostTaken
            | Self::HostRunsOther
            | Self::HostServiceUnavailable
            | Self::HostServiceDenied
            | Self::InvalidConfiguration
            | Self::HostError => true,
            Self::Ready
            | Self::NotReady
            | Self::ReadyUnknown
            | Self::Paused
            | Self::NotPaused
            | Self::WaitingForOwner
            | Self::WaitingForClusterOwner
            | Self::WaitingForInfrastructure
            | Self::WaitingForMetal3Cluster
            | Self::WaitingForBootstrapData
            | Self::AssociateSuccess
            | Self::AssociateReused
            | Self::WaitingForReservedHost
            | Self::WaitingForMetal3Data
            | Self::SecretsSetExternally
            | Self::CreateError
            | Self::UpdateError
            | Self::MetaDataSuccess
            | Self::Provisioning
            | Self::Provisioned
            | Self::Deleting => false,
        }
    }
}

/// Something that is waited for. There is no other way to say that a pass ended without being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Code.
    pub reason: Reason,
    /// What is awaited, or what went wrong.
    pub message: String,
    /// What a person can do; empty when time alone helps.
    pub remedy: &'static str,
}

impl Wait {
    /// Message and remedy in one line.
    pub fn text(&self) -> String {
        match self.remedy {
            "" => self.message.clone(),
            remedy => format!("{}; {remedy}", self.message),
        }
    }
}

/// A Kubernetes event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Needs a person.
    pub warning: bool,
    /// CamelCase code.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The conditions of one object while a pass works on them.
#[derive(Clone, Debug)]
pub struct Conditions {
    before: Vec<Condition>,
    list: Vec<Condition>,
    events: Vec<Event>,
    generation: Option<i64>,
    now: Timestamp,
}

impl Conditions {
    /// Starts from what is stored.
    pub fn new(stored: &[Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self {
            before: stored.to_vec(),
            list: stored.to_vec(),
            events: Vec::new(),
            generation,
            now,
        }
    }

    /// Sets one; a new reason becomes an event.
    pub fn set(&mut self, type_: Type, status: Status, reason: Reason, message: String) {
        let known = conditions::find(&self.before, type_.as_str());
        let new = known.is_none_or(|old| old.reason != reason.as_str());
        if new && notable(reason) {
            self.events.retain(|event| event.reason != reason.as_str());
            self.events.push(Event {
                warning: reason.alarming(),
                reason: reason.as_str(),
                message: if message.is_empty() {
                    type_.as_str().to_owned()
                } else {
                    message.clone()
                },
            });
        }
        let new = New {
            type_: type_.as_str(),
            status,
            reason: reason.as_str(),
            message,
        };
        conditions::set(&mut self.list, new, self.generation, self.now);
    }

    /// What one was before this pass.
    pub fn before(&self, type_: Type) -> Option<&Condition> {
        conditions::find(&self.before, type_.as_str())
    }

    /// Tells of something that is no condition.
    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Whether one holds.
    pub fn holds(&self, type_: Type) -> bool {
        conditions::is_true(&self.list, type_.as_str())
    }

    /// Sets Ready from the others and gives everything back; `achieved` is what the event says once all hold.
    pub fn summarise(mut self, parts: &[Type], achieved: &str) -> (Vec<Condition>, Vec<Event>) {
        let find = |type_: &Type| conditions::find(&self.list, type_.as_str());
        let failing: Vec<String> = parts
            .iter()
            .filter_map(|type_| find(type_).filter(|condition| condition.status != "True"))
            .map(|condition| format!("{}: {}", condition.type_, condition.message))
            .collect();
        let missing: Vec<&str> = parts
            .iter()
            .filter(|type_| find(type_).is_none())
            .map(|type_| type_.as_str())
            .collect();
        let (status, reason, message) = match (failing.is_empty(), missing.is_empty()) {
            (false, _) => (Status::False, Reason::NotReady, failing.join("; ")),
            (true, false) => (
                Status::Unknown,
                Reason::ReadyUnknown,
                format!("not reported yet: {}", missing.join(", ")),
            ),
            (true, true) => (Status::True, Reason::Ready, String::new()),
        };
        self.set(Type::Ready, status, reason, message);
        for event in &mut self.events {
            if event.reason == Reason::Ready.as_str() && !achieved.is_empty() {
                achieved.clone_into(&mut event.message);
            }
        }
        (self.list, self.events)
    }
}

/// Codes that say something happened, rather than that nothing has yet.
fn notable(reason: Reason) -> bool {
    let good = matches!(
        reason,
        Reason::AssociateSuccess
            | Reason::AssociateReused
            | Reason::WaitingForReservedHost
            | Reason::Provisioned
            | Reason::Deleting
            | Reason::Ready
    );
    good || reason.alarming()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn ready_names_what_is_not() {
        let mut conditions = Conditions::new(&[], Some(3), at(1));
        conditions.set(
            Type::Associated,
            Status::False,
            Reason::AssociateFailed,
            "no host".into(),
        );
        let (list, _) = conditions.summarise(&[Type::Associated, Type::DataReady], "");
        let ready = conditions::find(&list, "Ready").unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.message.as_str()),
            ("False", "AssociateBareMetalHost: no host")
        );
        assert_eq!(ready.observed_generation, Some(3));
    }

    #[test]
    fn ready_is_unknown_while_a_part_is_silent_and_true_when_all_hold() {
        let mut conditions = Conditions::new(&[], None, at(1));
        conditions.set(
            Type::Associated,
            Status::True,
            Reason::AssociateSuccess,
            String::new(),
        );
        let (list, _) = conditions
            .clone()
            .summarise(&[Type::Associated, Type::DataReady], "");
        assert_eq!(conditions::find(&list, "Ready").unwrap().status, "Unknown");
        let (list, _) = conditions.summarise(&[Type::Associated], "");
        assert!(conditions::is_true(&list, "Ready"));
    }

    #[test]
    fn an_event_is_published_once_per_reason() {
        let mut first = Conditions::new(&[], None, at(1));
        first.set(
            Type::Associated,
            Status::False,
            Reason::AssociateFailed,
            "no host".into(),
        );
        let (list, events) = first.summarise(&[Type::Associated], "");
        assert_eq!(events.len(), 1);
        assert!(events[0].warning);
        let mut second = Conditions::new(&list, None, at(2));
        second.set(
            Type::Associated,
            Status::False,
            Reason::AssociateFailed,
            "still no host".into(),
        );
        assert_eq!(second.summarise(&[Type::Associated], "").1, []);
    }
}
