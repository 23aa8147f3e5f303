//! Why a call failed: status code, `google.rpc.ErrorInfo` and, for claims, the table of rejected hosts.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::v1::Rejections;

/// Domain of every `ErrorInfo` of the service.
pub const DOMAIN: &str = "host.metal3.io";

const REJECTIONS_TYPE: &str = "type.googleapis.com/metal3.host.v1.Rejections";

/// A machine-readable cause. Names are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The host does not exist, or was replaced by another of the same name.
    HostNotFound,
    /// The host was not inspected yet.
    NotInspected,
    /// No host may be claimed; see [`rejections`].
    NoHostAvailable,
    /// Hosts are reserved for this consumer and not available yet; its metadata names them.
    ReservedHostNotReady,
    /// More than one host of the consumer is in use; its metadata names them.
    SeveralHosts,
    /// Somebody else changed it at the same time; try again.
    Conflict,
    /// The host belongs to another consumer, or to none.
    ForeignConsumer,
    /// The host runs, or is asked to run, something else; release it first.
    AlreadyProvisionedDifferently,
    /// The host is being deleted.
    HostDeleting,
    /// `spec.online` of the host is false: its user keeps it off.
    PoweredOffByUser,
    /// The host was labelled for another cluster.
    ForeignCluster,
    /// A required field is missing or a value is malformed.
    InvalidField,
    /// No token, or one that Kubernetes does not accept.
    TokenInvalid,
    /// RBAC does not allow it.
    Forbidden,
    /// This replica has not read all hosts yet; try again.
    NotSynced,
    /// The Kubernetes API failed; try again.
    Backend,
    /// The revision to resume from is too old.
    RevisionExpired,
    /// The reader did not keep up.
    SlowConsumer,
    /// The caller calls more often than it may; try again after the time of the `RetryInfo`.
    RateLimited,
    /// The caller has as many watches open as it may.
    TooManyWatches,
    /// The request is bigger than any that makes sense.
    MessageTooLarge,
    /// The call took longer than it may; what it asked for may be done or not.
    TookTooLong,
}

impl Reason {
    const ALL: [Self; 22] = [
        Self::HostNotFound,
        Self::NotInspected,
        Self::NoHostAvailable,
        Self::ReservedHostNotReady,
        Self::SeveralHosts,
        Self::Conflict,
        Self::ForeignConsumer,
        Self::AlreadyProvisionedDifferently,
        Self::HostDeleting,
        Self::PoweredOffByUser,
        Self::ForeignCluster,
        Self::InvalidField,
        Self::TokenInvalid,
        Self::Forbidden,
        Self::NotSynced,
        Self::Backend,
        Self::RevisionExpired,
        Self::SlowConsumer,
        Self::RateLimited,
        Self::TooManyWatches,
        Self::MessageTooLarge,
        Self::TookTooLong,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostNotFound => "HOST_NOT_FOUND",
            Self::NotInspected => "NOT_INSPECTED",
            Self::NoHostAvailable => "NO_HOST_AVAILABLE",
            Self::ReservedHostNotReady => "RESERVED_HOST_NOT_READY",
            Self::SeveralHosts => "SEVERAL_HOSTS",
            Self::Conflict => "CONFLICT",
            Self::ForeignConsumer => "FOREIGN_CONSUMER",
            Self::AlreadyProvisionedDifferently => "ALREADY_PROVISIONED_DIFFERENTLY",
            Self::HostDeleting => "HOST_DELETING",
            Self::PoweredOffByUser => "POWERED_OFF_BY_USER",
            Self::ForeignCluster => "FOREIGN_CLUSTER",
            Self::InvalidField => "INVALID_FIELD",
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::Forbidden => "FORBIDDEN",
            Self::NotSynced => "NOT_SYNCED",
            Self::Backend => "BACKEND",
            Self::RevisionExpired => "REVISION_EXPIRED",
            Self::SlowConsumer => "SLOW_CONSUMER",
            Self::RateLimited => "RATE_LIMITED",
            Self::TooManyWatches => "TOO_MANY_WATCHES",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::TookTooLong => "TOOK_TOO_LONG",
        }
    }

    /// The status code that goes with it.
    pub const fn code(self) -> Code {
        match self {
            Self::HostNotFound => Code::NotFound,
            Self::NotInspected
            | Self::ReservedHostNotReady
            | Self::SeveralHosts
            | Self::ForeignConsumer
            | Self::AlreadyProvisionedDifferently
            | Self::HostDeleting
            | Self::PoweredOffByUser
            | Self::ForeignCluster => Code::FailedPrecondition,
            Self::NoHostAvailable
            | Self::SlowConsumer
            | Self::RateLimited
            | Self::TooManyWatches
            | Self::MessageTooLarge => Code::ResourceExhausted,
            Self::TookTooLong => Code::DeadlineExceeded,
            Self::Conflict => Code::Aborted,
            Self::InvalidField => Code::InvalidArgument,
            Self::TokenInvalid => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::NotSynced | Self::Backend => Code::Unavailable,
            Self::RevisionExpired => Code::OutOfRange,
        }
    }

    /// A status with this reason; `metadata` names the objects concerned.
    pub fn status<const N: usize>(self, message: impl Into<String>, metadata: [(&str, &str); N]) -> Status {
        Status::with_error_details(self.code(), message, self.details(metadata))
    }

    /// The same, with a time after which to try again as `google.rpc.RetryInfo`.
    pub fn status_until<const N: usize>(
        self,
        message: impl Into<String>,
        metadata: [(&str, &str); N],
        retry_after: Duration,
    ) -> Status {
        let mut details = self.details(metadata);
        details.set_retry_info(Some(retry_after));
        Status::with_error_details(self.code(), message, details)
    }

    fn details<const N: usize>(self, metadata: [(&str, &str); N]) -> ErrorDetails {
        let metadata: HashMap<String, String> = metadata
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        ErrorDetails::with_error_info(self.as_str(), DOMAIN, metadata)
    }

    /// The reason of a status made by the service; `None` for statuses of the transport.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        if info.domain != DOMAIN {
            return None;
        }
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == info.reason)
    }
}

/// After which time the service wants to be asked again, if it said so.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// The status of a claim that found no host.
pub fn no_host_available(message: impl Into<String>, rejections: &Rejections) -> Status {
    let message = message.into();
    let info = Reason::NoHostAvailable.status(message.clone(), []);
    // `ErrorDetails` carries only google.rpc's own types: decode, add ours, encode again.
    let mut details = tonic_types::pb::Status::decode(info.details()).unwrap_or_default();
    details.details.push(prost_types::Any {
        type_url: REJECTIONS_TYPE.into(),
        value: rejections.encode_to_vec(),
    });
    Status::with_details(
        Reason::NoHostAvailable.code(),
        message,
        details.encode_to_vec().into(),
    )
}

/// The table of rejected hosts in the status of a claim, if there is one.
pub fn rejections(status: &Status) -> Option<Rejections> {
    let details = tonic_types::pb::Status::decode(status.details()).ok()?;
    let any = details
        .details
        .into_iter()
        .find(|any| any.type_url == REJECTIONS_TYPE)?;
    Rejections::decode(any.value.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::rejections::Rule;

    #[test]
    fn every_reason_survives_the_wire() {
        for reason in Reason::ALL {
            let status = reason.status("message", [("host", "ns/a")]);
            assert_eq!(Reason::of(&status), Some(reason));
            assert_eq!(status.code(), reason.code());
        }
        assert_eq!(Reason::of(&Status::unavailable("connection refused")), None);
    }

    #[test]
    fn a_time_to_wait_travels_beside_the_reason() {
        let wait = Duration::from_millis(20);
        let status = Reason::RateLimited.status_until("too many", [("user", "eve")], wait);
        assert_eq!(Reason::of(&status), Some(Reason::RateLimited));
        assert_eq!(retry_after(&status), Some(wait));
        assert_eq!(retry_after(&Reason::Conflict.status("lost", [])), None);
    }

    #[test]
    fn rejections_travel_beside_the_reason() {
        let table = Rejections {
            rules: vec![Rule {
                rule: "claimed".into(),
                hosts: 3,
                examples: vec!["a".into()],
            }],
            candidates: 3,
        };
        let status = no_host_available("no host", &table);
        assert_eq!(Reason::of(&status), Some(Reason::NoHostAvailable));
        assert_eq!(rejections(&status), Some(table));
    }
}
